#include "controlplane/storage/plan_parts.h"

#include <algorithm>
#include <set>

#include <fmt/format.h>

#include "controlplane/storage/planner.h"
#include "controlplane/storage/steps.h"
#include "controlplane/storage/tags.h"
#include "controlplane/task/record_step.h"

namespace stoa::storage {

namespace {

constexpr std::string_view kVmSnapshotPrefix = "vm.";
constexpr size_t kGroupMax = 256;

bool is_taken(const records::Records& records, const Uuid& pool, const std::string& name) {
    return records.find<model::Volume>(pool.to_string() + "/" + name).ok();
}

model::Step intent_of(const VolumeRecord& volume, std::string_view name) {
    return make_step(VolumeIntentStep{volume.id, volume.name, volume.labels, volume.spec.size_bytes,
                                      volume.spec.is_protected},
                     fmt::format("note what is wanted of volume {}", name));
}

std::string text_of_size(uint64_t bytes) {
    constexpr uint64_t kMib = uint64_t{1} << 20;
    constexpr uint64_t kGib = uint64_t{1} << 30;
    if (bytes != 0 && bytes % kGib == 0) return fmt::format("{} GiB", bytes / kGib);
    if (bytes != 0 && bytes % kMib == 0) return fmt::format("{} MiB", bytes / kMib);
    return fmt::format("{} bytes", bytes);
}

}  // namespace

void add_lock(task::Plan& plan, std::string_view kind, const Uuid& id) {
    std::string lock = fmt::format("{}/{}", kind, id.to_string());
    if (std::ranges::find(plan.locks, lock) == plan.locks.end()) {
        plan.locks.push_back(std::move(lock));
    }
}

void add_intent_step(task::Plan& plan, model::Step step) {
    const auto is_other = [](const model::Step& one) {
        return !one.type.ends_with(".record") && !one.type.ends_with(".intent");
    };
    plan.steps.insert(std::ranges::find_if(plan.steps, is_other), std::move(step));
}

std::string free_volume_name(const records::Records& records, const Uuid& pool,
                             std::string_view stem) {
    const auto fitted = [stem](const std::string& suffix) {
        std::string name(stem.substr(0, model::kNameBytesMax - suffix.size()));
        while (name.ends_with('-')) name.pop_back();
        return name + suffix;
    };
    std::string name = fitted("");
    for (size_t i = 2; is_taken(records, pool, name); ++i) name = fitted(fmt::format("-{}", i));
    return name;
}

Result<void> add_volume_creation(const records::Records& records, VolumeRecord volume,
                                 task::Plan& plan) {
    TRY(model::check_name(volume.name));
    TRY(model::check_labels(volume.labels));
    const PoolRecord* pool = records.get<model::Pool>(volume.spec.pool);
    if (pool == nullptr) {
        return Error(ErrorCode::not_found,
                     fmt::format("pool {} does not exist", volume.spec.pool.to_string()));
    }
    if (volume.spec.size_bytes != 0 || !volume.spec.source) {
        TRY(model::check_volume_size("size_bytes", volume.spec.size_bytes));
    }
    if (is_taken(records, pool->id, volume.name)) {
        return Error(ErrorCode::already_exists,
                     fmt::format("volume \"{}/{}\" exists already", pool->name, volume.name));
    }
    volume.status = {};
    volume.status.host = pool->status.host;
    records::create(plan.intent, volume);
    add_intent_step(plan,
                    task::RecordStep<model::Volume>::step(
                        volume.id, fmt::format("note volume {}/{}", pool->name, volume.name)));
    const std::string what = volume.spec.source
                                 ? fmt::format("clone volume {}/{} from snapshot {}", pool->name,
                                               volume.name, volume.spec.source->to_string())
                                 : fmt::format("make volume {}/{} of {}", pool->name, volume.name,
                                               text_of_size(volume.spec.size_bytes));
    plan.steps.push_back(make_step(
        VolumeCreateStep{pool->id, volume.id, volume.name, volume.spec.size_bytes,
                         volume.spec.source, tags_of(volume.labels), volume.spec.is_protected},
        what));
    add_lock(plan, "volume", volume.id);
    return {};
}

Result<void> add_resize(const records::Records& records, const VolumeRecord& volume,
                        uint64_t size_bytes, task::Plan& plan, bool shrink) {
    TRY(model::check_volume_size("size_bytes", size_bytes));
    const uint64_t before = volume.spec.size_bytes;
    if (size_bytes == before) return {};
    const std::string name = records.full_name(volume);
    if (size_bytes < before && !shrink) {
        return Error(ErrorCode::in_use,
                     fmt::format("volume {}: making it smaller, from {} to {}, loses what lies "
                                 "beyond; force it if that is wanted",
                                 name, text_of_size(before), text_of_size(size_bytes)));
    }
    VolumeRecord wanted = volume;
    wanted.spec.size_bytes = size_bytes;
    records::replace(plan.intent, volume, wanted);
    add_intent_step(plan, intent_of(volume, name));
    plan.steps.push_back(
        make_step(VolumeResizeStep{volume.spec.pool, volume.id, before, size_bytes},
                  fmt::format("{} volume {} from {} to {}", size_bytes > before ? "grow" : "shrink",
                              name, text_of_size(before), text_of_size(size_bytes))));
    add_lock(plan, "volume", volume.id);
    return {};
}

Result<void> add_volume_deletion(const records::Records& records, const VolumeRecord& volume,
                                 task::Plan& plan) {
    records::expect(plan.intent, volume);
    plan.steps.push_back(make_step(VolumeDeleteStep{volume.spec.pool, volume.id},
                                   fmt::format("delete volume {}", records.full_name(volume))));
    add_lock(plan, "volume", volume.id);
    return {};
}

std::string pool_snapshot_name(const SnapshotRecord& snapshot) {
    return (snapshot.spec.vm ? std::string(kVmSnapshotPrefix) : std::string()) + snapshot.name;
}

Result<void> add_snapshot_creation(const records::Records& records, SnapshotRecord snapshot,
                                   task::Plan& plan) {
    TRY(model::check_name(snapshot.name));
    TRY(model::check_labels(snapshot.labels));
    const std::string name = pool_snapshot_name(snapshot);
    if (name.size() > model::kNameBytesMax) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("name \"{}\": at most {} bytes for a snapshot of a VM",
                                 snapshot.name, model::kNameBytesMax - kVmSnapshotPrefix.size()));
    }
    if (snapshot.spec.parts.empty() || snapshot.spec.parts.size() > kGroupMax) {
        return Error(ErrorCode::invalid_argument, fmt::format("volumes: 1 to {}, not {}", kGroupMax,
                                                              snapshot.spec.parts.size()));
    }
    std::set<Uuid> volumes;
    for (const model::SnapshotPart& part : snapshot.spec.parts) {
        const auto* volume = records.get<model::Volume>(part.volume);
        if (volume == nullptr) {
            return Error(ErrorCode::not_found,
                         fmt::format("volume {} does not exist", part.volume.to_string()));
        }
        if (!volumes.insert(part.volume).second) {
            return Error(ErrorCode::invalid_argument,
                         fmt::format("volumes: {} is there twice", records.full_name(*volume)));
        }
        add_lock(plan, "volume", part.volume);
    }
    const std::string full_name = records.full_name(snapshot);
    if (records.find<model::Snapshot>(full_name).ok()) {
        return Error(ErrorCode::already_exists,
                     fmt::format("snapshot \"{}\" exists already", full_name));
    }
    snapshot.status = {};
    records::create(plan.intent, snapshot);
    add_intent_step(plan, task::RecordStep<model::Snapshot>::step(
                              snapshot.id, fmt::format("note snapshot {}", full_name)));
    plan.steps.push_back(make_step(
        SnapshotCreateStep{snapshot.id, name, place(records, snapshot.spec.parts),
                           snapshot.spec.is_protected},
        fmt::format("take snapshot {} of {} volume{} at one instant", full_name,
                    snapshot.spec.parts.size(), snapshot.spec.parts.size() == 1 ? "" : "s")));
    add_lock(plan, "snapshot", snapshot.id);
    return {};
}

Result<void> add_snapshot_deletion(const records::Records& records, const SnapshotRecord& snapshot,
                                   task::Plan& plan) {
    const std::string name = records.full_name(snapshot);
    if (snapshot.spec.is_protected) {
        return Error(ErrorCode::in_use,
                     fmt::format("snapshot {} is protected: take the protection off first", name));
    }
    for (const model::SnapshotPart& part : snapshot.spec.parts) {
        const std::string users = users_of(records, part.snapshot);
        if (users.empty()) continue;
        return Error(ErrorCode::in_use, fmt::format("snapshot {} is used by {}", name, users));
    }
    records::expect(plan.intent, snapshot);
    plan.steps.push_back(
        make_step(SnapshotDeleteStep{snapshot.id, place(records, snapshot.spec.parts)},
                  fmt::format("delete snapshot {}", name)));
    add_lock(plan, "snapshot", snapshot.id);
    return {};
}

Result<void> add_rollback(const VolumeRecord& volume, const Uuid& snapshot, task::Plan& plan,
                          std::optional<Uuid> safety) {
    plan.steps.push_back(make_step(
        VolumeRollbackStep{volume.spec.pool, volume.id, snapshot, safety},
        fmt::format("roll volume {} back to snapshot {}", volume.name, snapshot.to_string())));
    add_lock(plan, "volume", volume.id);
    return {};
}

}  // namespace stoa::storage
