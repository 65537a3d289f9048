// Signal: wakes all who wait for a change; each then looks whether it is the one he waits for.
#pragma once

#include <chrono>

#include <boost/asio/steady_timer.hpp>

#include "controlplane/async/async.h"

namespace stoa {

// One thread. Outlives who waits.
class Signal {
public:
    explicit Signal(const asio::any_io_executor& executor)
        : timer_(executor, asio::steady_timer::time_point::max()) {}

    void notify_all() { timer_.cancel(); }
    // Until the next notify_all() or the cancellation of the coroutine.
    AsyncVoid wait() { co_await timer_.async_wait(kAwait); }

private:
    asio::steady_timer timer_;
};

}  // namespace stoa
