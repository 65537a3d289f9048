#include "controlplane/qemu/qmp.h"

#include <array>
#include <deque>
#include <map>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>

#include "base/check.h"
#include "controlplane/async/deadline.h"
#include "controlplane/async/scope.h"
#include "controlplane/qemu/line_buffer.h"
#include "controlplane/qemu/qmp_message.h"
#include "controlplane/qemu/stream.h"

namespace stoa::qemu {

namespace {

constexpr std::string_view kWhat = "qemu";

// One command under way. Lives in the frame of its coroutine.
struct Call {
    explicit Call(const asio::any_io_executor& executor) : timer(executor) {}
    asio::steady_timer timer;  // its limit; cancelled by the answer
    std::optional<Result<Json>> answer;

    void end(Result<Json> with) {
        answer = std::move(with);
        timer.cancel();
    }
};

}  // namespace

struct Qmp::State {
    State(const asio::any_io_executor& executor, Stream&& opened, QmpOptions limits)
        : options(limits), stream(std::move(opened)), scope(executor), events_changed(executor),
          outbox_changed(executor), left(executor) {}

    // Whoever uses this object; close() waits for them.
    class Visit {
    public:
        explicit Visit(State& state) : state_(&state) { ++state_->visitors; }
        Visit(const Visit&) = delete;
        Visit& operator=(const Visit&) = delete;
        ~Visit() {
            if (--state_->visitors == 0) state_->left.notify_all();
        }

    private:
        State* state_;
    };

    void take(QmpMessage message);
    void lose(Error why);
    AsyncVoid read_all();
    AsyncVoid write_all();

    QmpOptions options;
    Stream stream;
    Scope scope;
    std::string version;
    std::map<uint64_t, Call*> calls;
    uint64_t id_last = 0;
    std::deque<std::string> outbox;
    std::deque<QmpEvent> events;
    uint64_t events_lost = 0;
    Signal events_changed;
    Signal outbox_changed;
    Signal left;
    size_t visitors = 0;
    std::optional<Error> lost;
    bool is_closing = false;
    bool is_closed = false;
};

void Qmp::State::take(QmpMessage message) {
    if (auto* event = std::get_if<QmpEvent>(&message)) {
        if (events.size() >= options.events_max) {
            events.pop_front();
            ++events_lost;
        }
        events.push_back(std::move(*event));
        events_changed.notify_all();
        return;
    }
    auto* answer = std::get_if<QmpAnswer>(&message);
    if (answer == nullptr) return;  // a second greeting
    const auto call = calls.find(answer->id);
    if (call == calls.end()) return;  // given up
    call->second->end(std::move(answer->result));
    calls.erase(call);
}

void Qmp::State::lose(Error why) {
    if (!lost) lost = std::move(why);
    for (const auto& [id, call] : std::exchange(calls, {})) call->end(*lost);
    outbox.clear();
    events_changed.notify_all();
    outbox_changed.notify_all();
}

AsyncVoid Qmp::State::read_all() {
    while (!lost) {
        auto line = co_await read_line(stream, kWhat);
        if (!line.ok()) {
            lose(line.take_error());
            break;
        }
        auto message = parse_qmp(*line);
        if (!message.ok()) {
            lose(message.error().with_context(kWhat));
            break;
        }
        take(*std::move(message));
    }
}

AsyncVoid Qmp::State::write_all() {
    while (!lost && !scope.closing()) {
        if (outbox.empty()) {
            co_await outbox_changed.wait();
            continue;
        }
        const std::string line = std::move(outbox.front());
        outbox.pop_front();
        const Result<void> written = co_await write_bytes(stream, line, kWhat);
        if (!written.ok()) lose(written.error());
    }
}

Qmp::Qmp(std::unique_ptr<State> state) : state_(std::move(state)) {}

Qmp::~Qmp() { CHECK(state_->is_closed); }

namespace {

// The greeting, and the answer to qmp_capabilities. Gives the version.
Async<std::string> negotiate(Stream& stream) {
    std::string version;
    CO_TRY(co_await write_bytes(stream, qmp_command("qmp_capabilities", {}, 1), kWhat));
    for (;;) {
        CO_TRY_ASSIGN(const std::string line, co_await read_line(stream, kWhat));
        CO_TRY_ASSIGN(const QmpMessage message, parse_qmp(line));
        if (const auto* greeting = std::get_if<QmpGreeting>(&message)) version = greeting->version;
        if (const auto* answer = std::get_if<QmpAnswer>(&message)) {
            if (!answer->result.ok()) co_return answer->result.error();
            break;
        }
    }
    if (version.empty()) co_return Error(ErrorCode::io, "no greeting of QMP");
    co_return version;
}

struct Opened {
    Stream stream;
    std::string version;
};

Async<Opened> open(std::string socket, QmpOptions options) {
    Stream stream(co_await asio::this_coro::executor,
                  LineRules{.line_bytes_max = options.line_bytes_max});
    CO_TRY(co_await connect_patiently(stream, socket));
    auto version = co_await negotiate(stream);
    if (!version.ok()) co_return version.error().with_context(socket);
    co_return Opened{std::move(stream), *std::move(version)};
}

}  // namespace

Async<std::unique_ptr<Qmp>> Qmp::connect(std::string socket, std::chrono::milliseconds limit,
                                         QmpOptions options) {
    const auto executor = co_await asio::this_coro::executor;
    CO_TRY_ASSIGN(Opened opened, co_await within(limit, socket, open(socket, options)));
    auto state = std::make_unique<State>(executor, std::move(opened.stream), options);
    state->version = std::move(opened.version);
    state->scope.spawn(state->read_all());
    state->scope.spawn(state->write_all());
    co_return std::unique_ptr<Qmp>(new Qmp(std::move(state)));
}

Async<Json> Qmp::call(std::string command, JsonObject arguments, std::chrono::milliseconds limit) {
    State& state = *state_;
    if (state.is_closing) co_return Error(ErrorCode::cancelled, command + ": closing");
    if (state.lost) co_return state.lost->with_context(command);
    if (state.calls.size() >= state.options.calls_max ||
        state.outbox.size() >= state.options.calls_max) {
        co_return Error(ErrorCode::busy, fmt::format("{}: {} commands are under way already",
                                                     command, state.options.calls_max));
    }
    const State::Visit visit(state);
    Call call(co_await asio::this_coro::executor);
    const uint64_t id = ++state.id_last;
    state.calls.emplace(id, &call);
    state.outbox.push_back(qmp_command(command, std::move(arguments), id));
    state.outbox_changed.notify_all();
    call.timer.expires_after(limit);
    const auto [stopped] = co_await call.timer.async_wait(kAwait);
    if (call.answer) {
        if (!call.answer->ok()) co_return call.answer->error().with_context(command);
        co_return *std::move(call.answer);
    }
    state.calls.erase(id);
    if (stopped) co_return failed(command, stopped);
    co_return Error(ErrorCode::timeout, fmt::format("{}: no answer within {:g} s", command,
                                                    std::chrono::duration<double>(limit).count()));
}

Async<QmpEvent> Qmp::next_event() {
    State& state = *state_;
    const State::Visit visit(state);
    while (state.events.empty()) {
        if (state.is_closing) break;
        if (state.lost) co_return *state.lost;
        co_await state.events_changed.wait();
        const auto cancelled = co_await asio::this_coro::cancellation_state;
        if (cancelled.cancelled() != asio::cancellation_type::none) break;
    }
    if (state.events.empty()) co_return Error(ErrorCode::cancelled, "no event any more");
    QmpEvent event = std::move(state.events.front());
    state.events.pop_front();
    co_return event;
}

uint64_t Qmp::events_lost() const { return state_->events_lost; }
bool Qmp::is_connected() const { return !state_->lost && !state_->is_closing; }
const std::string& Qmp::version() const { return state_->version; }

AsyncVoid Qmp::close() {
    State& state = *state_;
    state.is_closing = true;
    state.lose(Error(ErrorCode::cancelled, "the connection was closed"));
    co_await state.scope.close();
    state.stream.close();
    while (state.visitors > 0) co_await state.left.wait();
    state.is_closed = true;
}

}  // namespace stoa::qemu
