// Worker: one thread for calls that block, such as those of SQLite and of file systems.
#pragma once

#include <optional>
#include <type_traits>
#include <utility>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>

#include "controlplane/async/async.h"

namespace stoa {

namespace detail {

// A cancellation would be handed to the worker's thread, which may be through by then.
inline auto uncancelled() {
    return asio::bind_cancellation_slot(asio::cancellation_slot(), asio::use_awaitable);
}

}  // namespace detail

// Calls run one after the other, in the order in which they were awaited. The destructor waits for
// the one that runs; who awaits one then must not exist any more.
class Worker {
public:
    Worker() : pool_(1) {}
    Worker(const Worker&) = delete;
    Worker& operator=(const Worker&) = delete;
    ~Worker() { pool_.join(); }

    // The result of `call()`, made on the worker's thread; the caller goes on on its own. It cannot
    // be cancelled.
    template <class Call>
    auto run(Call call) -> asio::awaitable<decltype(call())> {
        if constexpr (std::is_void_v<decltype(call())>) {
            co_await asio::co_spawn(pool_.get_executor(), on_thread(call), detail::uncancelled());
        } else {
            std::optional<decltype(call())> result;
            co_await asio::co_spawn(pool_.get_executor(), keep(call, result),
                                    detail::uncancelled());
            co_return *std::move(result);
        }
    }

private:
    template <class Call>
    static AsyncVoid on_thread(Call& call) {
        call();
        co_return;
    }
    template <class Call, class T>
    static AsyncVoid keep(Call& call, std::optional<T>& result) {
        result.emplace(call());
        co_return;
    }

    asio::thread_pool pool_;
};

}  // namespace stoa
