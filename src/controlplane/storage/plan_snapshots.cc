// Plans about snapshots.
#include <algorithm>

#include <fmt/format.h>

#include "controlplane/storage/planner.h"
#include "controlplane/storage/steps.h"

namespace stoa::storage {

namespace {

task::Plan plan_for(const Uuid& snapshot, std::string_view verb) {
    task::Plan plan;
    plan.verb = fmt::format("snapshot.{}", verb);
    plan.target = fmt::format("snapshot/{}", snapshot.to_string());
    add_lock(plan, "snapshot", snapshot);
    return plan;
}

Result<void> check_ready(const records::Records& records, const SnapshotRecord& snapshot) {
    if (snapshot.status.state == model::StorageState::ready) return {};
    return Error(ErrorCode::in_use,
                 fmt::format("snapshot {} is not ready: {}", records.full_name(snapshot),
                             to_text(to_json(snapshot.status.state))));
}

// The volume of a part. Errors: not_found.
Result<VolumeRecord> volume_of(const records::Records& records, const SnapshotRecord& snapshot,
                               const model::SnapshotPart& part) {
    const auto* volume = records.get<model::Volume>(part.volume);
    if (volume != nullptr) return *volume;
    return Error(ErrorCode::not_found,
                 fmt::format("snapshot {}: its volume {} is gone", records.full_name(snapshot),
                             part.volume.to_string()));
}

// A running guest would not know that its disk is another one.
Result<void> check_users_off(const records::Records& records, const VolumeRecord& volume) {
    for (const auto& [id, vm] : records.all<model::Vm>()) {
        const auto has = [&volume](const model::VmDisk& disk) { return disk.volume == volume.id; };
        if (!std::ranges::any_of(vm.spec.disks, has)) continue;
        const bool is_off =
            vm.spec.power == model::Power::off &&
            (vm.status.state == model::VmState::off || vm.status.state == model::VmState::deleted);
        if (is_off) continue;
        return Error(ErrorCode::in_use, fmt::format("volume {} is a disk of vm {}, which is not "
                                                    "off: stop it first",
                                                    records.full_name(volume), vm.name));
    }
    return {};
}

}  // namespace

Result<task::Plan> plan_snapshot_create(const PlanContext& context,
                                        const model::SnapshotCreate& request) {
    SnapshotRecord snapshot;
    snapshot.id = context.ids.next();
    snapshot.name = request.name;
    snapshot.labels = request.labels;
    snapshot.created_ns = context.ids.now_ns();
    snapshot.spec.is_protected = request.is_protected;
    std::optional<Uuid> pool;
    for (const std::string& name : request.volumes) {
        TRY_ASSIGN(const VolumeRecord* volume, context.records.find<model::Volume>(name));
        if (pool && *pool != volume->spec.pool) {
            return Error(ErrorCode::invalid_argument,
                         "volumes: all must be in one pool, else there is no common instant");
        }
        pool = volume->spec.pool;
        snapshot.spec.parts.push_back({volume->id, context.ids.next()});
    }
    task::Plan plan = plan_for(snapshot.id, "create");
    TRY(add_snapshot_creation(context.records, std::move(snapshot), plan));
    return plan;
}

Result<task::Plan> plan_snapshot_set(const PlanContext& context, std::string_view name,
                                     const model::SnapshotSet& request) {
    TRY_ASSIGN(const SnapshotRecord* snapshot, context.records.find<model::Snapshot>(name));
    task::Plan plan = plan_for(snapshot->id, "set");
    SnapshotRecord wanted = *snapshot;
    if (request.labels) {
        TRY(model::check_labels(*request.labels));
        wanted.labels = *request.labels;
    }
    if (request.is_protected) wanted.spec.is_protected = *request.is_protected;
    if (wanted.spec.is_protected != snapshot->spec.is_protected) {
        plan.steps.push_back(make_step(
            SnapshotProtectStep{snapshot->id, place(context.records, snapshot->spec.parts),
                                wanted.spec.is_protected},
            fmt::format("{} snapshot {}", wanted.spec.is_protected ? "protect" : "unprotect",
                        context.records.full_name(*snapshot))));
    }
    if (plan.steps.empty() && wanted.labels == snapshot->labels) return plan;
    records::replace(plan.intent, *snapshot, wanted);
    return plan;
}

Result<task::Plan> plan_snapshot_delete(const PlanContext& context, std::string_view name) {
    TRY_ASSIGN(const SnapshotRecord* snapshot, context.records.find<model::Snapshot>(name));
    task::Plan plan = plan_for(snapshot->id, "delete");
    TRY(add_snapshot_deletion(context.records, *snapshot, plan));
    return plan;
}

Result<task::Plan> plan_snapshot_clone(const PlanContext& context, std::string_view name,
                                       const model::SnapshotClone& request) {
    TRY(model::check_name(request.name));
    TRY_ASSIGN(const SnapshotRecord* snapshot, context.records.find<model::Snapshot>(name));
    TRY(check_ready(context.records, *snapshot));
    task::Plan plan;
    for (size_t i = 0; i < snapshot->spec.parts.size(); ++i) {
        const model::SnapshotPart& part = snapshot->spec.parts[i];
        TRY_ASSIGN(const VolumeRecord from, volume_of(context.records, *snapshot, part));
        VolumeRecord volume;
        volume.id = context.ids.next();
        volume.name = i == 0 ? request.name : fmt::format("{}-{}", request.name, i + 1);
        volume.labels = request.labels;
        volume.created_ns = context.ids.now_ns();
        volume.spec.pool = from.spec.pool;
        volume.spec.source = part.snapshot;
        if (i == 0) plan.target = fmt::format("volume/{}", volume.id.to_string());
        TRY(add_volume_creation(context.records, std::move(volume), plan));
    }
    plan.verb = "snapshot.clone";
    add_lock(plan, "snapshot", snapshot->id);
    return plan;
}

Result<task::Plan> plan_snapshot_rollback(const PlanContext& context, std::string_view name,
                                          const model::SnapshotRollback& request) {
    TRY_ASSIGN(const SnapshotRecord* snapshot, context.records.find<model::Snapshot>(name));
    TRY(check_ready(context.records, *snapshot));
    task::Plan plan = plan_for(snapshot->id, "rollback");
    SnapshotRecord safety;
    safety.id = context.ids.next();
    safety.name = request.safety.empty()
                      ? fmt::format("before-{}", context.ids.now_ns() / 1'000'000'000)
                      : request.safety;
    safety.created_ns = context.ids.now_ns();
    safety.spec.vm = snapshot->spec.vm;
    for (const model::SnapshotPart& part : snapshot->spec.parts) {
        TRY_ASSIGN(const VolumeRecord volume, volume_of(context.records, *snapshot, part));
        TRY(check_users_off(context.records, volume));
        records::expect(plan.intent, volume);
        safety.spec.parts.push_back({volume.id, context.ids.next()});
    }
    const std::vector<model::SnapshotPart> kept = safety.spec.parts;
    TRY(add_snapshot_creation(context.records, std::move(safety), plan));
    for (size_t i = 0; i < kept.size(); ++i) {
        const model::SnapshotPart& part = snapshot->spec.parts[i];
        TRY_ASSIGN(const VolumeRecord volume, volume_of(context.records, *snapshot, part));
        TRY(add_rollback(volume, part.snapshot, plan, kept[i].snapshot));
    }
    return plan;
}

}  // namespace stoa::storage
