// The engine of tasks: runs the steps of plans, through crashes of this process.
//
// A task's record is in the store before its first side effect. Each step: is_done, run, record.
// After a crash the recorded position tells which steps are surely done; the one after it may be.
// If a step fails before the point of no return, it and those before it are undone in reverse;
// after it, a failed step is tried again with growing pauses until it succeeds. A failed undo is
// tried again likewise. Behaviour when the process is killed: kill_test_harness.h, kill_test.cc.
//
// Tasks with a common lock run one after the other, in the order in which they were submitted; the
// record's `waits_for` names the nearest one before it. A task that bypasses waits for nobody, but
// others wait for it.
//
// The state's file system is full: submit() fails with no_space, tasks stop at their next border
// and go on when there is space again; read_only_reason() says so meanwhile.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "controlplane/async/async.h"
#include "controlplane/journal/journal.h"
#include "controlplane/records/records.h"
#include "controlplane/task/idempotency.h"
#include "controlplane/task/plan.h"
#include "controlplane/task/step.h"

namespace stoa::task {

// Of what runs now; not stored.
struct Progress {
    uint64_t done = 0;
    uint64_t total = 0;  // 0: not known
    std::string text;    // the step's, or what is waited for
};

// A moment in a task's life where tests let the process die or a step fail.
struct FaultPoint {
    enum class Moment : uint8_t {
        submitted,      // intent and task are committed
        before_step,    // nothing of the step was done in this process
        after_effect,   // is_done or run succeeded; not recorded
        after_record,   // the border is recorded
        before_undo,    // likewise
        after_undo,     // its effect is taken back; not recorded
        after_undone,   // recorded
        after_end,      // the end of the task is recorded
    };
    Moment moment = Moment::submitted;
    uint32_t step = 0;  // its index
};

struct EngineOptions {
    std::function<int64_t()> now_ns;   // since 1970
    std::function<uint64_t()> random;  // for ids
    state::Store* store = nullptr;      // the one under `records`; outlives the engine
    journal::Journal* journal = nullptr;  // outlives the engine; none: nothing is told
    // Ended tasks are kept so long and so many.
    int64_t keep_ns = int64_t{30} * 86'400 * 1'000'000'000;
    size_t keep_max = 10'000;
    // Unfinished tasks; a submit beyond fails with `busy`.
    size_t tasks_max = 10'000;
    // Pauses between trials: the first, doubled up to the last.
    std::chrono::milliseconds pause_first{1'000};
    std::chrono::milliseconds pause_max{60'000};
    // Between trials to write to a full file system.
    std::chrono::milliseconds pause_full{1'000};
    // Tests alone. An error at after_effect makes the step fail.
    std::function<Result<void>(const FaultPoint&)> fault;
};

class Engine {
public:
    using Options = EngineOptions;
    static std::unique_ptr<Engine> create(asio::any_io_executor executor, records::Records& records,
                                          Options options);
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;
    ~Engine();  // CHECKs that close() finished.

    void add(std::unique_ptr<StepType> type);  // before start()
    // Goes on with what another process began. A task with a step of a type that is not known stays
    // as it is, holds its locks and says so in its progress and in the journal.
    Async<> start();

    // Commits `plan.intent` and the task; gives the task's id, or none for a plan without steps.
    // Errors: as Records::commit; invalid_argument (a step of an unknown type, too many or too long
    // steps), busy (too many tasks), cancelled (closing).
    Async<std::optional<Uuid>> submit(Plan plan, std::string principal);

    struct Submitted {
        std::optional<Uuid> task;
        std::string target;
        Json answer;
        bool is_replay = false;  // it was answered before; nothing was done now
    };
    // The same, once for a key: the second time gives what the first one gave. `answer` is kept
    // beside, such as the body that was sent; without secrets.
    // Errors: as submit; already_exists (the key was used for another request). To tell that from a
    // name that is taken, and before planning, ask answered_before().
    Async<Submitted> submit_once(Plan plan, OnceKey once, Json answer = nullptr);

    // Until the task has ended; its error is the result's. Errors also: not_found, cancelled
    // (closing).
    Async<Json> wait(Uuid task);
    // Ends it before its next step and undoes; of a task that waits for its turn only what its
    // intent made (StepType::undoes_intent). Answers when that is recorded, not when it is over.
    // Errors: not_found, in_use (beyond the point of no return, or over: says so).
    Async<> cancel(Uuid task);

    [[nodiscard]] Progress progress(const Uuid& task) const;
    // Wakes whenever the progress of any task changed, at most ten times a second.
    [[nodiscard]] Signal& progressed();
    [[nodiscard]] size_t running() const;  // tasks that are not over and do not wait
    [[nodiscard]] size_t unfinished() const;  // those that wait, too

    // Why no change can be made now: "the state's file system is full …". None: all is well.
    [[nodiscard]] std::optional<std::string> read_only_reason() const;

    // Stops between steps, tells running ones to end; undoes nothing.
    AsyncVoid close();

private:
    struct State;
    explicit Engine(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace stoa::task
