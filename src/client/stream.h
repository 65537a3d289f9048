// The bytes under HTTP: a Unix socket, or TLS over TCP, as one type, so that Beast's templates are
// compiled once. Only for client.cc and websocket.cc.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

#include <boost/asio/any_io_executor.hpp>
#include <boost/asio/bind_cancellation_slot.hpp>
#include <boost/asio/cancellation_signal.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/beast/core/role.hpp>
#include <csignal>
#include <exception>

#include "client/client.h"
#include "controlplane/async/async.h"
#include "controlplane/async/deadline.h"

namespace stoa::client {

namespace ssl = boost::asio::ssl;
using Tls = ssl::stream<asio::ip::tcp::socket>;
using Local = asio::local::stream_protocol::socket;

class Stream {
public:
    using executor_type = asio::any_io_executor;

    explicit Stream(std::unique_ptr<Local> local) : local_(std::move(local)) {}
    explicit Stream(std::unique_ptr<Tls> tls) : tls_(std::move(tls)) {}

    executor_type get_executor() { return tls_ ? tls_->get_executor() : local_->get_executor(); }

    template <class Buffers, class Token>
    auto async_read_some(const Buffers& buffers, Token&& token) {
        if (tls_) return tls_->async_read_some(buffers, std::forward<Token>(token));
        return local_->async_read_some(buffers, std::forward<Token>(token));
    }
    template <class Buffers, class Token>
    auto async_write_some(const Buffers& buffers, Token&& token) {
        if (tls_) return tls_->async_write_some(buffers, std::forward<Token>(token));
        return local_->async_write_some(buffers, std::forward<Token>(token));
    }
    void close() {
        boost::system::error_code ignored;
        if (tls_) tls_->lowest_layer().close(ignored);
        else local_->close(ignored);
    }

    // For Beast's time limits.
    friend void beast_close_socket(Stream& stream) { stream.close(); }

private:
    std::unique_ptr<Local> local_;
    std::unique_ptr<Tls> tls_;
};

// What Beast does when a WebSocket is over. The connection is not used any more.
inline void teardown(boost::beast::role_type /*role*/, Stream& stream,
                     boost::system::error_code& error) {
    stream.close();
    error = {};
}
template <class Handler>
void async_teardown(boost::beast::role_type /*role*/, Stream& stream, Handler&& handler) {
    stream.close();
    asio::post(stream.get_executor(),
               [handler = std::forward<Handler>(handler)]() mutable { handler({}); });
}

// Runs coroutines to their end, one at a time, unless a signal ends them.
class Loop {
public:
    asio::io_context& context() { return context_; }
    [[nodiscard]] bool was_interrupted() const { return interrupted_; }

    template <class T>
    Result<T> run(Async<T> task) {
        interrupted_ = false;
        asio::signal_set signals(context_, SIGINT, SIGTERM);
        asio::cancellation_signal cancel;
        std::optional<Result<T>> result;
        bool is_over = false;
        bool is_quiet = false;
        signals.async_wait([&](const boost::system::error_code& error, int /*number*/) {
            is_quiet = true;
            if (error) return;
            interrupted_ = true;
            cancel.emit(asio::cancellation_type::all);
        });
        asio::co_spawn(
            context_, detail::keep_result(std::move(task), result),
            asio::bind_cancellation_slot(cancel.slot(), [&](const std::exception_ptr& e) {
                if (e) std::rethrow_exception(e);
                is_over = true;
                signals.cancel();
            }));
        context_.restart();
        // Not until the loop is empty: a WebSocket has a timer as long as it lives.
        while (!is_over || !is_quiet) context_.run_one();
        if (interrupted_ && !result->ok()) return Error(ErrorCode::cancelled, "interrupted");
        return *std::move(result);
    }

private:
    asio::io_context context_{1};
    bool interrupted_ = false;
};

// Of client.cc, for websocket.cc.
Async<std::unique_ptr<Stream>> connect(const Endpoint& endpoint);

}  // namespace stoa::client
