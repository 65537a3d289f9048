// Plans that delete virtual machines, and bring them back.
#include <algorithm>

#include <fmt/format.h>

#include "controlplane/machine/plan_parts.h"
#include "controlplane/machine/planner.h"
#include "controlplane/machine/steps.h"
#include "controlplane/storage/plan_parts.h"
#include "controlplane/task/record_step.h"

namespace stoa::machine {

namespace {

using model::VmState;

Result<void> check_deletable(const VmRecord& vm) {
    if (!vm.spec.is_protected) return {};
    return Error(ErrorCode::in_use, fmt::format("vm {} is protected: take the protection away "
                                                "first (stoa vm set {} --protected no)",
                                                vm.name, vm.name));
}

// From here on nothing comes back: its snapshots and volumes, then its record.
Result<void> add_purge(const PlanContext& context, const VmRecord& vm, bool keep_disks,
                       task::Plan& plan) {
    for (const auto& [id, snapshot] : context.records.all<model::Snapshot>()) {
        if (!snapshot.spec.vm || *snapshot.spec.vm != vm.id) continue;
        // Clones of it live on: its pool keeps what they need.
        TRY(storage::add_snapshot_deletion(context.records, snapshot, plan));
    }
    for (const model::VmDisk& disk : vm.spec.disks) {
        if (keep_disks || !disk.shared_fate || disk.media == model::DiskMedia::cdrom) continue;
        const auto* volume = context.records.get<model::Volume>(disk.volume);
        if (volume == nullptr) continue;
        TRY(storage::add_volume_deletion(context.records, *volume, plan));
    }
    plan.steps.push_back(step(CleanStep{vm.id}, fmt::format("remove the files of {}", vm.name)));
    plan.steps.push_back(
        task::ForgetStep<model::Vm>::step(vm.id, fmt::format("forget {}", vm.name)));
    return {};
}

std::string deleted_name(const VmRecord& vm) {
    // Its name is free at once; what it is called now must be a name too.
    const std::string id = vm.id.to_string();
    const std::string suffix = "-deleted-" + id.substr(id.size() - 6);
    std::string name = vm.name.substr(0, model::kNameBytesMax - suffix.size());
    while (name.ends_with('-')) name.pop_back();
    return name + suffix;
}

}  // namespace

Result<task::Plan> plan_delete(const PlanContext& context, std::string_view name,
                               const model::VmDelete& request) {
    TRY_ASSIGN(const VmRecord vm, find_vm(context, name));
    TRY(check_deletable(vm));
    task::Plan plan = plan_for(vm, "delete");
    const bool is_deleted = vm.status.state == VmState::deleted;
    if (is_deleted && !request.now) return plan;
    // Always: a start that waits in the queue before this task may have brought it up by then.
    const ShutdownStep off{vm.id, true, 0};
    plan.steps.push_back(step(off, fmt::format("turn {} off", vm.name)));
    if (request.now) {
        if (vm.spec.power != model::Power::off) {
            VmRecord wanted = vm;
            wanted.spec.power = model::Power::off;
            records::replace(plan.intent, vm, wanted);
        }
        TRY(add_purge(context, vm, request.keep_disks, plan));
        plan.point_of_no_return = 0;
        return plan;
    }
    VmRecord wanted = vm;
    wanted.spec.power = model::Power::off;
    wanted.name = deleted_name(vm);
    wanted.labels[std::string(kDeletedNameLabel)] = vm.name;
    if (request.keep_disks) {
        for (model::VmDisk& disk : wanted.spec.disks) disk.shared_fate = false;
    }
    records::replace(plan.intent, vm, wanted);
    plan.steps.push_back(
        step(MarkDeletedStep{vm.id}, fmt::format("keep {} for the grace period", vm.name)));
    plan.point_of_no_return = 0;
    return plan;
}

Result<task::Plan> plan_purge(const PlanContext& context, std::string_view name) {
    TRY_ASSIGN(const VmRecord vm, find_vm(context, name));
    task::Plan plan = plan_for(vm, "purge");
    if (vm.status.state != VmState::deleted) return plan;
    TRY(add_purge(context, vm, false, plan));
    plan.point_of_no_return = 0;
    return plan;
}

Result<task::Plan> plan_undelete(const PlanContext& context, std::string_view name,
                                 std::string_view new_name) {
    // By the name it had as well: of several the one that was deleted last.
    Result<VmRecord> found = find_vm(context, name);
    if (!found.ok() || found->status.state != VmState::deleted) {
        const VmRecord* last = nullptr;
        const std::string wanted_name = found.ok() ? found->name : std::string(name);
        for (const auto& [id, each] : context.records.all<model::Vm>()) {
            const auto label = each.labels.find(std::string(kDeletedNameLabel));
            if (label == each.labels.end() || label->second != wanted_name) continue;
            if (last == nullptr || each.status.deleted_ns > last->status.deleted_ns) last = &each;
        }
        if (last == nullptr && !found.ok()) return found.take_error();
        if (last != nullptr) found = *last;
    }
    const VmRecord vm = *found;
    if (vm.status.state != VmState::deleted) {
        return Error(ErrorCode::invalid_argument, fmt::format("vm {} is not deleted", vm.name));
    }
    task::Plan plan = plan_for(vm, "undelete");
    VmRecord wanted = vm;
    const auto label = vm.labels.find(std::string(kDeletedNameLabel));
    if (!new_name.empty()) wanted.name = new_name;
    else if (label != vm.labels.end()) wanted.name = label->second;
    wanted.labels.erase(std::string(kDeletedNameLabel));
    TRY(model::check_name(wanted.name));
    const auto taken = context.records.find<model::Vm>(wanted.name);
    if (taken.ok() && (*taken)->id != vm.id) {
        return Error(ErrorCode::already_exists,
                     fmt::format("another vm is called {} by now: undelete it with a new name "
                                 "(--name)",
                                 wanted.name));
    }
    records::replace(plan.intent, vm, wanted);
    plan.steps.push_back(step(RestoreStep{vm.id}, fmt::format("bring {} back", wanted.name)));
    return plan;
}

}  // namespace stoa::machine
