#include "controlplane/async/scope.h"

#include <exception>

#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include "base/check.h"
#include "controlplane/async/deadline.h"

namespace stoa {

Scope::~Scope() { CHECK(running_.empty()); }

AsyncVoid Scope::run(AsyncVoid task) {
    co_await asio::this_coro::throw_if_cancelled(false);
    co_await std::move(task);
}

void Scope::spawn(AsyncVoid task) {
    if (closing_) return;
    const auto place = running_.emplace(running_.end());
    asio::co_spawn(
        executor_, run(std::move(task)),
        asio::bind_cancellation_slot(place->slot(), [this, place](const std::exception_ptr& left) {
            if (left) std::rethrow_exception(left);
            running_.erase(place);
            changed_.notify_all();
        }));
}

AsyncVoid Scope::close() {
    closing_ = true;
    asio::steady_timer timer(executor_);
    while (!running_.empty()) {
        for (auto at = running_.begin(); at != running_.end();) {
            (at++)->emit(asio::cancellation_type::all);
        }
        if (running_.empty()) break;
        timer.expires_after(kCancelAgain);
        co_await timer.async_wait(kAwait);
    }
}

AsyncVoid Scope::join() {
    while (!running_.empty()) co_await changed_.wait();
}

}  // namespace stoa
