#include "controlplane/machine/autostart.h"

#include <algorithm>
#include <map>

#include "controlplane/machine/plan_parts.h"

namespace stoa::machine {

namespace {

bool is_of(const VmRecord& vm, const Uuid& host) {
    return (!vm.status.host || *vm.status.host == host) &&
           vm.status.state != model::VmState::deleted &&
           vm.status.state != model::VmState::creating;
}

template <class Wanted>
std::vector<AutostartGroup> groups(const records::Table<model::Vm>& vms, const Wanted& wanted) {
    std::map<uint32_t, std::vector<const VmRecord*>> by_order;
    for (const auto& [id, vm] : vms) {
        if (wanted(vm)) by_order[vm.spec.start_order].push_back(&vm);
    }
    std::vector<AutostartGroup> found;
    for (auto& [order, members] : by_order) {
        std::ranges::sort(members, {}, &VmRecord::name);
        AutostartGroup& group = found.emplace_back();
        for (const VmRecord* vm : members) {
            group.vms.push_back(vm->id);
            group.delay_seconds = std::max(group.delay_seconds, vm->spec.start_delay_seconds);
        }
    }
    return found;
}

}  // namespace

std::vector<AutostartGroup> autostart_groups(const records::Table<model::Vm>& vms,
                                             const Uuid& host) {
    return groups(vms, [&host](const VmRecord& vm) {
        if (!is_of(vm, host)) return false;
        switch (vm.spec.autostart) {
            case model::Autostart::always: return true;
            case model::Autostart::never: return false;
            default: return vm.spec.power == model::Power::on;
        }
    });
}

std::vector<AutostartGroup> shutdown_groups(const records::Table<model::Vm>& vms,
                                            const Uuid& host) {
    auto found = groups(
        vms, [&host](const VmRecord& vm) { return is_of(vm, host) && has_process(vm.status); });
    std::ranges::reverse(found);
    return found;
}

}  // namespace stoa::machine
