// Plan: what a request will do, before anything is done.
//
// Every change is planned by a pure function of the request and of the records; execution runs
// exactly the steps of the plan. A plan without steps is done when its intent is committed.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/uuid.h"
#include "controlplane/model/task.h"
#include "controlplane/state/store.h"

namespace stoa::task {

struct Plan {
    std::string verb;                // "vm.create"
    std::string target;              // "vm/ID"; with the id of what is made
    std::vector<std::string> locks;  // KIND/ID; the target if empty
    std::vector<model::Step> steps;
    // Committed together with the task, before the first side effect; its compares guard what the
    // plan was made from.
    state::Txn intent;
    // After so many steps the task is finished, not undone. Default: never.
    std::optional<uint32_t> point_of_no_return;
    bool bypasses = false;  // does not wait for its turn (force-stop, cancel)

    // For people.
    uint64_t bytes = 0;  // to be written
    uint64_t downtime_ms = 0;  // of a guest
    Json capacity_after;  // what is left, by pool and memory; null: as before
};

}  // namespace stoa::task
