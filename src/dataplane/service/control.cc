#include "dataplane/service/control.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "rpc/json_rpc.h"

namespace stoa::service {

// One connection: a reader, a writer, and the calls that run.
class Control::Client {
public:
    Client(io::Reactor& reactor, Service& service, io::Socket& socket)
        : service_(service), socket_(socket), calls_(reactor), outgoing_(reactor),
          call_ended_(reactor) {}
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    ~Client() {
        if (subscription_ != 0) service_.events().unsubscribe(subscription_);
    }

    io::Task<void> run(io::Reactor& reactor) {
        io::TaskGroup writer(reactor);
        writer.spawn(write());
        co_await read();
        co_await calls_.join();
        ended_ = true;
        outgoing_.notify_all();
        co_await writer.join();
    }
    void cut() { socket_.shut_down(); }

private:
    io::Task<void> read() {
        std::string line;
        std::vector<std::byte> buffer(64 * 1024);
        while (true) {
            const auto got = co_await socket_.read_some(buffer);
            if (!got.ok() || *got == 0) co_return;
            std::string_view rest(reinterpret_cast<const char*>(buffer.data()), *got);
            for (size_t end = rest.find('\n'); end != std::string_view::npos;
                 end = rest.find('\n')) {
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

    void take(const std::string& line) {
        rpc::Parsed parsed = rpc::parse_request(line);
        if (!parsed.request) return send(rpc::malformed_line(parsed.malformed));
        calls_.spawn(call(*std::move(parsed.request)));
    }

    io::Task<void> call(rpc::Request request) {
        std::string answer;
        if (request.method == "events.subscribe") {
            subscribe();
            answer = rpc::result_line(request.id, JsonObject());
        } else if (const Method* method = service_.find(request.method); method == nullptr) {
            answer = rpc::unknown_method_line(request.id, request.method);
        } else {
            const auto result = co_await (*method)(std::move(request.params));
            answer = result.ok() ? rpc::result_line(request.id, *result)
                                 : rpc::error_line(request.id, result.error());
        }
        if (!request.is_notification) send(answer);
        call_ended_.notify_all();
    }

    void subscribe() {
        if (subscription_ != 0) return;
        subscription_ = service_.events().subscribe([this](const rpc::Event& event) {
            send(rpc::notification_line("event", to_json(event)));
        });
    }

    void send(std::string_view line) {
        queued_ += line;
        // Whoever does not read does not get the daemon's memory.
        if (queued_.size() > kQueuedBytesMax) socket_.shut_down();
        outgoing_.notify_all();
    }

    io::Task<void> write() {
        while (true) {
            while (queued_.empty() && !ended_) co_await outgoing_.wait();
            if (queued_.empty()) break;
            const std::string sending = std::exchange(queued_, {});
            const auto written = co_await io::write_all(socket_, std::as_bytes(std::span(sending)));
            if (!written.ok()) socket_.shut_down();
        }
        socket_.shut_down();
    }

    Service& service_;
    io::Socket& socket_;
    io::TaskGroup calls_;
    io::Condition outgoing_;
    io::Condition call_ended_;
    std::string queued_;
    uint64_t subscription_ = 0;
    bool ended_ = false;
};

Control::Control(io::Reactor& reactor, Service& service)
    : reactor_(reactor), service_(service), tasks_(reactor) {}

Control::~Control() { CHECK(clients_.empty()); }

Result<void> Control::start() {
    io::Address address;
    address.path = service_.control_path();
    TRY_ASSIGN(listener_, io::Listener::open(reactor_, address));
    tasks_.spawn(accept_clients());
    return {};
}

io::Task<void> Control::accept_clients() {
    while (!stopping_) {
        auto client = co_await listener_->accept();
        if (!client.ok() && !stopping_) co_await reactor_.sleep_ns(100'000'000);
        if (!client.ok() || clients_.size() >= kClientsMax) continue;
        const auto who = (*client)->credentials();
        // The file's mode says the same; that somebody loosens it must not suffice.
        const bool allowed = who.ok() && (who->uid == 0 || who->uid == ::geteuid());
        if (allowed) tasks_.spawn(attend(*std::move(client)));
    }
}

io::Task<void> Control::attend(std::unique_ptr<io::Socket> socket) {
    Client client(reactor_, service_, *socket);
    clients_.push_back(&client);
    co_await client.run(reactor_);
    std::erase(clients_, &client);
}

io::Task<void> Control::stop() {
    stopping_ = true;
    if (listener_ != nullptr) listener_->shut_down();
    for (Client* client : clients_) client->cut();
    co_await tasks_.join();
}

}  // namespace stoa::service
