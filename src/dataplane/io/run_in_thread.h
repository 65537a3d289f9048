// Work that blocks, in a thread of its own, while the reactor goes on.
#pragma once

#include <coroutine>
#include <optional>
#include <thread>
#include <utility>

#include "dataplane/io/reactor.h"

namespace stoa::io {

// Runs `work` (a callable without arguments) and gives its result. The thread has ended by then.
template <class Work>
auto run_in_thread(Reactor& reactor, Work work) -> Task<decltype(work())> {
    struct Awaiter final : Continuation {
        Awaiter(Reactor& owner, Work& to_do) : reactor(owner), todo(to_do) {}
        Reactor& reactor;
        Work& todo;
        std::optional<decltype(std::declval<Work&>()())> result;
        std::coroutine_handle<> handle;
        std::jthread thread;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> suspended) {
            handle = suspended;
            thread = std::jthread([this] {
                result.emplace(todo());
                reactor.post_from_other_thread(*this);
            });
        }
        void await_resume() { thread.join(); }
        void resume() override { handle.resume(); }
    };
    Awaiter awaiter(reactor, work);
    co_await awaiter;
    co_return *std::move(awaiter.result);
}

}  // namespace stoa::io
