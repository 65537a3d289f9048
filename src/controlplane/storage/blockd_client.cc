#include "controlplane/storage/blockd_client.h"

#include <algorithm>
#include <array>
#include <deque>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/write.hpp>

#include "base/check.h"
#include "base/utf8.h"
#include "controlplane/async/deadline.h"
#include "controlplane/async/scope.h"
#include "controlplane/storage/line_reader.h"
#include "rpc/json_rpc.h"

namespace stoa::storage {

namespace {

using Socket = asio::local::stream_protocol::socket;

constexpr size_t kReadBytes = size_t{64} << 10;
constexpr size_t kSocketPathBytesMax = 107;
constexpr uint64_t kSubscribeId = 0;

Error closing_error() { return {ErrorCode::cancelled, "stoa-blockd is asked no more: closing"}; }

// One that waits for its answer; lives in the coroutine that asks.
struct Call {
    Call(const asio::any_io_executor& executor, std::chrono::milliseconds limit)
        : timer(executor, limit) {}
    std::string line;
    std::optional<Result<Json>> answer;
    asio::steady_timer timer;  // its deadline; cancelled when the answer is there
};

Async<> connect_to(Socket& socket, std::string path) {
    const auto [error] =
        co_await socket.async_connect(asio::local::stream_protocol::endpoint(path), kAwait);
    if (error) co_return failed("connecting", error);
    co_return Result<void>();
}

}  // namespace

struct BlockdClient::State {
    State(asio::any_io_executor its_executor, BlockdClientOptions its_options)
        : executor(std::move(its_executor)), options(std::move(its_options)), changed(executor),
          to_write(executor), noticed(executor), scope(executor) {}

    AsyncVoid run();
    Async<> serve(Socket& socket);
    AsyncVoid write_lines(Socket& socket, bool& over);
    Result<void> take(std::string_view line);
    void tell(Notice notice);

    asio::any_io_executor executor;
    BlockdClientOptions options;
    std::map<uint64_t, Call*> calls;
    std::deque<uint64_t> unwritten;  // of calls, on this connection
    uint64_t next_id = kSubscribeId + 1;
    bool connected = false;
    bool subscribing = false;  // its line is to be written
    std::string why_not = "not connected yet";
    std::deque<Notice> notices;
    bool collecting = false;
    bool closing = false;
    bool closed = false;
    Signal changed;
    Signal to_write;
    Signal noticed;
    Scope scope;
};

void BlockdClient::State::tell(Notice notice) {
    if (!collecting) return;
    if (notices.size() >= options.notices_max) {
        notices.clear();
        notices.push_back({Notice::What::lost, {}});
    }
    notices.push_back(std::move(notice));
    noticed.notify_all();
}

Result<void> BlockdClient::State::take(std::string_view line) {
    TRY_ASSIGN(rpc::Message message, rpc::parse_message(line));
    if (message.is_notification) {
        Notice notice;
        // What a newer daemon tells besides is none of ours.
        if (message.method == "event" && from_json(message.params, notice.event).ok()) {
            notice.event.text = to_plain_text(notice.event.text);
            tell(std::move(notice));
        }
        return {};
    }
    uint64_t id = 0;
    if (message.id.is_uint64()) id = message.id.get_uint64();
    else if (message.id.is_int64()) id = static_cast<uint64_t>(message.id.get_int64());
    // Of one that did not wait so long, or of events.subscribe.
    const auto at = calls.find(id);
    if (at == calls.end() || at->second->answer) return {};
    at->second->answer = std::move(message.result);
    at->second->timer.cancel();
    return {};
}

AsyncVoid BlockdClient::State::write_lines(Socket& socket, bool& over) {
    while (connected) {
        std::string line;
        if (subscribing) {
            line = rpc::request_line("events.subscribe", JsonObject(), kSubscribeId);
            subscribing = false;
        } else if (!unwritten.empty()) {
            const auto call = calls.find(unwritten.front());
            unwritten.pop_front();
            if (call == calls.end()) continue;
            line = call->second->line;
        } else {
            co_await to_write.wait();
            continue;
        }
        const auto [error, bytes] = co_await asio::async_write(socket, asio::buffer(line), kAwait);
        // Whoever reads sees the end too.
        if (error) break;
    }
    over = true;
    changed.notify_all();
}

Async<> BlockdClient::State::serve(Socket& socket) {
    LineReader lines(options.answer_bytes_max);
    std::vector<char> bytes(kReadBytes);
    for (;;) {
        const auto [error, count] = co_await socket.async_read_some(asio::buffer(bytes), kAwait);
        if (error) co_return failed("reading", error);
        const Result<void> taken =
            lines.add({bytes.data(), count}, [this](std::string_view line) { return take(line); });
        if (!taken.ok()) co_return taken.error();
    }
}

AsyncVoid BlockdClient::State::run() {
    auto pause = options.reconnect_pause;
    asio::steady_timer timer(executor);
    while (!closing) {
        Socket socket{executor};
        Result<void> result = Error(ErrorCode::invalid_argument, "the path is too long");
        if (options.socket_path.size() <= kSocketPathBytesMax) {
            result = co_await within(options.connect_limit, "connecting",
                                     connect_to(socket, options.socket_path));
        }
        if (result.ok()) {
            connected = true;
            subscribing = true;
            why_not.clear();
            unwritten.clear();
            for (const auto& [id, call] : calls) unwritten.push_back(id);
            tell({Notice::What::connected, {}});
            changed.notify_all();
            bool over = false;
            scope.spawn(write_lines(socket, over));
            // Closing: the writer may not have been started.
            over = scope.closing();
            result = co_await serve(socket);
            connected = false;
            boost::system::error_code ignored;
            socket.close(ignored);
            to_write.notify_all();
            tell({Notice::What::disconnected, {}});
            while (!over) co_await changed.wait();
            pause = options.reconnect_pause;
        }
        why_not = result.error().message();
        changed.notify_all();
        if (closing) break;
        timer.expires_after(pause);
        co_await timer.async_wait(kAwait);
        pause = std::min(2 * pause, options.reconnect_pause_max);
    }
}

BlockdClient::BlockdClient(std::unique_ptr<State> state) : state_(std::move(state)) {}
BlockdClient::~BlockdClient() { CHECK(state_->closed); }

std::unique_ptr<BlockdClient> BlockdClient::create(asio::any_io_executor executor,
                                                   BlockdClientOptions options) {
    std::unique_ptr<BlockdClient> client(
        new BlockdClient(std::make_unique<State>(std::move(executor), std::move(options))));
    client->state_->scope.spawn(client->state_->run());
    return client;
}

AsyncVoid BlockdClient::close() {
    State& state = *state_;
    CHECK(!state.closing);
    state.closing = true;
    for (const auto& [id, call] : state.calls) call->timer.cancel();
    state.noticed.notify_all();
    co_await state.scope.close();
    while (!state.calls.empty()) co_await state.changed.wait();
    state.closed = true;
}

Async<Json> BlockdClient::call(std::string method, Json params, std::chrono::milliseconds limit) {
    State& state = *state_;
    if (state.closing) co_return closing_error();
    if (state.calls.size() >= state.options.calls_max) {
        co_return Error(ErrorCode::busy, fmt::format("{}: {} calls wait for stoa-blockd already",
                                                     method, state.calls.size()));
    }
    Call call(state.executor, limit);
    const uint64_t id = state.next_id++;
    call.line = rpc::request_line(method, params, id);
    if (call.line.size() > rpc::kLineBytesMax) {
        co_return Error(ErrorCode::invalid_argument,
                        fmt::format("{}: a request of {} bytes, at most {} are possible", method,
                                    call.line.size(), rpc::kLineBytesMax));
    }
    state.calls.emplace(id, &call);
    if (state.connected) state.unwritten.push_back(id);
    state.to_write.notify_all();
    bool is_cancelled = false;
    bool is_late = false;
    while (!call.answer && !state.closing && !is_cancelled && !is_late) {
        const auto [stopped] = co_await call.timer.async_wait(kAwait);
        is_late = !stopped;
        const auto cancellation = co_await asio::this_coro::cancellation_state;
        is_cancelled = cancellation.cancelled() != asio::cancellation_type::none;
    }
    state.calls.erase(id);
    std::erase(state.unwritten, id);
    state.changed.notify_all();
    if (call.answer) co_return *std::move(call.answer);
    if (state.closing) co_return closing_error();
    if (is_cancelled) co_return Error(ErrorCode::cancelled, method + ": given up");
    co_return Error(
        ErrorCode::timeout,
        fmt::format("{}: stoa-blockd gave no answer within {:g} s{}", method,
                    std::chrono::duration<double>(limit).count(),
                    state.connected
                        ? std::string()
                        : fmt::format(" ({}: {})", state.options.socket_path, state.why_not)));
}

Async<Notice> BlockdClient::next_notice() {
    State& state = *state_;
    if (!state.collecting) {
        state.collecting = true;
        if (state.connected) state.tell({Notice::What::connected, {}});
    }
    while (state.notices.empty() && !state.closing) {
        co_await state.noticed.wait();
        const auto cancellation = co_await asio::this_coro::cancellation_state;
        if (cancellation.cancelled() != asio::cancellation_type::none) {
            co_return Error(ErrorCode::cancelled, "given up");
        }
    }
    if (state.closing) co_return closing_error();
    Notice notice = std::move(state.notices.front());
    state.notices.pop_front();
    co_return notice;
}

bool BlockdClient::is_connected() const { return state_->connected; }
const std::string& BlockdClient::why_not() const { return state_->why_not; }
Signal& BlockdClient::changed() { return state_->changed; }

}  // namespace stoa::storage
