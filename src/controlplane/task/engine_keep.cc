// What the engine does beside tasks: retention, slow signals, full file systems (engine_state.h).
#include <algorithm>

#include <fmt/format.h>

#include "controlplane/task/engine_state.h"

namespace stoa::task {

namespace {

constexpr std::chrono::hours kExpireEvery{1};
constexpr std::chrono::milliseconds kProgressEvery{100};
// Records that go in one transaction, each with three keys.
constexpr size_t kEraseMax = 40;

}  // namespace

AsyncVoid Engine::State::expire_hourly() {
    asio::steady_timer timer(executor);
    while (!closing) {
        co_await expire_tasks();
        // What cannot be erased now, is the next time.
        if (!closing) static_cast<void>(co_await expire_keys(*options.store, options.now_ns()));
        if (closing) break;
        timer.expires_after(kExpireEvery);
        co_await timer.async_wait(kAwait);
    }
}

AsyncVoid Engine::State::expire_tasks() {
    if (is_expiring) co_return;
    is_expiring = true;
    while (!closing) {
        const int64_t oldest_ns = options.now_ns() - options.keep_ns;
        const auto& all = records.all<model::Task>();
        const size_t unfinished = runs.size();
        const size_t kept = all.size() > unfinished ? all.size() - unfinished : 0;
        const size_t surplus = kept > options.keep_max ? kept - options.keep_max : 0;
        state::Txn txn;
        size_t seen = 0;
        // In the order of their making, as their ids are.
        for (const auto& [id, record] : all) {
            if (record.status.ended_ns == 0) continue;
            ++seen;
            if (seen > surplus && record.status.ended_ns >= oldest_ns) continue;
            records::erase(txn, record);
            if (txn.compares.size() >= kEraseMax) break;
        }
        if (txn.deletes.empty()) break;
        const auto done = co_await records.commit(std::move(txn));
        if (!done.ok()) break;
    }
    is_expiring = false;
}

AsyncVoid Engine::State::show_progress() {
    asio::steady_timer timer(executor);
    while (!closing) {
        co_await stirred.wait();
        progressed.notify_all();
        timer.expires_after(kProgressEvery);
        co_await timer.async_wait(kAwait);
        progressed.notify_all();
    }
}

void Engine::State::note(const Result<state::Revision>& done) {
    if (done.ok()) {
        if (!full_reason.empty() && options.journal != nullptr) {
            options.journal->event("", "changes are possible again");
        }
        full_reason.clear();
        return;
    }
    const bool is_full = done.error().code() == ErrorCode::no_space;
    if (!is_full && done.error().code() != ErrorCode::read_only) return;
    const bool is_news = full_reason.empty();
    full_reason = fmt::format(
        "{}: no change is possible until there is space again; what runs "
        "goes on running ({})",
        is_full ? "the file system of the state is full"
                : "the file system of the state is read-only",
        done.error().message());
    if (is_news && options.journal != nullptr) options.journal->event("", full_reason);
    if (!is_probing && !closing) scope.spawn(probe());
}

// Nobody may want to change anything for long; what is said then must still be true.
AsyncVoid Engine::State::probe() {
    is_probing = true;
    asio::steady_timer timer(executor);
    while (!closing && !full_reason.empty()) {
        timer.expires_after(options.pause_full);
        co_await timer.async_wait(kAwait);
        if (closing) break;
        state::Txn txn;
        txn.puts.push_back({"/engine/probe", fmt::format("{}", options.now_ns())});
        note(co_await records.commit(std::move(txn)));
    }
    is_probing = false;
}

}  // namespace stoa::task
