// Routes about virtual machines: what changes them (vm_routes.cc), and what goes on inside of a
// running one (vm_guest_routes.cc). What lists and shows them: record_routes.h.
#pragma once

#include <functional>
#include <vector>

#include "controlplane/api/context.h"
#include "controlplane/http/route.h"
#include "controlplane/machine/guests.h"

namespace stoa::api {

// Gives what planners know. Borrowed for the life of the routes.
using VmPlanning = std::function<machine::PlanContext(task::Ids&)>;

std::vector<http::Route> vm_routes(Context& context, machine::Guests& guests,
                                   const machine::Settings& settings, const VmPlanning& planning);

// Of vm_guest_routes.cc, and among vm_routes().
std::vector<http::Route> vm_guest_routes(Context& context, machine::Guests& guests,
                                         const machine::Settings& settings);

// The "live" part of a VM's record: how long it runs, the memory it takes, what changes at its next
// start.
[[nodiscard]] Json live_vm(const records::Records& records, const machine::Settings& settings,
                           const host::CgroupTree& cgroups, const host::Clock& clock,
                           const Uuid& vm);

}  // namespace stoa::api
