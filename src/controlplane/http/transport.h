// Transport: the bytes of one client, plain from a Unix socket or through TLS, with a deadline.
//
// Beast's algorithms run on TransportRef, a stream as Asio and Beast want one (AsyncStream).
// Included by connection.cc, web_socket.cc and server.cc alone.
#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <utility>

#include <boost/asio/async_result.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/role.hpp>

#include "controlplane/async/async.h"
#include "controlplane/http/tls.h"

namespace stoa::http {

struct TlsContext::State {
    State() : context(asio::ssl::context::tls_server) {}
    asio::ssl::context context;
};

// Does not move.
class Transport {
public:
    using Socket = asio::generic::stream_protocol::socket;

    // `tls` null: plain.
    Transport(Socket socket, std::shared_ptr<const TlsContext> tls)
        : context_(std::move(tls)), socket_(std::move(socket)), timer_(socket_.get_executor()) {
        if (context_) tls_.emplace(socket_, context_->state().context);
    }

    Async<> handshake() {
        if (!tls_) co_return Result<void>();
        const auto [error] = co_await tls_->async_handshake(asio::ssl::stream_base::server, kAwait);
        if (error) co_return failed("TLS handshake", error);
        co_return Result<void>();
    }

    // When it passes, the connection is closed: what waits for it ends. The last call counts.
    void set_deadline(std::chrono::milliseconds limit) {
        timer_.expires_after(limit);
        timer_.async_wait(
            [this, alive = std::weak_ptr(alive_)](const boost::system::error_code& cancelled) {
                if (cancelled || alive.expired()) return;
                if (timer_.expiry() > asio::steady_timer::clock_type::now()) return;  // set anew
                close();
            });
    }
    void clear_deadline() { timer_.expires_at(asio::steady_timer::time_point::max()); }

    void shutdown_send() {
        boost::system::error_code ignored;
        socket_.shutdown(Socket::shutdown_send, ignored);
    }
    void close() {
        boost::system::error_code ignored;
        socket_.close(ignored);
    }

    Socket& lowest() { return socket_; }
    std::optional<asio::ssl::stream<Socket&>>& tls() { return tls_; }

private:
    std::shared_ptr<const TlsContext> context_;
    Socket socket_;
    std::optional<asio::ssl::stream<Socket&>> tls_;
    asio::steady_timer timer_;
    std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // shared with the timer's handler
};

// Borrows a Transport that outlives it.
class TransportRef {
public:
    using executor_type = asio::any_io_executor;  // NOLINT(readability-identifier-naming)

    explicit TransportRef(Transport& transport) : transport_(&transport) {}

    executor_type get_executor() { return transport_->lowest().get_executor(); }

    template <class Buffers, class Token>
    auto async_read_some(const Buffers& buffers, Token&& token) {
        return asio::async_initiate<Token, void(boost::system::error_code, size_t)>(
            [](auto handler, Transport* transport, const Buffers& into) {
                if (transport->tls()) {
                    transport->tls()->async_read_some(into, std::move(handler));
                } else {
                    transport->lowest().async_read_some(into, std::move(handler));
                }
            },
            token, transport_, buffers);
    }
    template <class Buffers, class Token>
    auto async_write_some(const Buffers& buffers, Token&& token) {
        return asio::async_initiate<Token, void(boost::system::error_code, size_t)>(
            [](auto handler, Transport* transport, const Buffers& from) {
                if (transport->tls()) {
                    transport->tls()->async_write_some(from, std::move(handler));
                } else {
                    transport->lowest().async_write_some(from, std::move(handler));
                }
            },
            token, transport_, buffers);
    }

    [[nodiscard]] Transport& transport() const { return *transport_; }

private:
    Transport* transport_;
};

// What Beast's WebSocket calls, found by argument-dependent look-up.
inline void beast_close_socket(TransportRef& stream) { stream.transport().close(); }
inline void teardown(boost::beast::role_type /*role*/, TransportRef& stream,
                     boost::system::error_code& error) {
    stream.transport().shutdown_send();
    error = {};
}
template <class Handler>
void async_teardown(boost::beast::role_type /*role*/, TransportRef& stream, Handler&& handler) {
    stream.transport().shutdown_send();
    asio::post(stream.get_executor(), [done = std::forward<Handler>(handler)]() mutable {
        done(boost::system::error_code{});
    });
}

}  // namespace stoa::http
