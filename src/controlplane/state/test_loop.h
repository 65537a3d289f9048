// Coroutines in tests that are none. Test-only.
#pragma once

#include <exception>
#include <optional>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>

#include "controlplane/async/async.h"

namespace stoa::state {

// Runs one coroutine on the loop until it is over; what else waits there goes on waiting.
inline void run_on(asio::io_context& loop, AsyncVoid task) {
    bool over = false;
    asio::co_spawn(loop, std::move(task), [&over](const std::exception_ptr& left) {
        if (left) std::rethrow_exception(left);
        over = true;
    });
    loop.restart();
    while (!over) loop.run_one();
}

template <class T>
AsyncVoid keep(asio::awaitable<T> task, std::optional<T>& result) {
    co_await asio::this_coro::throw_if_cancelled(false);
    result.emplace(co_await std::move(task));
}
template <class T>
T run_on(asio::io_context& loop, asio::awaitable<T> task) {
    std::optional<T> result;
    run_on(loop, keep(std::move(task), result));
    return *std::move(result);
}

}  // namespace stoa::state
