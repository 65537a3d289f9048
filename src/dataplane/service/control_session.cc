#include "dataplane/service/control_session.h"

#include <fmt/format.h>

#include <span>
#include <utility>
#include <vector>

namespace stoa::service {

ControlSession::ControlSession(io::Executor& executor, Find find, Events& events,
                               io::Stream& stream)
    : find_(std::move(find)), events_(events), stream_(stream), calls_(executor), writer_(executor),
      outgoing_(executor), call_ended_(executor) {}

ControlSession::~ControlSession() {
    if (subscription_ != 0) events_.unsubscribe(subscription_);
}

io::Task<void> ControlSession::run() {
    writer_.spawn(write());
    co_await read();
    co_await calls_.join();
    ended_ = true;
    outgoing_.notify_all();
    co_await writer_.join();
}

io::Task<void> ControlSession::read() {
    std::string line;
    std::vector<std::byte> buffer(64 * 1024);
    while (true) {
        const auto got = co_await stream_.read_some(buffer);
        if (!got.ok() || *got == 0) co_return;
        std::string_view rest(reinterpret_cast<const char*>(buffer.data()), *got);
        for (size_t end = rest.find('\n'); end != std::string_view::npos; end = rest.find('\n')) {
            line += rest.substr(0, end);
            rest.remove_prefix(end + 1);
            while (calls_.running() >= kCallsMax) co_await call_ended_.wait();
            if (!line.empty()) take(std::exchange(line, {}));
        }
        line += rest;
        if (line.size() > rpc::kLineBytesMax) {
            send(rpc::malformed_line(
                {-32600, fmt::format("request: longer than {} bytes", rpc::kLineBytesMax),
                 nullptr}));
            co_return;
        }
    }
}

void ControlSession::take(const std::string& line) {
    rpc::Parsed parsed = rpc::parse_request(line);
    if (!parsed.request) return send(rpc::malformed_line(parsed.malformed));
    calls_.spawn(call(*std::move(parsed.request)));
}

io::Task<void> ControlSession::call(rpc::Request request) {
    std::string answer;
    if (request.method == "events.subscribe") {
        subscribe();
        answer = rpc::result_line(request.id, JsonObject());
    } else if (const Method* method = find_(request.method); method == nullptr) {
        answer = rpc::unknown_method_line(request.id, request.method);
    } else {
        const auto result = co_await (*method)(std::move(request.params));
        answer = result.ok() ? rpc::result_line(request.id, *result)
                             : rpc::error_line(request.id, result.error());
    }
    if (!request.is_notification) send(answer);
    call_ended_.notify_all();
}

void ControlSession::subscribe() {
    if (subscription_ != 0) return;
    subscription_ = events_.subscribe(
        [this](const rpc::Event& event) { send(rpc::notification_line("event", to_json(event))); });
}

void ControlSession::send(std::string_view line) {
    // Whoever does not read does not get the daemon's memory. One answer may be longer than that.
    if (queued_.size() > kQueuedBytesMax) return stream_.shut_down();
    queued_ += line;
    outgoing_.notify_all();
}

io::Task<void> ControlSession::write() {
    while (true) {
        while (queued_.empty() && !ended_) co_await outgoing_.wait();
        if (queued_.empty()) break;
        const std::string sending = std::exchange(queued_, {});
        const auto written = co_await io::write_all(stream_, std::as_bytes(std::span(sending)));
        if (!written.ok()) stream_.shut_down();
    }
    stream_.shut_down();
}

}  // namespace stoa::service
