#include "client/client.h"

#include <fmt/format.h>

#include <array>
#include <utility>

#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include "client/state.h"

namespace stoa::client {

namespace http = boost::beast::http;
using std::chrono::milliseconds;

namespace {

constexpr milliseconds kConnectLimit{5'000};
constexpr size_t kPieceBytes = 64 * 1024;
constexpr size_t kBodyBytesMax = size_t{256} << 20;
constexpr uint32_t kHeaderBytesMax = 64 * 1024;

using Request = http::request<http::string_body>;
using Parser = http::response_parser<http::buffer_body>;

http::verb verb_of(Method method) {
    switch (method) {
        case Method::get: return http::verb::get;
        case Method::post: return http::verb::post;
        case Method::put: return http::verb::put;
        case Method::patch: return http::verb::patch;
        case Method::erase: return http::verb::delete_;
    }
    return http::verb::get;
}

template <class Message>
void set_headers(Message& message, const Call& call, const Endpoint& endpoint) {
    message.version(11);
    message.method(verb_of(call.method));
    message.target(call.target);
    message.set(http::field::host, endpoint.socket.empty() ? endpoint.host : "localhost");
    message.set(http::field::user_agent, "stoa");
    if (!endpoint.token.empty()) {
        message.set(http::field::authorization, "Bearer " + endpoint.token);
    }
    for (const auto& [name, value] : call.headers) message.set(name, value);
}

Request make_request(const Call& call, const Endpoint& endpoint) {
    Request request;
    set_headers(request, call, endpoint);
    if (!call.body.is_null()) {
        request.set(http::field::content_type, "application/json");
        request.body() = to_text(call.body);
    }
    if (!call.body.is_null() || call.method != Method::get) request.prepare_payload();
    return request;
}

bool is_text_bad(std::string_view text) {
    return text.empty() || text.find_first_of("\r\n ") != std::string_view::npos;
}

// What lives as long as one exchange.
struct Exchange {
    const Call& call;
    const Source* source = nullptr;
    std::optional<uint64_t> size_bytes = std::nullopt;
    const Sink* sink = nullptr;
    bool was_answered = false;  // at least a header
};

Async<> write_pieces(Stream& stream, const Exchange& exchange) {
    std::array<char, kPieceBytes> piece{};
    uint64_t left = exchange.size_bytes.value_or(0);
    while (true) {
        CO_TRY_ASSIGN(size_t got, (*exchange.source)(piece));
        const bool is_chunked = !exchange.size_bytes;
        if (!is_chunked && got > left) got = static_cast<size_t>(left);  // it grew meanwhile
        if (got == 0) {
            if (left > 0) {
                co_return Error(ErrorCode::invalid_argument, "the file became shorter meanwhile");
            }
            if (is_chunked) co_await asio::async_write(stream, http::make_chunk_last(), kAwait);
            co_return Result<void>();
        }
        const asio::const_buffer bytes(piece.data(), got);
        const auto [error, written] =
            is_chunked ? co_await asio::async_write(stream, http::make_chunk(bytes), kAwait)
                       : co_await asio::async_write(stream, bytes, kAwait);
        if (error == asio::error::operation_aborted) co_return failed("upload", error);
        // The daemon has said already why it does not want it.
        if (error) co_return Result<void>();
        if (!is_chunked) left -= got;
    }
}

Async<> write_request(Stream& stream, const Endpoint& endpoint, const Exchange& exchange) {
    boost::system::error_code error;
    if (exchange.source == nullptr) {
        const Request request = make_request(exchange.call, endpoint);
        std::tie(error, std::ignore) = co_await http::async_write(stream, request, kAwait);
    } else {
        http::request<http::empty_body> head;
        set_headers(head, exchange.call, endpoint);
        head.set(http::field::content_type, "application/octet-stream");
        if (exchange.size_bytes) head.content_length(*exchange.size_bytes);
        else head.chunked(true);
        http::request_serializer<http::empty_body> serializer(head);
        std::tie(error, std::ignore) =
            co_await http::async_write_header(stream, serializer, kAwait);
        if (!error) CO_TRY(co_await write_pieces(stream, exchange));
    }
    if (error) co_return failed("request", error);
    co_return Result<void>();
}

// The body: to the sink if the answer is good, else into `text`.
Async<> read_body(Stream& stream, boost::beast::flat_buffer& buffer, Parser& parser,
                  const Exchange& exchange, std::string& text) {
    const bool is_good = parser.get().result_int() < 300;
    std::array<char, kPieceBytes> piece{};
    while (!parser.is_done()) {
        auto& body = parser.get().body();
        body.data = piece.data();
        body.size = piece.size();
        body.more = true;
        auto [error, got] = co_await http::async_read_some(stream, buffer, parser, kAwait);
        if (error == http::error::need_buffer) error = {};
        if (error) co_return failed("answer", error);
        const std::string_view bytes(piece.data(), piece.size() - body.size);
        if (exchange.sink != nullptr && is_good) {
            if (!bytes.empty()) CO_TRY((*exchange.sink)(bytes));
            continue;
        }
        text += bytes;
        if (text.size() > kBodyBytesMax) {
            co_return Error(ErrorCode::out_of_range, "the answer is longer than 256 MiB");
        }
    }
    co_return Result<void>();
}

}  // namespace

Async<> Client::State::ensure_connected() {
    if (stream) co_return Result<void>();
    auto connected = co_await within(kConnectLimit, endpoint.to_string(), connect(endpoint));
    if (!connected.ok()) {
        failure = Failure::unreachable;
        co_return connected.take_error();
    }
    stream = *std::move(connected);
    co_return Result<void>();
}

namespace {

// One request and its answer over the connection that is there.
Async<Answer> talk(Client::State& state, Exchange& exchange) {
    Stream& stream = *state.stream;
    auto sent = co_await write_request(stream, state.endpoint, exchange);
    if (!sent.ok() && sent.error().code() != ErrorCode::io) {
        state.failure = Failure::local;
        co_return sent.take_error();
    }
    boost::beast::flat_buffer buffer;
    Parser parser;
    parser.header_limit(kHeaderBytesMax);
    parser.body_limit(boost::none);
    const auto [error, got] = co_await http::async_read_header(stream, buffer, parser, kAwait);
    if (error == asio::error::operation_aborted) co_return failed("answer", error);
    if (error) {
        state.failure = Failure::hung_up;
        co_return Error(ErrorCode::io,
                        fmt::format("{}: the daemon closed the connection before it answered",
                                    state.endpoint.to_string()));
    }
    exchange.was_answered = true;
    Answer answer;
    answer.status = parser.get().result_int();
    std::string text;
    auto read = co_await read_body(stream, buffer, parser, exchange, text);
    if (!read.ok()) {
        state.stream.reset();
        const bool broke = read.error().code() == ErrorCode::io && read.error().system_errno() == 0;
        state.failure = broke ? Failure::hung_up : Failure::local;
        if (read.error().code() == ErrorCode::cancelled || !broke) co_return read.take_error();
        co_return Error(ErrorCode::io, fmt::format("{}: the connection broke within the answer",
                                                   state.endpoint.to_string()));
    }
    const std::string type(parser.get()[http::field::content_type]);
    if (!parser.keep_alive()) state.stream.reset();
    if (answer.status >= 300) {
        state.failure = Failure::refused;
        state.problem = parse_problem(answer.status, text);
        co_return state.problem->to_error();
    }
    if (type.find("json") != std::string::npos && !text.empty()) {
        auto json = parse_json(text);
        if (!json.ok()) {
            state.failure = Failure::local;
            co_return json.error().with_context("the daemon's answer");
        }
        answer.body = *std::move(json);
    } else {
        answer.text = std::move(text);
    }
    co_return answer;
}

Async<Answer> exchange_once(Client::State& state, Exchange& exchange, milliseconds limit) {
    CO_TRY(co_await state.ensure_connected());
    const bool is_streamed = exchange.source != nullptr || exchange.sink != nullptr;
    // A stream takes as long as it takes; who finds it too slow interrupts it.
    if (is_streamed) co_return co_await talk(state, exchange);
    auto answer = co_await within(limit, state.endpoint.to_string(), talk(state, exchange));
    if (!answer.ok() && answer.error().code() == ErrorCode::timeout &&
        state.failure != Failure::refused) {
        state.failure = Failure::late;
    }
    co_return answer;
}

Async<Answer> exchange_all(Client::State& state, Exchange& exchange) {
    const bool was_used = state.stream != nullptr;
    auto answer = co_await exchange_once(state, exchange, exchange.call.limit);
    if (answer.ok() || state.failure == Failure::refused) co_return answer;
    state.stream.reset();
    const bool may_repeat =
        exchange.call.method == Method::get || exchange.call.headers.contains("Idempotency-Key");
    // An idle connection that the daemon had closed meanwhile.
    if (was_used && state.failure == Failure::hung_up && !exchange.was_answered && may_repeat &&
        exchange.source == nullptr) {
        state.failure = Failure::none;
        answer = co_await exchange_once(state, exchange, exchange.call.limit);
        if (!answer.ok() && state.failure != Failure::refused) state.stream.reset();
    }
    co_return answer;
}

Result<Answer> run(Client::State& state, Exchange exchange) {
    state.failure = Failure::none;
    state.problem.reset();
    if (is_text_bad(exchange.call.target)) {
        state.failure = Failure::local;
        return Error(ErrorCode::invalid_argument,
                     fmt::format("\"{}\" cannot be asked for", exchange.call.target));
    }
    auto answer = state.loop.run(exchange_all(state, exchange));
    if (!answer.ok() && state.loop.was_interrupted()) {
        state.failure = Failure::interrupted;
        state.stream.reset();
    } else if (!answer.ok() && state.failure == Failure::none) {
        state.failure = Failure::local;
    }
    return answer;
}

Async<> wait_for(milliseconds duration) {
    asio::steady_timer timer(co_await asio::this_coro::executor, duration);
    const auto [error] = co_await timer.async_wait(kAwait);
    if (error) co_return failed("pause", error);
    co_return Result<void>();
}

}  // namespace

Client::Client(std::unique_ptr<State> state) : state_(std::move(state)) {}
Client::~Client() = default;

std::unique_ptr<Client> Client::create(Endpoint endpoint) {
    auto state = std::make_unique<State>();
    state->endpoint = std::move(endpoint);
    return std::unique_ptr<Client>(new Client(std::move(state)));
}

Result<Answer> Client::call(const Call& call) { return run(*state_, {.call = call}); }

Result<Answer> Client::upload(const Call& call, const Source& source,
                              std::optional<uint64_t> size_bytes) {
    return run(*state_, {.call = call, .source = &source, .size_bytes = size_bytes});
}

Result<void> Client::download(const Call& call, const Sink& sink) {
    const auto answer = run(*state_, {.call = call, .sink = &sink});
    if (!answer.ok()) return answer.error();
    return {};
}

bool Client::pause(milliseconds duration) { return state_->loop.run(wait_for(duration)).ok(); }

Failure Client::failure() const { return state_->failure; }
const std::optional<Problem>& Client::problem() const { return state_->problem; }
const Endpoint& Client::endpoint() const { return state_->endpoint; }
void Client::set_token(std::string token) { state_->endpoint.token = std::move(token); }

}  // namespace stoa::client
