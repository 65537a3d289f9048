// Plans about the snapshots of a VM: all its disks at one instant.
#include <algorithm>

#include <fmt/format.h>

#include "controlplane/machine/plan_parts.h"
#include "controlplane/machine/planner.h"
#include "controlplane/machine/steps.h"
#include "controlplane/storage/plan_parts.h"
#include "controlplane/task/record_step.h"

namespace stoa::machine {

namespace {

using storage::SnapshotRecord;

// Record and step; the parts' ids are chosen here, so that the step can be repeated.
Result<SnapshotRecord> add_snapshot(const PlanContext& context, const VmRecord& vm,
                                    const model::VmSnapshot& request, task::Plan& plan) {
    TRY(model::check_name(request.name));
    SnapshotRecord record;
    record.id = context.ids.next();
    record.name = request.name;
    record.created_ns = context.ids.now_ns();
    record.spec.vm = vm.id;
    for (const model::VmDisk& disk : vm.spec.disks) {
        if (disk.media == model::DiskMedia::cdrom || disk.read_only) continue;
        record.spec.parts.push_back({disk.volume, context.ids.next()});
    }
    if (record.spec.parts.empty()) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("vm {} has no disk that could be snapshotted", vm.name));
    }
    const auto taken = context.records.find<model::Snapshot>(vm.name + "/" + request.name);
    if (taken.ok()) {
        return Error(ErrorCode::already_exists,
                     fmt::format("vm {} has a snapshot {} already", vm.name, request.name));
    }
    records::create(plan.intent, record);
    plan.steps.push_back(task::RecordStep<model::Snapshot>::step(
        record.id, fmt::format("note snapshot {}", request.name)));
    const SnapshotStep take{vm.id, record.id, request.crash_consistent, request.freeze_seconds};
    plan.steps.push_back(
        step(take, fmt::format("snapshot {} disks of {} at one instant{}", record.spec.parts.size(),
                               vm.name, request.crash_consistent ? "" : ", file systems frozen")));
    return record;
}

Result<SnapshotRecord> find_snapshot(const PlanContext& context, const VmRecord& vm,
                                     const std::string& name) {
    auto found = context.records.find<model::Snapshot>(vm.name + "/" + name);
    if (!found.ok()) found = context.records.find<model::Snapshot>(name);
    if (!found.ok() || !(*found)->spec.vm || *(*found)->spec.vm != vm.id) {
        return Error(ErrorCode::not_found,
                     fmt::format("vm {} has no snapshot \"{}\"", vm.name, name));
    }
    return **found;
}

}  // namespace

Result<task::Plan> plan_snapshot(const PlanContext& context, std::string_view name,
                                 const model::VmSnapshot& request) {
    TRY_ASSIGN(const VmRecord vm, find_vm(context, name));
    if (vm.status.state == model::VmState::creating) {
        return Error(ErrorCode::busy, fmt::format("vm {} is not made yet", vm.name));
    }
    if (request.freeze_seconds < 1 || request.freeze_seconds > 60) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("freeze_seconds: {}: 1 to 60", request.freeze_seconds));
    }
    task::Plan plan = plan_for(vm, "snapshot");
    TRY_ASSIGN(const SnapshotRecord record, add_snapshot(context, vm, request, plan));
    plan.target = fmt::format("snapshot/{}", record.id.to_string());
    plan.locks = {fmt::format("vm/{}", vm.id.to_string())};
    return plan;
}

Result<task::Plan> plan_rollback(const PlanContext& context, std::string_view name,
                                 const model::VmRollback& request) {
    TRY_ASSIGN(const VmRecord vm, find_vm(context, name));
    if (has_process(vm.status) || vm.spec.power == model::Power::on) {
        return Error(ErrorCode::in_use,
                     fmt::format("vm {} runs: stop it before it is rolled back", vm.name));
    }
    TRY_ASSIGN(const SnapshotRecord snapshot, find_snapshot(context, vm, request.snapshot));
    task::Plan plan = plan_for(vm, "rollback");
    model::VmSnapshot safety;
    safety.name = fmt::format("before-rollback-{}", context.ids.now_ns() / 1'000'000'000);
    safety.crash_consistent = true;
    TRY_ASSIGN(const SnapshotRecord kept, add_snapshot(context, vm, safety, plan));
    for (const model::SnapshotPart& part : snapshot.spec.parts) {
        const auto* volume = context.records.get<model::Volume>(part.volume);
        if (volume == nullptr) {
            return Error(ErrorCode::not_found,
                         fmt::format("a disk of snapshot {} is no longer there", snapshot.name));
        }
        const auto before =
            std::ranges::find(kept.spec.parts, part.volume, &model::SnapshotPart::volume);
        const auto undo =
            before == kept.spec.parts.end() ? std::nullopt : std::optional(before->snapshot);
        TRY(storage::add_rollback(*volume, part.snapshot, plan, undo));
    }
    if (request.start) {
        VmRecord wanted = vm;
        TRY(add_launch(context, wanted, plan, false));
        records::replace(plan.intent, vm, wanted);
    }
    return plan;
}

Result<std::map<Uuid, Uuid>> clone_parts(const PlanContext& context, const VmRecord& from,
                                         const std::string& name, task::Plan& plan) {
    std::vector<model::SnapshotPart> parts;
    if (name.empty()) {
        model::VmSnapshot request;
        request.name = fmt::format("clone-{}", context.ids.now_ns() / 1'000'000'000);
        TRY_ASSIGN(const SnapshotRecord taken, add_snapshot(context, from, request, plan));
        parts = taken.spec.parts;
    } else {
        TRY_ASSIGN(const SnapshotRecord found, find_snapshot(context, from, name));
        parts = found.spec.parts;
    }
    std::map<Uuid, Uuid> by_volume;
    for (const model::SnapshotPart& part : parts) by_volume[part.volume] = part.snapshot;
    return by_volume;
}

}  // namespace stoa::machine
