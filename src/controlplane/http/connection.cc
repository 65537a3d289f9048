#include "controlplane/http/connection.h"

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <string>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/buffer_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/serializer.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <boost/beast/websocket/rfc6455.hpp>

#include "controlplane/http/problem.h"
#include "controlplane/http/transport.h"
#include "controlplane/http/web_socket.h"

namespace stoa::http {

namespace {

namespace beast = boost::beast;
using Parser = beast::http::request_parser<beast::http::buffer_body>;

constexpr size_t kBufferBytesMax = 64u << 10;  // what is read ahead of one connection
constexpr size_t kPieceBytes = 64u << 10;
constexpr uint64_t kDiscardBytesMax = 1u << 20;  // of a body that nobody wanted
constexpr std::chrono::milliseconds kDiscardLimit{2'000};

std::string to_lower(std::string_view text) {
    std::string lower(text);
    std::ranges::transform(lower, lower.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return lower;
}

Head head_of(const Parser& parser, const Peer& peer) {
    const auto& message = parser.get();
    Head head{.method = std::string(message.method_string()),
              .target = std::string(message.target()),
              .wants_upgrade = beast::websocket::is_upgrade(message),
              .has_body = !parser.is_done(),
              .peer = peer};
    for (const auto& field : message) {
        std::string& value = head.headers[to_lower(field.name_string())];
        if (!value.empty()) value += ", ";
        value += field.value();
    }
    return head;
}

template <class Message>
void put_headers(Message& message, const Response& response, bool keep_alive) {
    message.version(11);
    message.result(response.status);
    message.set(beast::http::field::cache_control, "no-store");
    message.set("X-Content-Type-Options", "nosniff");
    for (const auto& [name, value] : response.headers) message.set(name, value);
    message.keep_alive(keep_alive);
}

}  // namespace

std::string Head::header(std::string_view name) const {
    const auto found = headers.find(name);
    return found == headers.end() ? std::string() : found->second;
}

// The request that a connection serves just now.
class HttpExchange : public Exchange, public ByteSource {
public:
    HttpExchange(Connection& connection, TransportRef& stream, beast::flat_buffer& buffer)
        : connection_(connection), stream_(stream), buffer_(buffer) {
        parser_.emplace();
        parser_->header_limit(connection.options_.head_bytes_max);
        parser_->body_limit(boost::none);  // limited by whoever reads it
    }

    // False: the connection is over. Bad heads have been answered.
    asio::awaitable<bool> read_head();
    // False: the connection is over.
    asio::awaitable<bool> answer(Response response);
    [[nodiscard]] bool is_upgraded() const { return is_upgraded_; }

    [[nodiscard]] const Head& head() const override { return head_; }
    Async<std::string> body(uint64_t bytes_max) override;
    ByteSource& stream(uint64_t bytes_max) override {
        bytes_max_ = bytes_max;
        return *this;
    }
    Async<size_t> read(std::span<std::byte> into) override;
    Async<> upgrade(const Live& live, const Request& request) override;

private:
    asio::awaitable<bool> wait_for_first_byte();
    asio::awaitable<bool> write_stream(Response response, bool keep_alive);
    asio::awaitable<void> discard();
    Async<> tell_to_go_on();

    Connection& connection_;
    TransportRef& stream_;
    beast::flat_buffer& buffer_;
    std::optional<Parser> parser_;
    Head head_;
    uint64_t bytes_max_ = 0;
    uint64_t bytes_read_ = 0;
    bool told_to_go_on_ = false;
    bool is_upgraded_ = false;
};

asio::awaitable<bool> HttpExchange::wait_for_first_byte() {
    if (buffer_.size() > 0) co_return true;
    Transport& transport = stream_.transport();
    transport.set_deadline(connection_.options_.idle_limit);
    const auto [error, count] =
        co_await stream_.async_read_some(buffer_.prepare(kBufferBytesMax / 4), kAwait);
    buffer_.commit(count);
    co_return !error;
}

asio::awaitable<bool> HttpExchange::read_head() {
    if (!co_await wait_for_first_byte()) co_return false;
    connection_.phase_ = Connection::Phase::request;
    stream_.transport().set_deadline(connection_.options_.head_limit);
    const auto [error, count] =
        co_await beast::http::async_read_header(stream_, buffer_, *parser_, kAwait);
    if (error == beast::http::error::header_limit || error == beast::http::error::buffer_overflow) {
        connection_.finishing_ = true;
        co_await answer(problem(431, Error(ErrorCode::out_of_range,
                                           fmt::format("the head of the request is longer than {} "
                                                       "bytes",
                                                       connection_.options_.head_bytes_max))));
        co_return false;
    }
    if (error &&
        error.category() ==
            beast::http::make_error_code(beast::http::error::bad_method).category() &&
        error != beast::http::error::end_of_stream &&
        error != beast::http::error::partial_message) {
        connection_.finishing_ = true;
        co_await answer(
            problem(400, Error(ErrorCode::invalid_argument,
                               fmt::format("not an HTTP/1.1 request: {}", error.message()))));
        co_return false;
    }
    if (error) co_return false;
    stream_.transport().clear_deadline();
    head_ = head_of(*parser_, connection_.peer_);
    co_return true;
}

Async<> HttpExchange::tell_to_go_on() {
    if (told_to_go_on_) co_return Result<void>();
    told_to_go_on_ = true;
    if (to_lower(head_.header("expect")) != "100-continue") co_return Result<void>();
    static constexpr std::string_view kGoOn = "HTTP/1.1 100 Continue\r\n\r\n";
    const auto [error, count] = co_await asio::async_write(stream_, asio::buffer(kGoOn), kAwait);
    if (error) co_return failed("the client", error);
    co_return Result<void>();
}

Async<size_t> HttpExchange::read(std::span<std::byte> into) {
    if (parser_->is_done()) co_return size_t{0};
    const auto length = parser_->content_length();
    if (length && *length > bytes_max_) {
        co_return Error(ErrorCode::out_of_range,
                        fmt::format("the body has {} bytes, and at most {} are taken here", *length,
                                    bytes_max_));
    }
    CO_TRY(co_await tell_to_go_on());
    auto& body = parser_->get().body();
    while (!parser_->is_done()) {
        body.data = into.data();
        body.size = into.size();
        stream_.transport().set_deadline(connection_.options_.transfer_limit);
        const auto [error, count] =
            co_await beast::http::async_read_some(stream_, buffer_, *parser_, kAwait);
        if (error && error != beast::http::error::need_buffer) {
            if (!stream_.transport().lowest().is_open()) {
                co_return Error(ErrorCode::timeout, "the body did not go on arriving in time");
            }
            co_return failed("the body was cut short", error);
        }
        const size_t taken = into.size() - body.size;
        bytes_read_ += taken;
        if (bytes_read_ > bytes_max_) {
            co_return Error(
                ErrorCode::out_of_range,
                fmt::format("the body has more than the {} bytes that are taken here", bytes_max_));
        }
        if (taken > 0) {
            stream_.transport().clear_deadline();
            co_return taken;
        }
    }
    stream_.transport().clear_deadline();
    co_return size_t{0};
}

Async<std::string> HttpExchange::body(uint64_t bytes_max) {
    bytes_max_ = bytes_max;
    std::string text;
    std::array<std::byte, 8192> piece{};
    for (;;) {
        CO_TRY_ASSIGN(const size_t count, co_await read(piece));
        if (count == 0) co_return text;
        text.append(reinterpret_cast<const char*>(piece.data()), count);
    }
}

Async<> HttpExchange::upgrade(const Live& live, const Request& request) {
    if (!head_.wants_upgrade || head_.has_body || buffer_.size() > 0) {
        co_return Error(ErrorCode::invalid_argument,
                        "this is only for WebSockets: ask for an "
                        "upgrade (RFC 6455)");
    }
    const ServerOptions& options = connection_.options_;
    auto socket = WebSocket::create(stream_.transport(),
                                    {.queue_bytes_max = options.socket_queue_bytes_max,
                                     .message_bytes_max = options.socket_message_bytes_max,
                                     .ping_limit = options.ping_limit,
                                     .handshake_limit = options.handshake_limit});
    is_upgraded_ = true;
    CO_TRY(co_await socket->shake_hands(head_));
    connection_.phase_ = Connection::Phase::socket;
    connection_.socket_ = socket.get();
    if (connection_.finishing_) socket->close(CloseCode::going_away, "");
    co_await socket->run(live, request);
    connection_.socket_ = nullptr;
    co_return Result<void>();
}

// After an answer for which the body did not matter. Closing while bytes still arrive would take
// the answer away from the client.
asio::awaitable<void> HttpExchange::discard() {
    Transport& transport = stream_.transport();
    transport.shutdown_send();
    transport.set_deadline(kDiscardLimit);
    std::array<std::byte, 16384> piece{};
    uint64_t total = 0;
    while (total < kDiscardBytesMax) {
        const auto [error, count] =
            co_await transport.lowest().async_read_some(asio::buffer(piece), kAwait);
        if (error) break;
        total += count;
    }
}

asio::awaitable<bool> HttpExchange::answer(Response response) {
    // Unread bytes of a body cannot be told from the next request.
    const bool keep_alive =
        parser_->is_done() && parser_->get().keep_alive() && !connection_.finishing_;
    bool written = false;
    if (response.stream) {
        written = co_await write_stream(std::move(response), keep_alive);
    } else {
        const bool is_text = !response.text_type.empty();
        beast::http::response<beast::http::string_body> message;
        put_headers(message, response, keep_alive);
        if (is_text) {
            message.set(beast::http::field::content_type, response.text_type);
            message.body() = std::move(response.text);
        } else if (!response.body.is_null()) {
            if (message.count(beast::http::field::content_type) == 0) {
                message.set(beast::http::field::content_type, "application/json");
            }
            message.body() = to_text(response.body) + "\n";
        }
        const bool without_content = message.result_int() == 204 || message.result_int() == 304;
        if (!without_content) message.prepare_payload();
        beast::http::response_serializer<beast::http::string_body> serializer(message);
        if (head_.method == "HEAD") serializer.split(true);
        stream_.transport().set_deadline(connection_.options_.transfer_limit);
        if (head_.method == "HEAD") {
            const auto [error, count] =
                co_await beast::http::async_write_header(stream_, serializer, kAwait);
            written = !error;
        } else {
            const auto [error, count] =
                co_await beast::http::async_write(stream_, serializer, kAwait);
            written = !error;
        }
    }
    const bool is_unread = !parser_->is_done() || buffer_.size() > 0;
    if (written && !keep_alive && is_unread) co_await discard();
    stream_.transport().clear_deadline();
    co_return written&& keep_alive;
}

asio::awaitable<bool> HttpExchange::write_stream(Response response, bool keep_alive) {
    beast::http::response<beast::http::buffer_body> message;
    put_headers(message, response, keep_alive);
    if (message.count(beast::http::field::content_type) == 0) {
        message.set(beast::http::field::content_type, "application/octet-stream");
    }
    if (response.stream_bytes) {
        message.content_length(*response.stream_bytes);
    } else {
        message.chunked(true);
    }
    message.body().data = nullptr;
    message.body().size = 0;
    message.body().more = true;
    Transport& transport = stream_.transport();
    beast::http::response_serializer<beast::http::buffer_body> serializer(message);
    transport.set_deadline(connection_.options_.transfer_limit);
    const auto [head_error, head_count] =
        co_await beast::http::async_write_header(stream_, serializer, kAwait);
    if (head_error) co_return false;
    if (head_.method == "HEAD") co_return true;
    std::string piece(kPieceBytes, '\0');
    uint64_t left_bytes = response.stream_bytes.value_or(UINT64_MAX);
    for (bool more = true; more;) {
        transport.clear_deadline();
        const Result<size_t> count =
            co_await response.stream->read(std::as_writable_bytes(std::span(piece)));
        // What was promised and cannot be kept ends the connection, so that the client notices.
        if (!count.ok() || *count > left_bytes) co_return false;
        left_bytes -= *count;
        more = *count > 0;
        if (!more && response.stream_bytes && left_bytes > 0) co_return false;
        auto& body = message.body();
        body.data = more ? piece.data() : nullptr;
        body.size = *count;
        body.more = more;
        transport.set_deadline(connection_.options_.transfer_limit);
        const auto [error, written] =
            co_await beast::http::async_write(stream_, serializer, kAwait);
        if (error && error != beast::http::error::need_buffer) co_return false;
    }
    co_return true;
}

AsyncVoid Connection::run() {
    transport_.set_deadline(options_.handshake_limit);
    const Result<void> shaken = co_await transport_.handshake();
    if (!shaken.ok()) co_return;
    transport_.clear_deadline();
    TransportRef stream(transport_);
    beast::flat_buffer buffer(kBufferBytesMax);
    while (!finishing_) {
        phase_ = Phase::idle;
        HttpExchange exchange(*this, stream, buffer);
        if (!co_await exchange.read_head()) break;
        Response response = co_await service_.handle(exchange);
        if (exchange.is_upgraded()) break;
        if (!co_await exchange.answer(std::move(response))) break;
    }
    transport_.close();
    transport_.clear_deadline();
}

void Connection::finish() {
    finishing_ = true;
    if (phase_ == Phase::idle || phase_ == Phase::handshake) transport_.close();
    if (socket_ != nullptr) socket_->close(CloseCode::going_away, "the server is closing");
}

}  // namespace stoa::http
