// Scope: coroutines that run beside their owner, and are all over when it closes.
#pragma once

#include <cstddef>
#include <functional>
#include <list>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/cancellation_signal.hpp>

#include "controlplane/async/async.h"
#include "controlplane/async/signal.h"

namespace stoa {

// Does not move. One thread.
class Scope {
public:
    explicit Scope(asio::any_io_executor executor)
        : executor_(std::move(executor)), changed_(executor_) {}
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope();  // CHECKs that nothing runs.

    // Starts it at the next turn of the loop. After close() began: never started.
    // An exception in it is a defect of the program and aborts.
    void spawn(AsyncVoid task);

    // Cancels what runs (what it awaits ends with `cancelled`) and waits until all is over. What
    // is spawned meanwhile is not started.
    AsyncVoid close();
    // Waits without cancelling.
    AsyncVoid join();

    [[nodiscard]] size_t running() const { return running_.size(); }
    [[nodiscard]] bool closing() const { return closing_; }

private:
    static AsyncVoid run(AsyncVoid task);

    asio::any_io_executor executor_;
    std::list<asio::cancellation_signal> running_;
    Signal changed_;
    bool closing_ = false;
};

}  // namespace stoa
