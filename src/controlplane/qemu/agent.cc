#include "controlplane/qemu/agent.h"

#include <optional>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/this_coro.hpp>

#include "base/check.h"
#include "controlplane/async/deadline.h"
#include "controlplane/async/signal.h"
#include "controlplane/qemu/agent_message.h"
#include "controlplane/qemu/stream.h"

namespace stoa::qemu {

namespace {
using std::chrono::milliseconds;
constexpr std::string_view kWhat = "guest agent";
// An agent that died with our number unanswered is asked again once it is back.
constexpr milliseconds kSyncAgain{1000};
constexpr milliseconds kRefusalWait{1000};
constexpr uint64_t kNumberMask = (uint64_t{1} << 52) - 1;
}  // namespace

struct Agent::State {
    State(const asio::any_io_executor& executor, std::string socket, AgentOptions given)
        : path(std::move(socket)), options(std::move(given)), changed(executor) {}

    Async<> take_turn();
    Async<> prepare();
    Async<> connect();
    Async<> synchronize();
    Async<> wait_for_sync(uint64_t number);
    Async<> send(std::string command, JsonObject arguments);
    Async<Json> receive();
    // With a turn taken.
    Async<Json> ask(std::string command, JsonObject arguments);
    Async<> ask_for_nothing(std::string command, JsonObject arguments);
    void disconnect() {
        stream.reset();
        is_synchronized = false;
    }

    std::string path;
    AgentOptions options;
    std::optional<Stream> stream;
    bool is_synchronized = false;  // the next line answers the next command
    bool is_taken = false;         // it is somebody's turn
    size_t visitors = 0;           // whoever uses this object: close() waits for them
    bool is_closing = false;
    bool is_closed = false;
    Signal changed;  // of is_taken, visitors, is_closing
};

namespace {

// Counts who is inside, and gives back what he has taken.
template <class State>
class Visit {
public:
    explicit Visit(State& state) : state_(&state) { ++state_->visitors; }
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    ~Visit() {
        --state_->visitors;
        state_->changed.notify_all();
    }

private:
    State* state_;
};

template <class State>
class Turn {
public:
    explicit Turn(State& state) : state_(&state) {}
    Turn(const Turn&) = delete;
    Turn& operator=(const Turn&) = delete;
    ~Turn() {
        state_->is_taken = false;
        state_->changed.notify_all();
    }

private:
    State* state_;
};

}  // namespace

Async<> Agent::State::take_turn() {
    for (;;) {
        const auto cancelled = co_await asio::this_coro::cancellation_state;
        if (is_closing || cancelled.cancelled() != asio::cancellation_type::none) {
            co_return Error(ErrorCode::cancelled, fmt::format("{}: cancelled", kWhat));
        }
        if (!is_taken) break;
        co_await changed.wait();
    }
    is_taken = true;
    co_return Result<void>();
}

Async<> Agent::State::connect() {
    stream.emplace(
        co_await asio::this_coro::executor,
        LineRules{.line_bytes_max = options.answer_bytes_max, .starts_anew_at_ff = true});
    const Result<void> connected = co_await connect_once(*stream, path);
    if (connected.ok() && !is_closing) co_return connected;
    disconnect();
    if (connected.ok()) co_return Error(ErrorCode::cancelled, fmt::format("{}: closing", kWhat));
    const bool is_absent = connected.error().code() == ErrorCode::not_found;
    if (!is_absent) co_return connected;
    co_return Error(ErrorCode::io, connected.error().message());
}

Async<> Agent::State::wait_for_sync(uint64_t number) {
    for (;;) {
        const auto line = co_await read_line(*stream, kWhat);
        if (line.ok() && is_sync(*line, number)) co_return Result<void>();
        const bool is_fatal = !line.ok() && line.error().code() != ErrorCode::out_of_range;
        if (is_fatal) co_return line.error();
    }
}

Async<> Agent::State::synchronize() {
    for (;;) {
        // A fresh number each time: the answer to an earlier one may still come, before this one's.
        const uint64_t number = options.random() & kNumberMask;
        CO_TRY(co_await write_bytes(*stream, agent_sync(number), kWhat));
        const Result<void> done =
            co_await within(kSyncAgain, std::string(kWhat), wait_for_sync(number));
        if (done.ok()) break;
        const auto cancelled = co_await asio::this_coro::cancellation_state;
        const bool is_over = cancelled.cancelled() != asio::cancellation_type::none;
        if (is_over || is_closing || done.error().code() != ErrorCode::timeout) co_return done;
    }
    is_synchronized = true;
    co_return Result<void>();
}

Async<> Agent::State::prepare() {
    if (!stream) CO_TRY(co_await connect());
    if (!is_synchronized) CO_TRY(co_await synchronize());
    co_return Result<void>();
}

Async<> Agent::State::send(std::string command, JsonObject arguments) {
    Result<void> ready = co_await prepare();
    if (ready.ok()) {
        is_synchronized = false;  // until the answer is there
        ready = co_await write_bytes(*stream, agent_command(command, std::move(arguments)), kWhat);
    }
    if (!ready.ok() && ready.error().code() == ErrorCode::io) disconnect();
    co_return ready;
}

Async<Json> Agent::State::receive() {
    const auto line = co_await read_line(*stream, kWhat);
    if (!line.ok()) {
        if (line.error().code() == ErrorCode::io) disconnect();
        co_return line.error();
    }
    CO_TRY_ASSIGN(AgentAnswer answer, parse_agent(*line));
    is_synchronized = true;
    co_return std::move(answer.result);
}

Async<Json> Agent::State::ask(std::string command, JsonObject arguments) {
    CO_TRY(co_await take_turn());
    const Turn turn(*this);
    CO_TRY(co_await send(std::move(command), std::move(arguments)));
    co_return co_await receive();
}

Async<> Agent::State::ask_for_nothing(std::string command, JsonObject arguments) {
    CO_TRY(co_await take_turn());
    const Turn turn(*this);
    CO_TRY(co_await send(std::move(command), std::move(arguments)));
    const auto answer = co_await within(kRefusalWait, std::string(kWhat), receive());
    if (answer.ok()) co_return Result<void>();
    // A guest that shuts down takes its agent along.
    const bool is_silent = answer.error().code() == ErrorCode::timeout || !stream;
    if (is_silent) co_return Result<void>();
    co_return answer.error();
}

Agent::Agent(asio::any_io_executor executor, std::string socket, AgentOptions options)
    : state_(std::make_unique<State>(executor, std::move(socket), std::move(options))) {
    CHECK(state_->options.random != nullptr);
}

Agent::~Agent() { CHECK(state_->is_closed); }

namespace {
Error with_command(Error error, std::string_view command) {
    // A time limit names the command already.
    if (error.code() == ErrorCode::timeout) return error;
    return error.with_context(command);
}
}  // namespace

Async<Json> Agent::call(std::string command, JsonObject arguments, milliseconds limit) {
    State& state = *state_;
    if (state.is_closing) co_return Error(ErrorCode::cancelled, command + ": closing");
    if (state.visitors > state.options.calls_max) {
        co_return Error(ErrorCode::busy, fmt::format("{}: {} commands wait already", command,
                                                     state.options.calls_max));
    }
    const Visit visit(state);
    auto answer = co_await within(limit, fmt::format("{}: {}", kWhat, command),
                                  state.ask(command, std::move(arguments)));
    if (!answer.ok()) co_return with_command(answer.take_error(), command);
    co_return answer;
}

Async<> Agent::tell(std::string command, JsonObject arguments, milliseconds limit) {
    State& state = *state_;
    if (state.is_closing) co_return Error(ErrorCode::cancelled, command + ": closing");
    if (state.visitors > state.options.calls_max) {
        co_return Error(ErrorCode::busy, fmt::format("{}: {} commands wait already", command,
                                                     state.options.calls_max));
    }
    const Visit visit(state);
    auto answer = co_await within(limit + kRefusalWait, fmt::format("{}: {}", kWhat, command),
                                  state.ask_for_nothing(command, std::move(arguments)));
    if (!answer.ok()) co_return with_command(answer.take_error(), command);
    co_return answer;
}

AsyncVoid Agent::close() {
    State& state = *state_;
    state.is_closing = true;
    while (state.visitors > 0) {
        if (state.stream) state.stream->close();
        state.changed.notify_all();
        co_await state.changed.wait();
    }
    state.stream.reset();
    state.is_closed = true;
}

}  // namespace stoa::qemu
