#include "client/websocket.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <utility>

#include <boost/asio/experimental/awaitable_operators.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket.hpp>

#include "client/state.h"

namespace stoa::client {

namespace websocket = boost::beast::websocket;
using std::chrono::milliseconds;

namespace {

constexpr std::chrono::seconds kIdleLimit{60};  // half of it: a ping
constexpr milliseconds kQuiet{1'000};
constexpr size_t kMessageBytesMax = size_t{16} << 20;
constexpr uint16_t kGoneCode = 4410;

using Socket = websocket::stream<Stream>;

class BeastSocket final : public WebSocket {
public:
    BeastSocket(Client::State& state, std::unique_ptr<Stream> stream)
        : state_(state), socket_(std::move(*stream)) {
        websocket::stream_base::timeout limits{};
        limits.handshake_timeout = std::chrono::seconds(30);
        limits.idle_timeout = kIdleLimit;
        limits.keep_alive_pings = true;
        socket_.set_option(limits);
        socket_.read_message_max(kMessageBytesMax);
        socket_.binary(true);
    }

    Async<> shake_hands(std::string target) {
        const Endpoint& endpoint = state_.endpoint;
        const std::string token = endpoint.token;
        socket_.set_option(websocket::stream_base::decorator([token](websocket::request_type& r) {
            r.set(boost::beast::http::field::user_agent, "stoa");
            if (!token.empty()) r.set(boost::beast::http::field::authorization, "Bearer " + token);
        }));
        websocket::response_type response;
        const std::string host = endpoint.socket.empty() ? endpoint.host : "localhost";
        const auto [error] = co_await socket_.async_handshake(response, host, target, kAwait);
        if (!error) co_return Result<void>();
        if (error == websocket::error::upgrade_declined) {
            state_.failure = Failure::refused;
            state_.problem = parse_problem(response.result_int(), response.body());
            co_return state_.problem->to_error();
        }
        if (error != asio::error::operation_aborted) state_.failure = Failure::hung_up;
        co_return failed(endpoint.to_string(), error);
    }

    Result<std::string> receive(milliseconds limit) override {
        auto message = state_.loop.run(within(limit, "events", next()));
        if (!message.ok() && state_.loop.was_interrupted()) {
            state_.failure = Failure::interrupted;
        }
        return message;
    }

    Result<RelayEnd> relay(int input, const KeyFilter& filter, const Sink& output) override {
        auto end = state_.loop.run(relay_both(input, filter, output));
        if (state_.loop.was_interrupted()) return RelayEnd::interrupted;
        return end;
    }

    [[nodiscard]] std::string close_reason() const override {
        const auto& reason = socket_.reason().reason;
        return {reason.data(), reason.size()};
    }

private:
    Async<std::string> next() {
        buffer_.clear();
        const auto [error, got] = co_await socket_.async_read(buffer_, kAwait);
        // Whoever says goodbye and is gone does not take our answer to it: that is another error.
        const uint16_t code = socket_.reason().code;
        if (error && code != websocket::close_code::none) {
            const std::string reason = close_reason();
            if (code == kGoneCode) {
                co_return Error(ErrorCode::gone,
                                reason.empty() ? "events so long ago are forgotten" : reason);
            }
            co_return Error(ErrorCode::cancelled, reason.empty() ? "the daemon ended it" : reason);
        }
        if (error == asio::error::operation_aborted) co_return failed("events", error);
        if (error) {
            state_.failure = Failure::hung_up;
            co_return Error(ErrorCode::io,
                            fmt::format("{}: the connection broke", state_.endpoint.to_string()));
        }
        co_return std::string(static_cast<const char*>(buffer_.data().data()), got);
    }

    Async<RelayEnd> from_guest(const Sink& output) {
        while (true) {
            auto piece = co_await next();
            if (!piece.ok()) {
                const ErrorCode code = piece.error().code();
                co_return code == ErrorCode::io ? RelayEnd::lost : RelayEnd::closed;
            }
            ++pieces_;
            CO_TRY(output(*piece));
        }
    }

    // Waits until the other side is quiet.
    Async<RelayEnd> drain() {
        asio::steady_timer timer(co_await asio::this_coro::executor);
        uint64_t seen = pieces_ + 1;
        while (seen != pieces_) {
            seen = pieces_;
            timer.expires_after(kQuiet);
            const auto [error] = co_await timer.async_wait(kAwait);
            if (error) break;
        }
        co_return RelayEnd::left;
    }

    Async<RelayEnd> from_input(int input, const KeyFilter& filter) {
        asio::posix::stream_descriptor typed(co_await asio::this_coro::executor);
        boost::system::error_code failed_to_watch;
        const int copy = input < 0 ? -1 : ::fcntl(input, F_DUPFD_CLOEXEC, 3);
        if (copy >= 0) typed.assign(copy, failed_to_watch);
        // A file has no end to wait for, and cannot be watched.
        if (copy >= 0 && failed_to_watch) ::close(copy);  // tidy: allow syscall: our own copy
        if (copy < 0 || failed_to_watch) co_return co_await drain();
        std::array<char, 4096> keys{};
        while (true) {
            const auto [error, got] = co_await typed.async_read_some(asio::buffer(keys), kAwait);
            if (error == asio::error::operation_aborted) co_return RelayEnd::left;
            if (error) co_return co_await drain();
            const auto wanted = filter(std::string_view(keys.data(), got));
            if (!wanted) co_return RelayEnd::left;
            if (wanted->empty()) continue;
            const auto [broken, sent] = co_await socket_.async_write(asio::buffer(*wanted), kAwait);
            if (broken) co_return RelayEnd::lost;
        }
    }

    Async<RelayEnd> relay_both(int input, const KeyFilter& filter, const Sink& output) {
        using namespace asio::experimental::awaitable_operators;
        auto both = co_await (from_guest(output) || from_input(input, filter));
        co_return both.index() == 0 ? std::move(std::get<0>(both)) : std::move(std::get<1>(both));
    }

    Client::State& state_;
    Socket socket_;
    boost::beast::flat_buffer buffer_;
    uint64_t pieces_ = 0;
};

Async<std::unique_ptr<WebSocket>> open(Client::State& state, std::string target) {
    // A connection of its own: others go on meanwhile.
    CO_TRY(co_await state.ensure_connected());
    auto socket = std::make_unique<BeastSocket>(state, std::exchange(state.stream, nullptr));
    CO_TRY(co_await socket->shake_hands(std::move(target)));
    co_return std::move(socket);
}

}  // namespace

Result<std::unique_ptr<WebSocket>> Client::open_socket(const std::string& target,
                                                       milliseconds limit) {
    state_->failure = Failure::none;
    state_->problem.reset();
    state_->stream.reset();
    auto socket =
        state_->loop.run(within(limit, state_->endpoint.to_string(), open(*state_, target)));
    if (!socket.ok() && state_->loop.was_interrupted()) state_->failure = Failure::interrupted;
    else if (!socket.ok() && socket.error().code() == ErrorCode::timeout) {
        state_->failure = Failure::late;
    }
    return socket;
}

}  // namespace stoa::client
