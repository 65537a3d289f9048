// Creating, deleting, renaming, resizing and marking volumes.
#include <algorithm>

#include <fmt/format.h>

#include "dataplane/pool/commit.h"
#include "dataplane/pool/map_change.h"
#include "dataplane/pool/names.h"
#include "dataplane/pool/structure.h"
#include "dataplane/pool/volume_handle.h"

namespace stoa::pool {

namespace {

Result<void> check_size(const std::string& name, uint64_t size_bytes) {
    if (size_bytes == 0 || size_bytes % kSectorBytes != 0 || size_bytes > kVolumeBytesMax) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("volume {} of {} bytes is not possible: sizes are multiples of "
                                 "512, from 512 bytes to 16 TiB",
                                 name, size_bytes));
    }
    return {};
}

Result<void> check_unattached(const Object& object, const char* what) {
    if (object.holds > 0) {
        return Error(ErrorCode::busy,
                     fmt::format("{} is being hydrated or flattened; wait to {} it",
                                 object.record.name, what));
    }
    if (object.readers == 0) return {};
    return Error(ErrorCode::in_use, fmt::format("{} is attached ({} times); detach it to {} it",
                                                object.record.name, object.readers, what));
}

}  // namespace

io::Task<Result<Uuid>> create_volume(Core& core, VolumeSpec spec) {
    CO_TRY(check_name(spec.name, "volume"));
    CO_TRY(check_size(spec.name, spec.size_bytes));
    if (spec.tags.size() > kTagsBytesMax) {
        co_return Error(ErrorCode::invalid_argument,
                        fmt::format("volume {}: {} bytes of tags, {} are possible", spec.name,
                                    spec.tags.size(), kTagsBytesMax));
    }
    io::Mutex::Guard guard = co_await core.structure_lock.lock();
    if (const Object* same = core.objects.find(spec.uuid); !spec.uuid.is_nil() && same != nullptr) {
        if (same->record.kind == ObjectKind::volume && !is_gone(core, *same) &&
            same->record.name == spec.name && same->record.size_bytes == spec.size_bytes) {
            co_return spec.uuid;
        }
        co_return Error(
            ErrorCode::already_exists,
            fmt::format("{} already names something else in this pool", spec.uuid.to_string()));
    }
    if (core.objects.find_volume(spec.name) != nullptr) {
        co_return Error(
            ErrorCode::already_exists,
            fmt::format("volume {} already exists in pool {}", spec.name, core.label.name));
    }
    if (core.objects.volume_count() >= kVolumesMax) {
        co_return Error(
            ErrorCode::out_of_range,
            fmt::format("pool {} has its maximum of {} volumes", core.label.name, kVolumesMax));
    }
    ObjectRecord record;
    record.kind = ObjectKind::volume;
    record.id = core.next_object++;
    record.uuid = spec.uuid.is_nil() ? core.random_uuid() : spec.uuid;
    record.epoch = core.epoch;
    record.size_bytes = spec.size_bytes;
    record.created_ns = core.executor.wall_ns();
    record.name = spec.name;
    record.tags = spec.tags;
    record.origin = spec.origin;
    record.set(ObjectRecord::kHasOrigin, !spec.origin.is_nil());
    record.branch_epoch = core.epoch;
    const Uuid uuid = record.uuid;
    StructureRecord change;
    change.put(record);
    change.set_epoch(core.epoch + 1);
    CO_TRY(co_await commit_structure(core, std::move(change)));
    co_return uuid;
}

io::Task<Result<void>> delete_volume(Core& core, Uuid volume) {
    io::Mutex::Guard guard = co_await core.structure_lock.lock();
    CO_TRY_ASSIGN(Object * object, find_live_volume(core, volume));
    if (object->record.has(ObjectRecord::kProtected)) {
        co_return Error(ErrorCode::in_use,
                        fmt::format("volume {} is protected; take the protection off first",
                                    object->record.name));
    }
    CO_TRY(check_unattached(*object, "delete"));
    std::vector<ObjectId> snapshots;
    for (const ObjectId id : core.objects.snapshots_of(object->record.id)) {
        const Object* snapshot = core.objects.find(id);
        if (snapshot->record.has(ObjectRecord::kDeleted)) continue;
        if (snapshot->record.has(ObjectRecord::kProtected)) {
            co_return Error(
                ErrorCode::in_use,
                fmt::format("snapshot {} of volume {} is protected; take the protection "
                            "off first",
                            snapshot->record.name, object->record.name));
        }
        CO_TRY(check_unattached(*snapshot, "delete"));
        snapshots.push_back(id);
    }
    const ObjectId id = object->record.id;
    StructureRecord change;
    change.put(object->record);
    change.items.back().object.set(ObjectRecord::kDeleted, true);
    change.items.back().object.cursor = 0;
    CO_TRY(co_await commit_structure(core, std::move(change)));
    // The volume's own mark decides; its snapshots follow (after a crash, by the reclaimer).
    if (Object* gone = core.objects.find(id); gone != nullptr) {
        core.regions.give_back(gone->stream);
    }
    co_return Result<void>{};
}

io::Task<Result<void>> rename_volume(Core& core, Uuid volume, std::string name) {
    CO_TRY(check_name(name, "volume"));
    io::Mutex::Guard guard = co_await core.structure_lock.lock();
    CO_TRY_ASSIGN(Object * object, find_live_volume(core, volume));
    if (object->record.name == name) co_return Result<void>{};
    if (core.objects.find_volume(name) != nullptr) {
        co_return Error(ErrorCode::already_exists,
                        fmt::format("volume {} already exists in pool {}", name, core.label.name));
    }
    StructureRecord change;
    change.put(object->record);
    change.items.back().object.name = name;
    co_return co_await commit_structure(core, std::move(change));
}

io::Task<Result<void>> resize_volume(Core& core, Uuid volume, uint64_t size_bytes,
                                     bool allow_shrink) {
    CO_TRY(check_size(volume.to_string(), size_bytes));
    io::Mutex::Guard guard = co_await core.structure_lock.lock();
    CO_TRY_ASSIGN(Object * object, find_live_volume(core, volume));
    const uint64_t before = object->record.size_bytes;
    if (size_bytes == before) co_return Result<void>{};
    if (size_bytes < before) {
        if (!allow_shrink) {
            co_return Error(ErrorCode::invalid_argument,
                            fmt::format("shrinking volume {} from {} to {} bytes loses what lies "
                                        "beyond; ask for it explicitly",
                                        object->record.name, before, size_bytes));
        }
        CO_TRY(check_unattached(*object, "shrink"));
        StructureRecord change;
        change.put(object->record);
        ObjectRecord& next = change.items.back().object;
        next.size_bytes = size_bytes;
        next.cursor = object->record.size_blocks();  // trimmed up to here
        next.set(ObjectRecord::kTrimming, true);
        CO_TRY(co_await commit_structure(core, std::move(change)));
    }
    if (object->record.has(ObjectRecord::kTrimming)) {
        // Nothing old may shine through when the volume grows again.
        Result<void> trimmed = co_await trim_beyond_end(core, *object);
        // Zeroing part of a block may need space; a shrink that lacks it is done all the same, and
        // trimmed when there is some.
        const bool later =
            !trimmed.ok() && trimmed.error().code() == ErrorCode::no_space && size_bytes < before;
        if (!later) CO_TRY(trimmed);
    }
    if (size_bytes > before) {
        StructureRecord change;
        change.put(object->record);
        change.items.back().object.size_bytes = size_bytes;
        CO_TRY(co_await commit_structure(core, std::move(change)));
    }
    co_return Result<void>{};
}

io::Task<Result<void>> trim_beyond_end(Core& core, Object& object) {
    const uint64_t size = object.record.size_bytes;
    const BlockIndex first = object.record.size_blocks();
    if (object.record.cursor > first && !MUTANT(38)) {
        CO_TRY(co_await punch_holes(core, object, first, object.record.cursor - first, true));
    }
    if (size % kBlockBytes != 0) CO_TRY(co_await zero_tail(core, object));
    StructureRecord change;
    change.put(object.record);
    change.items.back().object.set(ObjectRecord::kTrimming, false);
    change.items.back().object.cursor = 0;
    co_return co_await commit_structure(core, std::move(change), true);
}

io::Task<Result<void>> set_protection(Core& core, Uuid uuid, bool on) {
    io::Mutex::Guard guard = co_await core.structure_lock.lock();
    CO_TRY_ASSIGN(Object * object, find_live_tree(core, uuid));
    StructureRecord change;
    change.put(object->record);
    change.items.back().object.set(ObjectRecord::kProtected, on);
    co_return co_await commit_structure(core, std::move(change));
}

io::Task<Result<void>> set_tags(Core& core, Uuid volume, std::vector<std::byte> tags) {
    if (tags.size() > kTagsBytesMax) {
        co_return Error(ErrorCode::invalid_argument,
                        fmt::format("volume {}: {} bytes of tags, {} are possible",
                                    volume.to_string(), tags.size(), kTagsBytesMax));
    }
    io::Mutex::Guard guard = co_await core.structure_lock.lock();
    CO_TRY_ASSIGN(Object * object, find_live_volume(core, volume));
    StructureRecord change;
    change.put(object->record);
    change.items.back().object.tags = tags;
    co_return co_await commit_structure(core, std::move(change));
}

}  // namespace stoa::pool
