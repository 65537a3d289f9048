// What requests about virtual machines will do: pure functions from request and records to plans.
//
// A plan's intent says what is wanted (the record's spec) and is committed before its first step;
// the steps (steps.h) make it so. Asked for what is so already, a plan has neither.
//
// Errors of all: not_found, invalid_argument (names the field), in_use and conflict (say who or
// what stands in the way and what to do).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "controlplane/machine/admission.h"
#include "controlplane/model/vm_requests.h"
#include "controlplane/records/records.h"
#include "controlplane/task/plan.h"

namespace stoa::machine {

using VmRecord = model::Record<model::Vm>;

// Label of a deleted VM: what it was called.
constexpr std::string_view kDeletedNameLabel = "stoa/deleted-name";

// What planners know besides the request. Borrowed for the call.
struct PlanContext {
    const records::Records& records;
    task::Ids& ids;
    int64_t now_ns = 0;
    Uuid host;
    std::string accelerator;  // "kvm" or "tcg"
    MemoryBudget memory;
    bool may_manage_networks = false;  // Networks::may_manage()
};

Result<task::Plan> plan_create(const PlanContext& context, const model::VmCreate& request);
Result<task::Plan> plan_set(const PlanContext& context, std::string_view vm,
                            const model::VmSet& request);
Result<task::Plan> plan_clone(const PlanContext& context, std::string_view vm,
                              const model::VmClone& request);

// Admission counts all guests that are wanted on.
Result<task::Plan> plan_start(const PlanContext& context, std::string_view vm);
// After a crash, by the supervisor: as often as the restart policy allows.
Result<task::Plan> plan_crash_restart(const PlanContext& context, std::string_view vm);
Result<task::Plan> plan_stop(const PlanContext& context, std::string_view vm,
                             const model::VmStop& request);
Result<task::Plan> plan_restart(const PlanContext& context, std::string_view vm,
                                const model::VmStop& request);
Result<task::Plan> plan_pause(const PlanContext& context, std::string_view vm);
Result<task::Plan> plan_resume(const PlanContext& context, std::string_view vm);
Result<task::Plan> plan_reset(const PlanContext& context, std::string_view vm);

// Off, renamed and kept for the host's grace period; or gone at once.
Result<task::Plan> plan_delete(const PlanContext& context, std::string_view vm,
                               const model::VmDelete& request);
// Its grace period is over.
Result<task::Plan> plan_purge(const PlanContext& context, std::string_view vm);
// `name` empty: the one it had.
Result<task::Plan> plan_undelete(const PlanContext& context, std::string_view vm,
                                 std::string_view name);

Result<task::Plan> plan_snapshot(const PlanContext& context, std::string_view vm,
                                 const model::VmSnapshot& request);
// Of a VM that is off; takes a safety snapshot first.
Result<task::Plan> plan_rollback(const PlanContext& context, std::string_view vm,
                                 const model::VmRollback& request);

}  // namespace stoa::machine
