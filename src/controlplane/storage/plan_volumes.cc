// Plans about volumes.
#include <fmt/format.h>

#include "controlplane/storage/planner.h"
#include "controlplane/storage/steps.h"

namespace stoa::storage {

namespace {

task::Plan plan_for(const Uuid& volume, std::string_view verb) {
    task::Plan plan;
    plan.verb = fmt::format("volume.{}", verb);
    plan.target = fmt::format("volume/{}", volume.to_string());
    add_lock(plan, "volume", volume);
    return plan;
}

// The only pool, if `name` is empty.
Result<const PoolRecord*> find_pool(const records::Records& records, std::string_view name) {
    if (!name.empty()) return records.find<model::Pool>(name);
    const auto& pools = records.all<model::Pool>();
    if (pools.size() == 1) return &pools.begin()->second;
    std::string names;
    for (const auto& [id, pool] : pools) names += (names.empty() ? "" : ", ") + pool.name;
    return Error(ErrorCode::invalid_argument, pools.empty()
                                                  ? "pool: there is none yet; make one first"
                                                  : fmt::format("pool: must be one of {}", names));
}

struct Source {
    Uuid pool;
    Uuid snapshot;  // in the pool
};

// Of one volume, or of one whose name says it is the only part.
Result<Source> find_source(const records::Records& records, std::string_view name) {
    TRY_ASSIGN(const SnapshotRecord* snapshot, records.find<model::Snapshot>(name));
    const auto& parts = snapshot->spec.parts;
    if (parts.size() != 1) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("snapshot: {} is of {} volumes: clone the snapshot instead",
                                 records.full_name(*snapshot), parts.size()));
    }
    const auto* volume = records.get<model::Volume>(parts.front().volume);
    if (volume == nullptr || snapshot->status.state != model::StorageState::ready) {
        return Error(ErrorCode::not_found,
                     fmt::format("snapshot: {} is {}", records.full_name(*snapshot),
                                 to_text(to_json(snapshot->status.state))));
    }
    return Source{volume->spec.pool, parts.front().snapshot};
}

std::string snapshots_of(const records::Records& records, const Uuid& volume) {
    std::string names;
    for (const auto& [id, snapshot] : records.all<model::Snapshot>()) {
        for (const model::SnapshotPart& part : snapshot.spec.parts) {
            if (part.volume != volume) continue;
            names += (names.empty() ? "" : ", ") + records.full_name(snapshot);
        }
    }
    return names;
}

}  // namespace

std::string users_of(const records::Records& records, const Uuid& object) {
    std::string users;
    const auto add = [&users](std::string one) {
        if (!users.empty()) users += ", ";
        users += one;
    };
    for (const auto& [id, vm] : records.all<model::Vm>()) {
        for (const model::VmDisk& disk : vm.spec.disks) {
            if (disk.volume == object) add(fmt::format("disk {} of vm {}", disk.name, vm.name));
        }
    }
    for (const auto& [id, image] : records.all<model::Image>()) {
        if (image.spec.snapshot == object) add(fmt::format("image {}", image.name));
    }
    return users;
}

Result<task::Plan> plan_volume_create(const PlanContext& context,
                                      const model::VolumeCreate& request) {
    VolumeRecord volume;
    std::string pool_name = request.pool;
    if (!request.snapshot.empty()) {
        TRY_ASSIGN(const Source source, find_source(context.records, request.snapshot));
        volume.spec.source = source.snapshot;
        if (pool_name.empty()) pool_name = source.pool.to_string();
        TRY_ASSIGN(const PoolRecord* pool, context.records.find<model::Pool>(pool_name));
        if (pool->id != source.pool) {
            return Error(ErrorCode::invalid_argument,
                         fmt::format("pool: the snapshot is in another one than {}", pool->name));
        }
    }
    TRY_ASSIGN(const PoolRecord* pool, find_pool(context.records, pool_name));
    volume.id = context.ids.next();
    volume.name = request.name;
    volume.labels = request.labels;
    volume.created_ns = context.ids.now_ns();
    volume.spec.pool = pool->id;
    volume.spec.size_bytes = request.size_bytes;
    volume.spec.is_protected = request.is_protected;
    task::Plan plan = plan_for(volume.id, "create");
    TRY(add_volume_creation(context.records, std::move(volume), plan));
    return plan;
}

Result<task::Plan> plan_volume_set(const PlanContext& context, std::string_view name,
                                   const model::VolumeSet& request) {
    TRY_ASSIGN(const VolumeRecord* found, context.records.find<model::Volume>(name));
    const VolumeRecord& volume = *found;
    task::Plan plan = plan_for(volume.id, "set");
    VolumeRecord wanted = volume;
    if (request.labels) {
        TRY(model::check_labels(*request.labels));
        wanted.labels = *request.labels;
    }
    if (request.name) {
        TRY(model::check_name(*request.name));
        wanted.name = *request.name;
    }
    if (request.is_protected) wanted.spec.is_protected = *request.is_protected;
    // Protection goes on last and off first: a volume that is protected is changed like any other,
    // but a plan that fails must not leave one unprotected that was to be protected.
    if (wanted.name != volume.name) {
        plan.steps.push_back(make_step(
            VolumeRenameStep{volume.spec.pool, volume.id, volume.name, wanted.name},
            fmt::format("call volume {} {}", context.records.full_name(volume), wanted.name)));
    }
    if (request.size_bytes && *request.size_bytes != volume.spec.size_bytes) {
        if (*request.size_bytes < volume.spec.size_bytes) {
            const std::string users = users_of(context.records, volume.id);
            if (!users.empty()) {
                return Error(ErrorCode::in_use,
                             fmt::format("volume {} is used by {}: it can only grow",
                                         context.records.full_name(volume), users));
            }
        }
        // Its own intent is not wanted: one for all changes follows.
        task::Plan resize;
        TRY(add_resize(context.records, volume, *request.size_bytes, resize, request.force));
        plan.steps.push_back(resize.steps.back());
        wanted.spec.size_bytes = *request.size_bytes;
    }
    if (wanted.spec.is_protected != volume.spec.is_protected) {
        plan.steps.push_back(make_step(
            VolumeProtectStep{volume.spec.pool, volume.id, wanted.spec.is_protected},
            fmt::format("{} volume {}", wanted.spec.is_protected ? "protect" : "unprotect",
                        context.records.full_name(volume))));
    }
    if (plan.steps.empty() && wanted.labels == volume.labels) return plan;
    records::replace(plan.intent, volume, wanted);
    if (plan.steps.empty()) return plan;
    plan.steps.insert(plan.steps.begin(),
                      make_step(VolumeIntentStep{volume.id, volume.name, volume.labels,
                                                 volume.spec.size_bytes, volume.spec.is_protected},
                                fmt::format("note what is wanted of volume {}",
                                            context.records.full_name(volume))));
    return plan;
}

Result<task::Plan> plan_volume_delete(const PlanContext& context, std::string_view name) {
    TRY_ASSIGN(const VolumeRecord* volume, context.records.find<model::Volume>(name));
    const std::string full_name = context.records.full_name(*volume);
    if (volume->spec.is_protected) {
        return Error(
            ErrorCode::in_use,
            fmt::format("volume {} is protected: take the protection off first", full_name));
    }
    const std::string users = users_of(context.records, volume->id);
    if (!users.empty()) {
        return Error(ErrorCode::in_use, fmt::format("volume {} is used by {}: take it away there "
                                                    "first",
                                                    full_name, users));
    }
    const std::string snapshots = snapshots_of(context.records, volume->id);
    if (!snapshots.empty()) {
        return Error(ErrorCode::in_use, fmt::format("volume {} has snapshots, which would go with "
                                                    "it: {}; delete them first",
                                                    full_name, snapshots));
    }
    task::Plan plan = plan_for(volume->id, "delete");
    TRY(add_volume_deletion(context.records, *volume, plan));
    return plan;
}

}  // namespace stoa::storage
