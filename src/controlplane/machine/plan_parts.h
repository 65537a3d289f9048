// What several planners need.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "controlplane/machine/planner.h"

namespace stoa::machine {

// A copy of the record. Errors: not_found; in_use (it is deleted: undelete it first).
[[nodiscard]] Result<VmRecord> find_vm(const PlanContext& context, std::string_view vm);

[[nodiscard]] task::Plan plan_for(const VmRecord& vm, std::string_view verb);

// Whether QEMU runs for it, as far as its status says.
[[nodiscard]] bool has_process(const model::VmStatus& status);

// Of all guests that are wanted on, or still run, but `except`.
[[nodiscard]] uint64_t used_bytes(const PlanContext& context, const Uuid& except);
[[nodiscard]] Result<void> admit(const PlanContext& context, const VmRecord& vm);

// Greater than that of any launch before, on this host or another.
[[nodiscard]] uint64_t next_epoch(const PlanContext& context);

// Puts the launch at the plan's end: intent `power: on`, admission, the step.
Result<void> add_launch(const PlanContext& context, VmRecord& wanted, task::Plan& plan,
                        bool is_restart);

// The only pool, if `pool` is empty. Errors: invalid_argument (`field` and the pools there are).
[[nodiscard]] Result<model::Record<model::Pool>> find_pool(const PlanContext& context,
                                                           std::string_view pool,
                                                           std::string_view field);

// Volume to the snapshot that a clone of it begins with: those of the VM's snapshot `name`, or of
// one that the plan takes now.
[[nodiscard]] Result<std::map<Uuid, Uuid>> clone_parts(const PlanContext& context,
                                                       const VmRecord& from,
                                                       const std::string& name, task::Plan& plan);

}  // namespace stoa::machine
