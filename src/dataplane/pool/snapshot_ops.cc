// Snapshots, clones and rollback: new names for trees that exist; the cost does not depend on
// their size.
#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "dataplane/pool/commit.h"
#include "dataplane/pool/names.h"
#include "dataplane/pool/structure.h"

namespace stoa::pool {

namespace {

Result<void> check_snapshot_spec(Core& core, const SnapshotSpec& spec, const Object& volume) {
    const std::string full = volume.record.name + "@" + spec.name;
    if (core.objects.find_snapshot(volume.record.id, spec.name) != nullptr) {
        return Error(ErrorCode::already_exists, fmt::format("snapshot {} already exists", full));
    }
    if (volume.record.has(ObjectRecord::kFlattening) ||
        volume.record.has(ObjectRecord::kTrimming)) {
        return Error(ErrorCode::busy,
                     fmt::format("volume {} is being flattened or shrunk; take the snapshot "
                                 "afterwards",
                                 volume.record.name));
    }
    if (!spec.uuid.is_nil() && core.objects.find(spec.uuid) != nullptr) {
        return Error(
            ErrorCode::already_exists,
            fmt::format("{} already names something else in this pool", spec.uuid.to_string()));
    }
    if (core.objects.snapshots_of(volume.record.id).size() >= kSnapshotsPerVolumeMax) {
        return Error(ErrorCode::out_of_range,
                     fmt::format("volume {} has its maximum of {} snapshots", volume.record.name,
                                 kSnapshotsPerVolumeMax));
    }
    return {};
}

// How many times a volume was made from another one's snapshot on the way to `object`.
size_t depth_of(const Core& core, const Object& object) {
    const auto owner = [](const Object& tree) {
        return tree.record.kind == ObjectKind::volume ? tree.record.id : tree.record.volume;
    };
    size_t depth = 0;
    for (const Object* at = &object;;) {
        const Object* parent = core.objects.find(at->record.parent);
        if (parent == nullptr || depth > kCloneDepthMax) return depth;
        if (owner(*parent) != owner(*at)) ++depth;
        at = parent;
    }
}

}  // namespace

io::Task<Result<std::vector<Uuid>>> take_snapshots(Core& core, std::vector<SnapshotSpec> specs) {
    if (specs.empty() || specs.size() > kSnapshotGroupMax) {
        co_return Error(ErrorCode::invalid_argument,
                        fmt::format("a group of {} snapshots is not possible (1 to {})",
                                    specs.size(), kSnapshotGroupMax));
    }
    for (const SnapshotSpec& spec : specs) CO_TRY(check_name(spec.name, "snapshot"));
    io::Mutex::Guard guard = co_await core.structure_lock.lock();
    // The record is sized first and filled in the instant in which it is applied: writes that
    // are acknowledged until then belong to the snapshot.
    CO_TRY(co_await core.wait_for_room(specs.size() * 1100 + 64));
    if (core.objects.snapshot_count() + specs.size() > kSnapshotsMax) {
        co_return Error(
            ErrorCode::out_of_range,
            fmt::format("pool {} has {} snapshots, {} more pass its maximum of {}", core.label.name,
                        core.objects.snapshot_count(), specs.size(), kSnapshotsMax));
    }
    std::set<Uuid> volumes;
    std::set<Uuid> uuids;
    StructureRecord change;
    std::vector<Uuid> made;
    for (const SnapshotSpec& spec : specs) {
        CO_TRY_ASSIGN(const Object* volume, find_live_volume(core, spec.volume));
        if (!volumes.insert(spec.volume).second) {
            co_return Error(ErrorCode::invalid_argument,
                            fmt::format("volume {} is in the group twice", volume->record.name));
        }
        if (!spec.uuid.is_nil() && !uuids.insert(spec.uuid).second) {
            co_return Error(
                ErrorCode::invalid_argument,
                fmt::format("{} is given to two snapshots of the group", spec.uuid.to_string()));
        }
        CO_TRY(check_snapshot_spec(core, spec, *volume));
        ObjectRecord snapshot;
        snapshot.kind = ObjectKind::snapshot;
        snapshot.id = core.next_object++;
        snapshot.uuid = spec.uuid.is_nil() ? core.random_uuid() : spec.uuid;
        snapshot.parent = volume->record.parent;
        snapshot.epoch = core.epoch;
        snapshot.size_bytes = volume->record.size_bytes;
        snapshot.volume = volume->record.id;
        snapshot.created_ns = core.executor.wall_ns();
        snapshot.branch = volume->record.branch;
        snapshot.branch_parent = volume->record.branch_parent;
        snapshot.branch_epoch = volume->record.branch_epoch;
        snapshot.name = spec.name;
        snapshot.origin = volume->record.origin;
        snapshot.flags =
            volume->record.flags & (ObjectRecord::kHasOrigin | ObjectRecord::kHydrated);
        made.push_back(snapshot.uuid);
        change.put(snapshot);
        change.copy(volume->record.id, snapshot.id);
        change.put(volume->record);
        change.items.back().object.parent = snapshot.id;
    }
    if (!MUTANT(23)) change.set_epoch(core.epoch + 1);
    std::vector<std::byte> encoded;
    encode_record(change, encoded);
    const Result<void> applied = apply_structure(core, change);
    CHECK(applied.ok());
    core.append(encoded);
    if (!MUTANT(34)) CO_TRY(co_await make_durable(core));
    co_return made;
}

io::Task<Result<void>> delete_snapshot(Core& core, Uuid uuid) {
    io::Mutex::Guard guard = co_await core.structure_lock.lock();
    CO_TRY_ASSIGN(Object * snapshot, find_live_snapshot(core, uuid));
    if (snapshot->record.has(ObjectRecord::kProtected)) {
        co_return Error(ErrorCode::in_use,
                        fmt::format("snapshot {} is protected; take the protection off first",
                                    full_name(core, *snapshot)));
    }
    if (snapshot->readers > 0) {
        co_return Error(ErrorCode::in_use,
                        fmt::format("snapshot {} is attached ({} times); "
                                    "detach it to delete it",
                                    full_name(core, *snapshot), snapshot->readers));
    }
    StructureRecord change;
    change.put(snapshot->record);
    change.items.back().object.set(ObjectRecord::kDeleted, true);
    change.items.back().object.cursor = 0;
    co_return co_await commit_structure(core, std::move(change));
}

io::Task<Result<Uuid>> clone_snapshot(Core& core, Uuid uuid, VolumeSpec spec) {
    CO_TRY(check_name(spec.name, "volume"));
    if (spec.tags.size() > kTagsBytesMax) {
        co_return Error(ErrorCode::invalid_argument,
                        fmt::format("volume {}: {} bytes of tags, {} are possible", spec.name,
                                    spec.tags.size(), kTagsBytesMax));
    }
    io::Mutex::Guard guard = co_await core.structure_lock.lock();
    CO_TRY_ASSIGN(const Object* snapshot, find_live_snapshot(core, uuid));
    const uint64_t size = spec.size_bytes == 0 ? snapshot->record.size_bytes : spec.size_bytes;
    if (size < snapshot->record.size_bytes || size % kSectorBytes != 0 || size > kVolumeBytesMax) {
        co_return Error(
            ErrorCode::invalid_argument,
            fmt::format("a clone {} of {} bytes is not possible: snapshot {} has {}, "
                        "and sizes are multiples of 512 up to 16 TiB",
                        spec.name, size, full_name(core, *snapshot), snapshot->record.size_bytes));
    }
    if (core.objects.find_volume(spec.name) != nullptr) {
        co_return Error(
            ErrorCode::already_exists,
            fmt::format("volume {} already exists in pool {}", spec.name, core.label.name));
    }
    if (!spec.uuid.is_nil() && core.objects.find(spec.uuid) != nullptr) {
        co_return Error(
            ErrorCode::already_exists,
            fmt::format("{} already names something else in this pool", spec.uuid.to_string()));
    }
    if (core.objects.volume_count() >= kVolumesMax) {
        co_return Error(
            ErrorCode::out_of_range,
            fmt::format("pool {} has its maximum of {} volumes", core.label.name, kVolumesMax));
    }
    if (depth_of(core, *snapshot) >= kCloneDepthMax) {
        co_return Error(ErrorCode::out_of_range,
                        fmt::format("snapshot {} is already {} clones deep; flatten one of them",
                                    full_name(core, *snapshot), kCloneDepthMax));
    }
    ObjectRecord clone;
    clone.kind = ObjectKind::volume;
    clone.id = core.next_object++;
    clone.uuid = spec.uuid.is_nil() ? core.random_uuid() : spec.uuid;
    clone.parent = snapshot->record.id;
    clone.epoch = core.epoch;
    clone.size_bytes = size;
    clone.created_ns = core.executor.wall_ns();
    clone.branch_parent = snapshot->record.id;
    clone.branch_epoch = core.epoch;
    clone.name = spec.name;
    clone.tags = spec.tags;
    clone.origin = snapshot->record.origin;
    clone.flags = snapshot->record.flags & (ObjectRecord::kHasOrigin | ObjectRecord::kHydrated);
    const Uuid made = clone.uuid;
    StructureRecord change;
    change.put(clone);
    change.copy(snapshot->record.id, clone.id);
    change.set_epoch(core.epoch + 1);
    CO_TRY(co_await commit_structure(core, std::move(change)));
    co_return made;
}

io::Task<Result<void>> roll_back(Core& core, Uuid volume_uuid, Uuid snapshot_uuid) {
    io::Mutex::Guard guard = co_await core.structure_lock.lock();
    CO_TRY_ASSIGN(Object * volume, find_live_volume(core, volume_uuid));
    CO_TRY_ASSIGN(const Object* snapshot, find_live_snapshot(core, snapshot_uuid));
    if (snapshot->record.volume != volume->record.id) {
        co_return Error(ErrorCode::invalid_argument,
                        fmt::format("snapshot {} is not one of volume {}",
                                    full_name(core, *snapshot), volume->record.name));
    }
    if (volume->readers > 0) {
        co_return Error(ErrorCode::in_use,
                        fmt::format("volume {} is attached ({} times); detach it to roll it back",
                                    volume->record.name, volume->readers));
    }
    if (volume->holds > 0 || volume->record.has(ObjectRecord::kTrimming) ||
        volume->record.has(ObjectRecord::kFlattening)) {
        co_return Error(ErrorCode::busy,
                        fmt::format("volume {} is being shrunk, hydrated or flattened; roll it "
                                    "back afterwards",
                                    volume->record.name));
    }
    core.regions.give_back(volume->stream);
    ObjectRecord orphan;
    orphan.kind = ObjectKind::orphan;
    orphan.id = core.next_object++;
    orphan.uuid = core.random_uuid();
    orphan.parent = volume->record.parent;
    orphan.epoch = core.epoch;
    orphan.size_bytes = volume->record.size_bytes;
    orphan.volume = volume->record.id;
    orphan.created_ns = core.executor.wall_ns();
    orphan.name = volume->record.name;
    orphan.origin = volume->record.origin;
    orphan.flags = ObjectRecord::kDeleted |
                   (volume->record.flags & (ObjectRecord::kHasOrigin | ObjectRecord::kHydrated));
    StructureRecord change;
    change.put(orphan);
    change.copy(volume->record.id, orphan.id);
    change.put(volume->record);
    ObjectRecord& next = change.items.back().object;
    if (!MUTANT(33)) next.parent = snapshot->record.id;
    next.size_bytes = snapshot->record.size_bytes;
    ++next.branch;
    next.branch_parent = snapshot->record.id;
    next.branch_epoch = core.epoch + 1;
    next.flags = (next.flags & ~(ObjectRecord::kHasOrigin | ObjectRecord::kHydrated)) |
                 (snapshot->record.flags & (ObjectRecord::kHasOrigin | ObjectRecord::kHydrated));
    change.copy(snapshot->record.id, volume->record.id);
    change.set_epoch(core.epoch + 1);
    co_return co_await commit_structure(core, std::move(change));
}

}  // namespace stoa::pool
