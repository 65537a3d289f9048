// Plans that turn virtual machines on and off.
#include <fmt/format.h>

#include "controlplane/machine/plan_parts.h"
#include "controlplane/machine/planner.h"
#include "controlplane/machine/steps.h"

namespace stoa::machine {

namespace {

using model::Power;
using model::VmState;

// The state in words, for messages.
std::string state_of(const VmRecord& vm) {
    return std::string(enum_names(vm.status.state).at(static_cast<size_t>(vm.status.state)));
}

Result<void> check_made(const VmRecord& vm) {
    if (vm.status.state == VmState::deleted) {
        return Error(ErrorCode::in_use,
                     fmt::format("vm {} is deleted: undelete it first", vm.name));
    }
    if (vm.status.state == VmState::creating) {
        return Error(ErrorCode::busy, fmt::format("vm {} is not made yet", vm.name));
    }
    return {};
}

Result<task::Plan> plan_run_state(const PlanContext& context, std::string_view name, RunVerb verb) {
    TRY_ASSIGN(const VmRecord vm, find_vm(context, name));
    TRY(check_made(vm));
    const auto word = enum_names(verb).at(static_cast<size_t>(verb));
    if (!has_process(vm.status)) {
        return Error(ErrorCode::in_use, fmt::format("vm {} is {}: it cannot {}; start it first",
                                                    vm.name, state_of(vm), word));
    }
    task::Plan plan = plan_for(vm, word);
    plan.steps.push_back(step(RunStateStep{vm.id, verb}, fmt::format("{} {}", word, vm.name)));
    return plan;
}

void add_shutdown(const VmRecord& vm, const model::VmStop& request, task::Plan& plan) {
    const ShutdownStep shutdown{vm.id, request.force, request.timeout_seconds};
    plan.steps.push_back(step(shutdown, request.force
                                            ? fmt::format("turn {} off at once", vm.name)
                                            : fmt::format("shut {} down; after {} s turn it off",
                                                          vm.name, request.timeout_seconds)));
}

}  // namespace

Result<task::Plan> plan_start(const PlanContext& context, std::string_view name) {
    TRY_ASSIGN(const VmRecord vm, find_vm(context, name));
    TRY(check_made(vm));
    task::Plan plan = plan_for(vm, "start");
    if (vm.spec.power == Power::on && has_process(vm.status)) return plan;
    VmRecord wanted = vm;
    TRY(add_launch(context, wanted, plan, false));
    records::replace(plan.intent, vm, wanted);
    return plan;
}

Result<task::Plan> plan_crash_restart(const PlanContext& context, std::string_view name) {
    TRY_ASSIGN(const VmRecord vm, find_vm(context, name));
    task::Plan plan = plan_for(vm, "restart-after-crash");
    if (vm.spec.power != Power::on || has_process(vm.status)) return plan;
    VmRecord wanted = vm;
    TRY(add_launch(context, wanted, plan, true));
    return plan;
}

Result<task::Plan> plan_stop(const PlanContext& context, std::string_view name,
                             const model::VmStop& request) {
    TRY_ASSIGN(const VmRecord vm, find_vm(context, name));
    TRY(check_made(vm));
    task::Plan plan = plan_for(vm, "stop");
    if (vm.spec.power == Power::off && !has_process(vm.status)) return plan;
    plan.bypasses = request.force;
    VmRecord wanted = vm;
    wanted.spec.power = Power::off;
    if (vm.spec.power != Power::off) records::replace(plan.intent, vm, wanted);
    add_shutdown(vm, request, plan);
    // A guest that was shut down halfway is not taken back.
    plan.point_of_no_return = 0;
    return plan;
}

Result<task::Plan> plan_restart(const PlanContext& context, std::string_view name,
                                const model::VmStop& request) {
    TRY_ASSIGN(const VmRecord vm, find_vm(context, name));
    TRY(check_made(vm));
    task::Plan plan = plan_for(vm, "restart");
    if (has_process(vm.status)) add_shutdown(vm, request, plan);
    VmRecord wanted = vm;
    TRY(add_launch(context, wanted, plan, false));
    if (vm.spec.power != Power::on) records::replace(plan.intent, vm, wanted);
    return plan;
}

Result<task::Plan> plan_pause(const PlanContext& context, std::string_view vm) {
    return plan_run_state(context, vm, RunVerb::pause);
}
Result<task::Plan> plan_resume(const PlanContext& context, std::string_view vm) {
    return plan_run_state(context, vm, RunVerb::resume);
}
Result<task::Plan> plan_reset(const PlanContext& context, std::string_view vm) {
    return plan_run_state(context, vm, RunVerb::reset);
}

}  // namespace stoa::machine
