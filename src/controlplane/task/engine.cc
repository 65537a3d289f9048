#include "controlplane/task/engine.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "controlplane/task/engine_state.h"

namespace stoa::task {

namespace {

Error closing_error() { return {ErrorCode::cancelled, "the tasks are being stopped"}; }

ErrorCode code_of(std::string_view word) {
    for (int i = 0; i <= static_cast<int>(ErrorCode::denied); ++i) {
        const auto code = static_cast<ErrorCode>(i);
        if (to_string(code) == word) return code;
    }
    return ErrorCode::io;
}

// A task's record needs a name of its own: "vm-create-0123456789ab".
std::string name_of(std::string_view verb, const Uuid& id) {
    std::string name;
    for (const char c : verb.substr(0, 40)) name += c == '.' || c == '_' ? '-' : c;
    return fmt::format("{}-{}", name, id.to_string().substr(24));
}

}  // namespace

Engine::State::State(const asio::any_io_executor& its_executor, records::Records& its_records,
                     Options given)
    : executor(its_executor), records(its_records), options(std::move(given)), ended(executor),
      stirred(executor), progressed(executor), scope(executor) {
    CHECK(options.now_ns && options.random && options.store != nullptr);
}

Engine::Engine(std::unique_ptr<State> state) : state_(std::move(state)) {}

Engine::~Engine() { CHECK(state_->closed); }

std::unique_ptr<Engine> Engine::create(asio::any_io_executor executor, records::Records& records,
                                       Options options) {
    return std::unique_ptr<Engine>(
        new Engine(std::make_unique<State>(executor, records, std::move(options))));
}

void Engine::add(std::unique_ptr<StepType> type) {
    std::string name(type->name());
    const bool is_new = state_->types.emplace(std::move(name), std::move(type)).second;
    CHECK(is_new);
}

Async<> Engine::start() {
    state_->adopt();
    state_->schedule();
    state_->scope.spawn(state_->expire_hourly());
    state_->scope.spawn(state_->show_progress());
    co_return Result<void>();
}

// ---- submit

Async<std::optional<Uuid>> Engine::submit(Plan plan, std::string principal) {
    CO_TRY_ASSIGN(
        const Submitted done,
        co_await state_->submit(std::move(plan), std::move(principal), std::nullopt, nullptr));
    co_return done.task;
}

Async<Engine::Submitted> Engine::submit_once(Plan plan, OnceKey once, Json answer) {
    const int64_t now_ns = state_->options.now_ns();
    // Twice: another request with the same key may win between the look and the commit.
    for (int trial = 0;; ++trial) {
        CO_TRY_ASSIGN(std::optional<OnceAnswer> before,
                      co_await answered_before(*state_->options.store, once, now_ns));
        if (before) {
            co_return Submitted{before->task, std::move(before->target), std::move(before->answer),
                                true};
        }
        auto done = co_await state_->submit(plan, once.principal, once, answer);
        const bool may_be_used = !done.ok() && (done.error().code() == ErrorCode::conflict ||
                                                done.error().code() == ErrorCode::already_exists);
        if (!may_be_used || trial > 0) co_return done;
        auto now = co_await answered_before(*state_->options.store, once, now_ns);
        if (!now.ok() || !*now) co_return done;
    }
}

Async<Engine::Submitted> Engine::State::submit(Plan plan, std::string principal,
                                               std::optional<OnceKey> once, Json answer) {
    if (closing) co_return closing_error();
    const std::string unknown = unknown_step(plan.steps);
    if (!unknown.empty() || plan.steps.size() > kStepsMax) {
        co_return Error(ErrorCode::invalid_argument,
                        unknown.empty()
                            ? fmt::format("a plan has at most {} steps, this one has {}", kStepsMax,
                                          plan.steps.size())
                            : fmt::format("no step is called \"{}\"", unknown));
    }
    const bool has_steps = !plan.steps.empty();
    if (has_steps && runs.size() >= options.tasks_max) {
        co_return Error(
            ErrorCode::busy,
            fmt::format("{} tasks are not finished yet: wait, or cancel some", runs.size()));
    }
    last_created_ns = std::max(options.now_ns(), last_created_ns + 1);
    const int64_t created_ns = last_created_ns;
    const uint64_t random = options.random();
    const Uuid id = model::make_id(created_ns, random, options.random());
    Submitted submitted{has_steps ? std::optional(id) : std::nullopt, plan.target, answer, false};
    ++calls;
    Result<void> done;
    std::shared_ptr<Run> run;
    if (has_steps) {
        run = std::make_shared<Run>();
        run->id = id;
        run->created_ns = created_ns;
        if (plan.locks.empty()) plan.locks.push_back(plan.target);
        run->spec = {plan.verb,
                     plan.target,
                     std::move(plan.locks),
                     std::move(principal),
                     std::move(plan.steps),
                     plan.bypasses,
                     false,
                     plan.point_of_no_return};
        // From now on others wait for it, so that the order is that of the calls.
        runs.emplace(created_ns, run);
    }
    if (once) {
        OnceAnswer kept{submitted.task, submitted.target, std::move(answer)};
        done = co_await remember(*options.store, *std::move(once), std::move(kept), created_ns,
                                 plan.intent);
    }
    if (done.ok() && has_steps) done = co_await commit_task(run, std::move(plan.intent));
    else if (done.ok()) done = co_await commit_only(std::move(plan.intent));
    if (!done.ok() && has_steps) runs.erase(created_ns);
    --calls;
    ended.notify_all();
    if (has_steps) schedule();
    if (!done.ok()) co_return done.take_error();
    co_return submitted;
}

Async<> Engine::State::commit_only(state::Txn txn) {
    auto done = co_await records.commit(std::move(txn));
    note(done);
    if (!done.ok()) co_return done.take_error();
    co_return Result<void>();
}

Async<> Engine::State::commit_task(std::shared_ptr<Run> run, state::Txn txn) {
    const Uuid blocker = blocker_of(*run);
    if (!blocker.is_nil()) run->status.waits_for = blocker.to_string();
    model::Record<model::Task> record;
    record.id = run->id;
    record.name = name_of(run->spec.verb, run->id);
    record.created_ns = run->created_ns;
    record.spec = run->spec;
    record.status = run->status;
    records::create(txn, record);
    auto done = co_await records.commit(std::move(txn));
    note(done);
    if (!done.ok() && done.error().code() == ErrorCode::io) {
        // It may have been done: then it is a task like any other.
        const auto there =
            co_await options.store->get(model::spec_key(model::Task::kName, run->id));
        if (!there.ok() || !*there) co_return done.take_error();
    } else if (!done.ok()) {
        co_return done.take_error();
    }
    run->is_committed = true;
    static_cast<void>(fault(FaultPoint::Moment::submitted, 0));
    co_return Result<void>();
}

// ---- what is asked of tasks

std::shared_ptr<Run> Engine::State::find(const Uuid& task) const {
    for (const auto& [created_ns, run] : runs) {
        if (run->id == task) return run;
    }
    return nullptr;
}

namespace {

Error no_task(const Uuid& task) {
    return {ErrorCode::not_found, fmt::format("task {} does not exist", task.to_string())};
}

}  // namespace

Async<Json> Engine::wait(Uuid task) {
    State& state = *state_;
    while (state.find(task)) {
        if (state.closing) co_return closing_error();
        const auto cancelled = co_await asio::this_coro::cancellation_state;
        if (cancelled.cancelled() != asio::cancellation_type::none) {
            co_return Error(ErrorCode::cancelled, "who waited for the task was cancelled");
        }
        co_await state.ended.wait();
    }
    if (state.closing) co_return closing_error();
    const auto* record = state.records.get<model::Task>(task);
    if (record == nullptr) co_return no_task(task);
    const model::TaskStatus& status = record->status;
    if (status.state == model::TaskState::done) co_return status.result;
    if (status.ended_ns == 0) {
        co_return Error(ErrorCode::busy, fmt::format("task {} is not run yet: the engine has not "
                                                     "started",
                                                     task.to_string()));
    }
    co_return Error(code_of(status.error_code), status.error);
}

Async<> Engine::cancel(Uuid task) {
    State& state = *state_;
    if (state.closing) co_return closing_error();
    const std::shared_ptr<Run> run = state.find(task);
    const auto* record = state.records.get<model::Task>(task);
    if (record == nullptr) co_return no_task(task);
    const auto over = [&task](std::string_view why) {
        return Error(ErrorCode::in_use, fmt::format("task {} cannot be cancelled any more: {}",
                                                    task.to_string(), why));
    };
    if (!run) co_return over("it is over");
    if (run->spec.cancel_wanted || run->status.state == model::TaskState::undoing) {
        co_return Result<void>();
    }
    if (State::beyond_return(*run)) {
        co_return over(fmt::format("it is beyond its point of no return, step {}",
                                   *run->spec.point_of_no_return));
    }
    model::Record<model::Task> after = *record;
    after.spec.cancel_wanted = true;
    state::Txn txn;
    records::replace(txn, *record, after);
    ++state.calls;
    auto done = co_await state.records.commit(std::move(txn));
    --state.calls;
    state.ended.notify_all();
    state.note(done);
    if (!done.ok()) co_return done.take_error();
    if (!state.find(task)) co_return over("it ended meanwhile");
    run->spec.cancel_wanted = true;
    if (!run->is_spawned && !run->is_stuck) state.spawn(run);
    co_return Result<void>();
}

Progress Engine::progress(const Uuid& task) const {
    const auto run = state_->find(task);
    return run ? run->progress : Progress();
}

Signal& Engine::progressed() { return state_->progressed; }

size_t Engine::running() const {
    return static_cast<size_t>(std::ranges::count_if(
        state_->runs, [](const auto& each) { return each.second->is_spawned; }));
}

size_t Engine::unfinished() const { return state_->runs.size(); }

std::optional<std::string> Engine::read_only_reason() const {
    if (state_->full_reason.empty()) return std::nullopt;
    return state_->full_reason;
}

AsyncVoid Engine::close() {
    State& state = *state_;
    CHECK(!state.closing);
    state.closing = true;
    state.ended.notify_all();
    state.progressed.notify_all();
    co_await state.scope.close();
    while (state.calls > 0) co_await state.ended.wait();
    state.runs.clear();
    state.closed = true;
    state.ended.notify_all();
}

}  // namespace stoa::task
