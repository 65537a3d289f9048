#include "controlplane/http/proxy.h"

#include <array>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>

#include "controlplane/async/scope.h"
#include "controlplane/async/signal.h"

namespace stoa::http {

namespace {

using Unix = asio::local::stream_protocol;
constexpr size_t kPieceBytes = 16u << 10;

struct Pipe {
    Pipe(Socket& client_side, const asio::any_io_executor& executor)
        : client(client_side), host(executor), changed(executor) {}
    Socket& client;
    Unix::socket host;
    Signal changed;
    bool over = false;

    void end() {
        over = true;
        changed.notify_all();
    }
};

AsyncVoid to_client(Pipe& pipe) {
    std::array<char, kPieceBytes> piece{};
    for (;;) {
        const auto [error, count] = co_await pipe.host.async_read_some(asio::buffer(piece), kAwait);
        if (error) break;
        const Result<void> sent =
            co_await pipe.client.send({.data = std::string(piece.data(), count)});
        if (!sent.ok()) break;
    }
    pipe.end();
}

AsyncVoid to_host(Pipe& pipe) {
    for (;;) {
        const Result<Message> message = co_await pipe.client.receive();
        if (!message.ok()) break;
        const auto [error, count] =
            co_await asio::async_write(pipe.host, asio::buffer(message->data), kAwait);
        if (error) break;
    }
    pipe.end();
}

}  // namespace

Async<> proxy(Socket& client, std::string path) {
    const auto executor = co_await asio::this_coro::executor;
    Pipe pipe(client, executor);
    const auto [error] = co_await pipe.host.async_connect(Unix::endpoint(path), kAwait);
    if (error == asio::error::connection_refused ||
        error == boost::system::errc::no_such_file_or_directory) {
        co_return Error(ErrorCode::not_found, "nothing listens there: the guest does not run");
    }
    if (error) co_return failed("the socket of the guest", error);
    Scope scope(executor);
    scope.spawn(to_client(pipe));
    scope.spawn(to_host(pipe));
    while (!pipe.over) {
        co_await pipe.changed.wait();
        const auto state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) break;
    }
    co_await scope.close();
    co_return Result<void>();
}

}  // namespace stoa::http
