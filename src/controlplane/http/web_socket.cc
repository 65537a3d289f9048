#include "controlplane/http/web_socket.h"

#include <deque>
#include <string>
#include <utility>

#include <boost/asio/post.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/websocket/stream.hpp>

#include "base/utf8.h"
#include "controlplane/async/scope.h"
#include "controlplane/async/signal.h"
#include "controlplane/http/transport.h"

namespace stoa::http {

namespace {

namespace beast = boost::beast;
namespace websocket = boost::beast::websocket;

constexpr size_t kReadAheadBytesMax = 64u << 10;
constexpr size_t kReasonBytesMax = 123;  // RFC 6455, 5.5

asio::awaitable<bool> is_cancelled() {
    const auto state = co_await asio::this_coro::cancellation_state;
    co_return state.cancelled() != asio::cancellation_type::none;
}

class BeastSocket : public WebSocket {
public:
    BeastSocket(Transport& transport, WebSocketOptions options)
        : options_(options), transport_(transport), stream_(TransportRef(transport)),
          changed_(transport.lowest().get_executor()) {
        websocket::stream_base::timeout limits{};
        limits.handshake_timeout = options.handshake_limit;
        limits.idle_timeout = options.ping_limit * 2;  // a ping after half of it
        limits.keep_alive_pings = true;
        stream_.set_option(limits);
        stream_.read_message_max(options.message_bytes_max);
    }

    Async<> shake_hands(const Head& head) override;
    AsyncVoid run(const Live& live, const Request& request) override;

    Async<> send(Message message) override;
    Result<void> try_send(Message message) override;
    Async<Message> receive() override;
    void close(CloseCode code, std::string_view reason) override;
    [[nodiscard]] bool is_closed() const override { return closing_ || gone_; }

private:
    AsyncVoid read_all();
    AsyncVoid write_all();
    AsyncVoid be_live(const Live& live, const Request& request);
    void enqueue(Message message);

    WebSocketOptions options_;
    Transport& transport_;
    websocket::stream<TransportRef, false> stream_;
    Signal changed_;
    std::deque<Message> inbox_;
    size_t inbox_bytes_ = 0;
    std::deque<Message> outbox_;
    size_t outbox_bytes_ = 0;
    bool closing_ = false;  // close() was called
    bool gone_ = false;     // the client left, or nothing more can be read
    bool written_ = false;  // write_all() is over
    bool lived_ = false;    // be_live() is over
    websocket::close_reason reason_;
};

Error is_closed_error() { return {ErrorCode::cancelled, "the WebSocket is closed"}; }

Async<> BeastSocket::shake_hands(const Head& head) {
    beast::http::request<beast::http::empty_body> request;
    request.method(beast::http::verb::get);
    request.target(head.target);
    request.version(11);
    for (const auto& [name, value] : head.headers) request.set(name, value);
    const auto [error] = co_await stream_.async_accept(request, kAwait);
    if (error) co_return failed("WebSocket", error);
    co_return Result<void>();
}

AsyncVoid BeastSocket::be_live(const Live& live, const Request& request) {
    const Result<void> result = co_await live.run(request, *this);
    if (result.ok()) {
        close(CloseCode::normal, "");
    } else {
        close(CloseCode::failed, result.error().message());
    }
    lived_ = true;
    changed_.notify_all();
}

AsyncVoid BeastSocket::run(const Live& live, const Request& request) {
    const auto executor = co_await asio::this_coro::executor;
    Scope streams(executor);
    Scope handler(executor);
    streams.spawn(read_all());
    streams.spawn(write_all());
    handler.spawn(be_live(live, request));
    while (!lived_ && !is_closed() && !co_await is_cancelled()) co_await changed_.wait();
    close(CloseCode::going_away, "");  // if nobody has said another reason
    co_await handler.close();
    while (!written_ && !co_await is_cancelled()) co_await changed_.wait();
    transport_.close();
    co_await streams.close();
}

AsyncVoid BeastSocket::read_all() {
    beast::flat_buffer buffer;
    while (!co_await is_cancelled()) {
        if (inbox_bytes_ > kReadAheadBytesMax && !closing_) {
            co_await changed_.wait();
            continue;
        }
        const auto [error, count] = co_await stream_.async_read(buffer, kAwait);
        if (error) break;
        const auto bytes = buffer.cdata();
        inbox_.push_back({.is_text = stream_.got_text(),
                          .data = std::string(static_cast<const char*>(bytes.data()), count)});
        inbox_bytes_ += count;
        buffer.consume(count);
        if (closing_) inbox_.clear();
        changed_.notify_all();
    }
    gone_ = true;
    changed_.notify_all();
}

AsyncVoid BeastSocket::write_all() {
    while (!gone_ && !co_await is_cancelled()) {
        if (outbox_.empty()) {
            if (closing_) {
                (void)co_await stream_.async_close(reason_, kAwait);
                break;
            }
            co_await changed_.wait();
            continue;
        }
        const Message message = std::move(outbox_.front());
        outbox_.pop_front();
        stream_.text(message.is_text);
        const auto [error, count] =
            co_await stream_.async_write(asio::buffer(message.data), kAwait);
        outbox_bytes_ -= message.data.size();
        if (error) {
            gone_ = true;
            break;
        }
        changed_.notify_all();
    }
    written_ = true;
    changed_.notify_all();
}

void BeastSocket::enqueue(Message message) {
    outbox_bytes_ += message.data.size();
    outbox_.push_back(std::move(message));
    changed_.notify_all();
}

Async<> BeastSocket::send(Message message) {
    while (!is_closed() && outbox_bytes_ > options_.queue_bytes_max) {
        co_await changed_.wait();
        if (co_await is_cancelled()) co_return is_closed_error();
    }
    if (is_closed()) co_return is_closed_error();
    enqueue(std::move(message));
    co_return Result<void>();
}

Result<void> BeastSocket::try_send(Message message) {
    if (is_closed()) return is_closed_error();
    if (outbox_bytes_ + message.data.size() > options_.queue_bytes_max) {
        return Error(ErrorCode::no_space, "the WebSocket's client is too slow");
    }
    enqueue(std::move(message));
    return {};
}

Async<Message> BeastSocket::receive() {
    while (inbox_.empty()) {
        if (is_closed() || co_await is_cancelled()) co_return is_closed_error();
        co_await changed_.wait();
    }
    Message message = std::move(inbox_.front());
    inbox_.pop_front();
    inbox_bytes_ -= message.data.size();
    changed_.notify_all();
    co_return message;
}

void BeastSocket::close(CloseCode code, std::string_view reason) {
    if (closing_) return;
    closing_ = true;
    reason_.code = static_cast<uint16_t>(code);
    const std::string text = to_utf8(reason);
    const std::string_view cut = utf8_prefix(text, kReasonBytesMax);
    reason_.reason.assign(cut.data(), cut.size());
    changed_.notify_all();
}

}  // namespace

std::unique_ptr<WebSocket> WebSocket::create(Transport& transport, WebSocketOptions options) {
    return std::make_unique<BeastSocket>(transport, options);
}

}  // namespace stoa::http
