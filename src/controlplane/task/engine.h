// The engine of tasks: runs the steps of plans, through crashes of this process.
//
// A task's record is in the store before its first side effect. Each step: is_done, run, record.
// After a crash the recorded position tells which steps are surely done; the one after it may be.
// If a step fails before the point of no return, the steps are undone in reverse; after it, a
// failed step is tried again with growing pauses (1 s up to 60 s) until it succeeds.
// Tasks with a common lock run one after the other, in the order in which they were submitted.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "controlplane/async/async.h"
#include "controlplane/records/records.h"
#include "controlplane/task/plan.h"
#include "controlplane/task/step.h"

namespace stoa::task {

struct Progress {
    uint64_t done = 0;
    uint64_t total = 0;
    std::string text;
};

class Engine {
public:
    struct Options;  // clock, randomness, journal, fault points of tests
    static std::unique_ptr<Engine> create(asio::any_io_executor executor, records::Records& records,
                                          Options options);
    ~Engine();  // CHECKs that close() finished.

    void add(std::unique_ptr<StepType> type);  // before start()
    // Goes on with what another process began.
    Async<> start();

    // Commits `plan.intent` and the task; gives the task's id, or none for a plan without steps.
    // Errors: as Records::commit; invalid_argument (a step of an unknown type).
    Async<std::optional<Uuid>> submit(Plan plan, std::string principal);
    // Until the task has ended; its error is the result's.
    Async<Json> wait(Uuid task);
    // Ends it before its next step and undoes. Errors: not_found, in_use (beyond the point of no
    // return, or over: says so).
    Async<> cancel(Uuid task);

    [[nodiscard]] Progress progress(const Uuid& task) const;
    // Stops between steps, tells running ones to end; undoes nothing.
    AsyncVoid close();

private:
    struct State;
    explicit Engine(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace stoa::task
