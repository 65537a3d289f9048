// What the parts of the engine share: engine.cc (what users call), engine_queue.cc (whose turn it
// is), engine_run.cc (steps), engine_keep.cc (retention, full file systems).
//
// A task is in `runs` from its submit() until its end is recorded. Its coroutine, drive(), is the
// only one that changes its status once it was spawned.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <boost/asio/steady_timer.hpp>

#include "controlplane/async/scope.h"
#include "controlplane/async/signal.h"
#include "controlplane/task/engine.h"

namespace stoa::task {

// One unfinished task. Shared by the queue and by the task's coroutine, which outlives its place.
struct Run {
    Uuid id;
    int64_t created_ns = 0;  // no two have the same; the order of the queue
    model::TaskSpec spec;
    model::TaskStatus status;
    Json result = JsonObject();  // what the running step may change
    Progress progress;
    bool is_committed = false;  // its record is in the store
    bool is_spawned = false;    // drive() runs, or ran
    bool is_stuck = false;      // has a step of an unknown type
    bool step_began = false;    // the step at status.position may have had an effect
};

struct Engine::State {
    State(const asio::any_io_executor& its_executor, records::Records& its_records, Options given);

    // ---- engine_queue.cc
    void schedule();
    // The nearest task before it that it waits for; nil: none.
    [[nodiscard]] Uuid blocker_of(const Run& run) const;
    void spawn(const std::shared_ptr<Run>& run);
    AsyncVoid show_status(std::shared_ptr<Run> run);
    void adopt();
    [[nodiscard]] std::string unknown_step(const std::vector<model::Step>& steps) const;
    [[nodiscard]] uint32_t intent_steps(const model::TaskSpec& spec) const;

    // ---- engine_run.cc
    AsyncVoid drive(std::shared_ptr<Run> run);
    AsyncVoid forward(Run& run);
    AsyncVoid backward(Run& run);
    Async<> do_step(Run& run);
    Async<> undo_step(Run& run, uint32_t index);
    void begin_undo(Run& run, const Error& why);
    AsyncVoid end(Run& run);
    // Until the status is durable, or the engine closes: false.
    asio::awaitable<bool> record(Run& run);
    // Waits, longer each time. False: the engine closes.
    asio::awaitable<bool> pause(std::chrono::milliseconds& next);
    Result<void> fault(FaultPoint::Moment moment, uint32_t step) const;
    void tell(const Run& run, std::string text, JsonObject data = {}) const;
    [[nodiscard]] static bool beyond_return(const Run& run);

    // ---- engine_keep.cc
    AsyncVoid expire_hourly();
    AsyncVoid expire_tasks();
    AsyncVoid show_progress();
    AsyncVoid probe();
    // Notes whether the store takes changes, by the outcome of one.
    void note(const Result<state::Revision>& done);

    // ---- engine.cc
    Async<Submitted> submit(Plan plan, std::string principal, std::optional<OnceKey> once,
                            Json answer);
    Async<> commit_task(std::shared_ptr<Run> run, state::Txn txn);
    Async<> commit_only(state::Txn txn);
    [[nodiscard]] std::shared_ptr<Run> find(const Uuid& task) const;

    asio::any_io_executor executor;
    records::Records& records;
    Options options;
    std::map<std::string, std::unique_ptr<StepType>, std::less<>> types;
    std::map<int64_t, std::shared_ptr<Run>> runs;  // by created_ns
    int64_t last_created_ns = 0;
    std::string full_reason;  // empty: the store takes changes
    bool is_probing = false;
    bool is_expiring = false;
    bool closing = false;
    bool closed = false;
    size_t calls = 0;  // submit and cancel, which close() waits for

    Signal ended;        // a task is over, or a call, or the engine closes
    Signal stirred;      // some progress changed
    Signal progressed;   // the same, slowed down
    Scope scope;
};

// In a status, and in the store, not more of it.
constexpr size_t kErrorBytesMax = 4096;
constexpr size_t kResultBytesMax = size_t{64} << 10;
constexpr size_t kStepsMax = 1000;

}  // namespace stoa::task
