#include "controlplane/http/server.h"

#include <list>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>

#include "base/check.h"
#include "base/utf8.h"
#include "controlplane/async/scope.h"
#include "controlplane/async/signal.h"
#include "controlplane/http/connection.h"
#include "controlplane/http/listener.h"
#include "controlplane/http/transport.h"

namespace stoa::http {

namespace {

using Unix = asio::local::stream_protocol;
using Tcp = asio::ip::tcp;

constexpr std::chrono::milliseconds kAcceptAgain{100};  // no descriptors left, for example

bool is_loopback(const asio::ip::address& address) {
    if (address.is_v6() && address.to_v6().is_v4_mapped()) {
        return asio::ip::make_address_v4(asio::ip::v4_mapped, address.to_v6()).is_loopback();
    }
    return address.is_loopback();
}

}  // namespace

struct Server::State {
    State(const asio::any_io_executor& with, Service& serves, ServerOptions wanted)
        : executor(with), service(serves), options(std::move(wanted)), scope(with), changed(with) {}

    [[nodiscard]] bool allows(const asio::ip::address& address) const {
        return is_loopback(address) || (options.remote_allowed && options.remote_allowed());
    }

    // A loop shares its listener with the server: it is replaced while the loop waits on it.
    AsyncVoid accept_unix(std::shared_ptr<Unix::acceptor> from);
    AsyncVoid accept_tcp(std::shared_ptr<Tcp::acceptor> from);
    AsyncVoid pause();
    AsyncVoid wait_for_room();
    AsyncVoid serve(Transport::Socket socket, Peer peer, std::shared_ptr<const TlsContext> with);
    void end_listener(auto& listener);

    asio::any_io_executor executor;
    Service& service;
    ServerOptions options;
    Scope scope;
    Signal changed;
    std::shared_ptr<Unix::acceptor> unix_listener;
    std::shared_ptr<Tcp::acceptor> tcp_listener;
    uint16_t tcp_port = 0;
    std::shared_ptr<const TlsContext> tls;
    std::list<Connection*> connections;
    size_t opened = 0;  // connections, and those that are about to be
    bool closed = false;
};

void Server::State::end_listener(auto& listener) {
    if (!listener) return;
    boost::system::error_code ignored;
    listener->close(ignored);
    listener.reset();
}

AsyncVoid Server::State::pause() {
    asio::steady_timer timer(executor, kAcceptAgain);
    co_await timer.async_wait(kAwait);
}

AsyncVoid Server::State::wait_for_room() {
    while (opened >= options.connections_max && !scope.closing()) co_await changed.wait();
}

AsyncVoid Server::State::accept_unix(std::shared_ptr<Unix::acceptor> from) {
    while (from->is_open()) {
        co_await wait_for_room();
        auto [error, socket] = co_await from->async_accept(kAwait);
        if (error) {
            if (from->is_open()) co_await pause();
            continue;
        }
        Result<Peer> peer = peer_of(socket);
        if (!peer.ok()) continue;
        ++opened;
        scope.spawn(serve(std::move(socket), *std::move(peer), nullptr));
    }
}

AsyncVoid Server::State::accept_tcp(std::shared_ptr<Tcp::acceptor> from) {
    while (from->is_open()) {
        co_await wait_for_room();
        auto [error, socket] = co_await from->async_accept(kAwait);
        if (error) {
            if (from->is_open()) co_await pause();
            continue;
        }
        boost::system::error_code gone;
        const Tcp::endpoint end = socket.remote_endpoint(gone);
        if (gone || !allows(end.address())) continue;
        socket.set_option(Tcp::no_delay(true), gone);
        ++opened;
        scope.spawn(serve(std::move(socket),
                          Peer{.groups = {}, .address = end.address().to_string()}, tls));
    }
}

AsyncVoid Server::State::serve(Transport::Socket socket, Peer peer,
                               std::shared_ptr<const TlsContext> with) {
    Transport transport(std::move(socket), std::move(with));
    Connection connection(transport, std::move(peer), service, options);
    const auto place = connections.insert(connections.end(), &connection);
    if (scope.closing()) connection.finish();
    co_await connection.run();
    connections.erase(place);
    --opened;
    changed.notify_all();
}

Server::Server(std::unique_ptr<State> state) : state_(std::move(state)) {}
Server::~Server() { CHECK(state_->closed); }

std::unique_ptr<Server> Server::create(asio::any_io_executor executor, Service& service,
                                       ServerOptions options) {
    auto state = std::make_unique<State>(executor, service, std::move(options));
    return std::unique_ptr<Server>(new Server(std::move(state)));
}

Result<void> Server::listen_unix(const std::string& path, const std::string& group) {
    TRY_ASSIGN(Unix::acceptor acceptor, listen_at(state_->executor, path, group));
    state_->end_listener(state_->unix_listener);
    state_->unix_listener = std::make_shared<Unix::acceptor>(std::move(acceptor));
    state_->scope.spawn(state_->accept_unix(state_->unix_listener));
    return {};
}

Result<uint16_t> Server::listen_tcp(const std::string& address, uint16_t port,
                                    std::shared_ptr<const TlsContext> tls) {
    CHECK(tls != nullptr);
    boost::system::error_code error;
    const asio::ip::address parsed = asio::ip::make_address(address, error);
    if (error) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("\"{}\" is not an IP address", to_plain_text(address)));
    }
    if (!state_->allows(parsed)) {
        return Error(ErrorCode::denied,
                     fmt::format("{} can be reached from other machines: make an administrator "
                                 "with a password first, by the local socket",
                                 address));
    }
    TRY_ASSIGN(Tcp::acceptor acceptor, listen_at(state_->executor, parsed, port));
    const Tcp::endpoint here = acceptor.local_endpoint(error);
    if (error) return failed(fmt::format("TCP port {}", port), error);
    state_->end_listener(state_->tcp_listener);
    state_->tls = std::move(tls);
    state_->tcp_listener = std::make_shared<Tcp::acceptor>(std::move(acceptor));
    state_->tcp_port = here.port();
    state_->scope.spawn(state_->accept_tcp(state_->tcp_listener));
    return here.port();
}

void Server::set_tls(std::shared_ptr<const TlsContext> tls) { state_->tls = std::move(tls); }
uint16_t Server::tcp_port() const { return state_->tcp_port; }
size_t Server::connections() const { return state_->connections.size(); }

AsyncVoid Server::close() {
    State& state = *state_;
    state.end_listener(state.unix_listener);
    state.end_listener(state.tcp_listener);
    for (Connection* connection : state.connections) connection->finish();
    asio::steady_timer timer(state.executor);
    auto left = state.options.close_limit;
    constexpr std::chrono::milliseconds kLook{5};
    while (!state.connections.empty() && left.count() > 0) {
        timer.expires_after(kLook);
        co_await timer.async_wait(kAwait);
        left -= kLook;
    }
    co_await state.scope.close();
    state.closed = true;
}

}  // namespace stoa::http
