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

// What a planner must not choose by itself: ids and the time. The same seed gives the same ids and
// the same time, so that a plan made again from its token is the same plan.
class Ids {
public:
    struct Seed {
        int64_t now_ns = 0;  // since 1970, of the request
        uint64_t random = 0;
    };
    explicit Ids(Seed seed) : seed_(seed), state_(seed.random) {}

    // A new UUIDv7, each call another one.
    [[nodiscard]] Uuid next();
    // Of the request: for created_ns.
    [[nodiscard]] int64_t now_ns() const { return seed_.now_ns; }
    // 64 bits, such as for a MAC address. Not for secrets.
    [[nodiscard]] uint64_t random();
    [[nodiscard]] const Seed& seed() const { return seed_; }

private:
    Seed seed_;
    uint64_t state_;
};

struct Plan {
    std::string verb;                // "vm.create"
    std::string target;              // "vm/ID"; with the id of what is made
    std::vector<std::string> locks;  // KIND/ID; the target if empty
    // No secrets: steps are shown, stored and logged.
    std::vector<model::Step> steps;
    // Committed together with the task, before the first side effect; its compares guard what the
    // plan was made from. If the task fails or is cancelled, it is the undo of a step that takes
    // the intent back (RecordStep does it for a record that was created).
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
