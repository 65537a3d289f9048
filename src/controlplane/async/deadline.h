// A limit in time for anything that can be awaited.
#pragma once

#include <chrono>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include "controlplane/async/async.h"

namespace stoa {

// As long as a coroutine that is to end has not: so often it is told again, because one that waits
// for nothing that can be cancelled does not notice.
inline constexpr std::chrono::milliseconds kCancelAgain{20};

namespace detail {

template <class T>
AsyncVoid keep_result(Async<T> task, std::optional<Result<T>>& result) {
    co_await asio::this_coro::throw_if_cancelled(false);
    result = co_await std::move(task);
}

}  // namespace detail

// The result of `task`; after `limit` it is cancelled, and when it is over the result is `timeout`:
// "WHAT: no answer within 5 s". What `task` awaits must be cancellable.
template <class T>
Async<T> within(std::chrono::milliseconds limit, std::string what, Async<T> task) {
    const auto executor = co_await asio::this_coro::executor;
    asio::steady_timer timer(executor, limit);
    asio::cancellation_signal cancel;
    std::optional<Result<T>> result;
    bool over = false;
    asio::co_spawn(executor, detail::keep_result(std::move(task), result),
                   asio::bind_cancellation_slot(cancel.slot(), [&](const std::exception_ptr& left) {
                       if (left) std::rethrow_exception(left);
                       over = true;
                       timer.cancel();
                   }));
    bool is_late = false;
    while (!over) {
        const auto [cancelled] = co_await timer.async_wait(kAwait);
        if (over) break;
        if (!cancelled) is_late = true;  // else the caller was cancelled, and so is the task
        cancel.emit(asio::cancellation_type::all);
        timer.expires_after(kCancelAgain);
    }
    if (is_late && !result->ok()) {
        co_return Error(ErrorCode::timeout,
                        fmt::format("{}: no answer within {:g} s", what,
                                    std::chrono::duration<double>(limit).count()));
    }
    co_return *std::move(result);
}

}  // namespace stoa
