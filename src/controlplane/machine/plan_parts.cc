#include "controlplane/machine/plan_parts.h"

#include <algorithm>

#include <fmt/format.h>

#include "controlplane/machine/steps.h"

namespace stoa::machine {

Result<VmRecord> find_vm(const PlanContext& context, std::string_view vm) {
    TRY_ASSIGN(const VmRecord* found, context.records.find<model::Vm>(vm));
    return *found;
}

task::Plan plan_for(const VmRecord& vm, std::string_view verb) {
    task::Plan plan;
    plan.verb = fmt::format("vm.{}", verb);
    plan.target = fmt::format("vm/{}", vm.id.to_string());
    plan.locks = {plan.target};
    return plan;
}

bool has_process(const model::VmStatus& status) {
    switch (status.state) {
        case model::VmState::starting:
        case model::VmState::running:
        case model::VmState::paused:
        case model::VmState::paused_storage:
        case model::VmState::stopping:
        case model::VmState::unknown: return true;
        default: return false;
    }
}

uint64_t used_bytes(const PlanContext& context, const Uuid& except) {
    uint64_t sum = 0;
    for (const auto& [id, vm] : context.records.all<model::Vm>()) {
        if (id == except) continue;
        const bool runs = has_process(vm.status) && vm.status.launch;
        if (vm.spec.power != model::Power::on && !runs) continue;
        // One that runs holds what it was started with.
        uint64_t most = guest_bytes(vm.spec, context.accelerator);
        if (runs) most = std::max(most, guest_bytes(vm.status.launch->spec, context.accelerator));
        sum += most;
    }
    return sum;
}

Result<void> admit(const PlanContext& context, const VmRecord& vm) {
    return admit(context.memory, used_bytes(context, vm.id),
                 guest_bytes(vm.spec, context.accelerator), vm.name);
}

uint64_t next_epoch(const PlanContext& context) {
    // Seconds, so that it grows over the lives of VMs that are forgotten, too.
    auto epoch = static_cast<uint64_t>(std::max<int64_t>(context.now_ns, 0) / 1'000'000'000);
    for (const auto& [id, vm] : context.records.all<model::Vm>()) {
        if (vm.status.launch) epoch = std::max(epoch, vm.status.launch->epoch + 1);
    }
    return epoch;
}

Result<void> add_launch(const PlanContext& context, VmRecord& wanted, task::Plan& plan,
                        bool is_restart) {
    TRY(admit(context, wanted));
    wanted.spec.power = model::Power::on;
    const LaunchStep launch{wanted.id, next_epoch(context), is_restart};
    plan.steps.push_back(step(
        launch, fmt::format("start {} with {} CPUs and {} under {}", wanted.name, wanted.spec.cpus,
                            bytes_text(wanted.spec.memory_bytes), context.accelerator)));
    const uint64_t used =
        used_bytes(context, wanted.id) + guest_bytes(wanted.spec, context.accelerator);
    JsonObject after;
    after["memory_left_bytes"] = guest_bytes_max(context.memory) - used;
    plan.capacity_after = std::move(after);
    return {};
}

Result<model::Record<model::Pool>> find_pool(const PlanContext& context, std::string_view pool,
                                             std::string_view field) {
    if (!pool.empty()) {
        const auto found = context.records.find<model::Pool>(pool);
        if (!found.ok()) return found.error().with_context(field);
        return **found;
    }
    const auto& all = context.records.all<model::Pool>();
    if (all.size() == 1) return all.begin()->second;
    std::string names;
    for (const auto& [id, each] : all) names += (names.empty() ? "" : ", ") + each.name;
    return Error(ErrorCode::invalid_argument,
                 all.empty() ? fmt::format("{}: there is no pool yet; create one first", field)
                             : fmt::format("{}: say which pool: {}", field, names));
}

}  // namespace stoa::machine
