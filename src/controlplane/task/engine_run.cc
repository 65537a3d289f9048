// One task from its turn to its end (engine_state.h).
#include <algorithm>

#include <fmt/format.h>

#include "base/check.h"
#include "base/utf8.h"
#include "controlplane/task/engine_state.h"

namespace stoa::task {

namespace {

using Moment = FaultPoint::Moment;
using model::TaskState;

class Context final : public StepContext {
public:
    Context(Run& run, uint32_t index, const bool& closing, Signal& stirred)
        : run_(run), index_(index), closing_(closing), stirred_(stirred) {}

    [[nodiscard]] const Uuid& task() const override { return run_.id; }
    [[nodiscard]] const model::Step& step() const override { return run_.spec.steps[index_]; }
    [[nodiscard]] Json& result() override { return run_.result; }
    void progress(uint64_t done, uint64_t total, std::string_view text) override {
        run_.progress = {done, total, std::string(text)};
        stirred_.notify_all();
    }
    [[nodiscard]] bool cancel_wanted() const override {
        return closing_ || (run_.spec.cancel_wanted && run_.status.state == TaskState::running);
    }

private:
    Run& run_;
    uint32_t index_;
    const bool& closing_;
    Signal& stirred_;
};

std::string text_of(const Error& error) {
    return std::string(utf8_prefix(to_utf8(error.message()), kErrorBytesMax));
}

}  // namespace

bool Engine::State::beyond_return(const Run& run) {
    return run.spec.point_of_no_return && run.status.position >= *run.spec.point_of_no_return;
}

Result<void> Engine::State::fault(Moment moment, uint32_t step) const {
    return options.fault ? options.fault({moment, step}) : Result<void>();
}

void Engine::State::tell(const Run& run, std::string text, JsonObject data) const {
    if (options.journal == nullptr) return;
    data["task"] = run.id.to_string();
    data["verb"] = run.spec.verb;
    journal::Entry entry;
    entry.kind = journal::Kind::task;
    entry.subject = run.spec.target;
    entry.text = std::move(text);
    entry.principal = run.spec.principal;
    entry.data = std::move(data);
    options.journal->add(std::move(entry));
}

AsyncVoid Engine::State::drive(std::shared_ptr<Run> run) {
    if (run->status.result.is_object()) run->result = run->status.result;
    if (run->status.state == TaskState::waiting) {
        run->status.state = TaskState::running;
        run->status.waits_for.clear();
        run->status.started_ns = options.now_ns();
        tell(*run, fmt::format("{} began", run->spec.verb));
        // Not waited for: a task that waits is begun in the same way as one that runs.
        scope.spawn(show_status(run));
    } else {
        tell(*run, fmt::format("{} goes on at step {} of {}", run->spec.verb,
                               run->status.position + 1, run->spec.steps.size()));
    }
    if (run->status.state == TaskState::running) co_await forward(*run);
    if (run->status.state == TaskState::undoing && !closing) co_await backward(*run);
    if (!closing) co_await end(*run);
}

// ---- doing

AsyncVoid Engine::State::forward(Run& run) {
    std::chrono::milliseconds next = options.pause_first;
    while (!closing && run.status.position < run.spec.steps.size()) {
        const uint32_t index = run.status.position;
        if (run.spec.cancel_wanted && !beyond_return(run)) {
            begin_undo(run,
                       Error(ErrorCode::cancelled, fmt::format("cancelled before step {} of {}",
                                                               index + 1, run.spec.steps.size())));
            co_await record(run);
            co_return;
        }
        Result<void> done = co_await do_step(run);
        if (done.ok()) {
            ++run.status.position;
            run.step_began = false;
            run.status.result = run.result;
            run.status.error.clear();
            run.status.error_code.clear();
            next = options.pause_first;
            // The last border is recorded together with the end.
            if (run.status.position == run.spec.steps.size()) break;
            if (!co_await record(run)) co_return;
            static_cast<void>(fault(Moment::after_record, index));
            continue;
        }
        if (closing) co_return;
        run.result = run.status.result.is_object() ? run.status.result : Json(JsonObject());
        const std::string text = text_of(done.error());
        const bool is_news = run.status.error != text;
        if (is_news) {
            tell(run,
                 fmt::format("{}: step {} ({}) failed: {}", run.spec.verb, index + 1,
                             run.spec.steps[index].text, text),
                 {{"step", index + 1}, {"error", text}});
        }
        if (!beyond_return(run)) {
            begin_undo(run, done.error());
            co_await record(run);
            co_return;
        }
        run.status.error = text;
        run.status.error_code = to_string(done.error().code());
        if (is_news && !co_await record(run)) co_return;
        run.progress.text = fmt::format("tried again in {:g} s: {}",
                                        std::chrono::duration<double>(next).count(), text);
        stirred.notify_all();
        if (!co_await pause(next)) co_return;
    }
    if (!closing) run.status.state = TaskState::done;
}

Async<> Engine::State::do_step(Run& run) {
    const uint32_t index = run.status.position;
    const model::Step& step = run.spec.steps[index];
    StepType& type = *types.find(step.type)->second;
    run.progress = {0, 0, step.text};
    stirred.notify_all();
    CO_TRY(fault(Moment::before_step, index));
    Context context(run, index, closing, stirred);
    run.step_began = true;
    CO_TRY_ASSIGN(const bool is_done, co_await type.is_done(context));
    if (!is_done) CO_TRY(co_await type.run(context));
    CO_TRY(fault(Moment::after_effect, index));
    if (!run.result.is_object()) run.result = JsonObject();
    const size_t bytes = to_text(run.result).size();
    if (bytes > kResultBytesMax) {
        co_return Error(ErrorCode::out_of_range,
                        fmt::format("the result of step {} has {} bytes, at most {} are kept",
                                    index + 1, bytes, kResultBytesMax));
    }
    co_return Result<void>();
}

// ---- undoing

void Engine::State::begin_undo(Run& run, const Error& why) {
    const auto count = static_cast<uint32_t>(run.spec.steps.size());
    run.status.state = TaskState::undoing;
    run.status.position = run.step_began ? std::min(run.status.position + 1, count)
                                         : std::max(run.status.position, intent_steps(run.spec));
    run.status.error = text_of(why);
    run.status.error_code = to_string(why.code());
}

AsyncVoid Engine::State::backward(Run& run) {
    std::chrono::milliseconds next = options.pause_first;
    std::string told;
    while (!closing && run.status.position > 0) {
        const uint32_t index = run.status.position - 1;
        const Result<void> done = co_await undo_step(run, index);
        if (done.ok()) {
            run.status.position = index;
            next = options.pause_first;
            if (index == 0) break;
            if (!co_await record(run)) co_return;
            static_cast<void>(fault(Moment::after_undone, index));
            continue;
        }
        if (closing) co_return;
        const std::string text = text_of(done.error());
        if (told != text) {
            told = text;
            tell(run,
                 fmt::format("{}: step {} ({}) cannot be undone: {}", run.spec.verb, index + 1,
                             run.spec.steps[index].text, text),
                 {{"step", index + 1}, {"error", text}});
        }
        run.progress.text = fmt::format("undone again in {:g} s: {}",
                                        std::chrono::duration<double>(next).count(), text);
        stirred.notify_all();
        if (!co_await pause(next)) co_return;
    }
    if (closing) co_return;
    const bool was_cancelled =
        run.spec.cancel_wanted && run.status.error_code == to_string(ErrorCode::cancelled);
    run.status.state = was_cancelled ? TaskState::cancelled : TaskState::failed;
}

Async<> Engine::State::undo_step(Run& run, uint32_t index) {
    const model::Step& step = run.spec.steps[index];
    StepType& type = *types.find(step.type)->second;
    run.progress = {0, 0, fmt::format("undoes: {}", step.text)};
    stirred.notify_all();
    CO_TRY(fault(Moment::before_undo, index));
    Context context(run, index, closing, stirred);
    CO_TRY(co_await type.undo(context));
    co_return fault(Moment::after_undo, index);
}

// ---- recording

AsyncVoid Engine::State::end(Run& run) {
    run.status.ended_ns = options.now_ns();
    run.status.waits_for.clear();
    if (!co_await record(run)) co_return;
    const std::string_view word =
        enum_names(run.status.state).at(static_cast<size_t>(run.status.state));
    const std::string& error = run.status.error;
    tell(run, fmt::format("{} {}{}{}", run.spec.verb, word, error.empty() ? "" : ": ", error),
         {{"state", word}});
    // Kept by the coroutine that runs this.
    runs.erase(run.created_ns);
    ended.notify_all();
    stirred.notify_all();
    schedule();
    static_cast<void>(fault(Moment::after_end, 0));
    constexpr size_t kSlice = 20;
    if (records.all<model::Task>().size() > options.keep_max + options.keep_max / kSlice) {
        scope.spawn(expire_tasks());
    }
}

asio::awaitable<bool> Engine::State::record(Run& run) {
    for (;;) {
        state::Txn txn;
        records::put_status<model::Task>(txn, run.id, run.status);
        auto done = co_await records.commit(std::move(txn));
        note(done);
        if (done.ok()) co_return true;
        if (closing) co_return false;
        run.progress.text =
            fmt::format("waits until it can be recorded: {}", done.error().message());
        stirred.notify_all();
        std::chrono::milliseconds same = options.pause_full;
        if (!co_await pause(same)) co_return false;
    }
}

asio::awaitable<bool> Engine::State::pause(std::chrono::milliseconds& next) {
    asio::steady_timer timer(executor, next);
    next = std::min(next * 2, options.pause_max);
    co_await timer.async_wait(kAwait);
    co_return !closing;
}

}  // namespace stoa::task
