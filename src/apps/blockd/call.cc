// The client of the control socket.
#include <fmt/format.h>

#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "apps/blockd/commands.h"
#include "apps/blockd/output.h"
#include "dataplane/io/reactor.h"
#include "dataplane/io/socket.h"
#include "rpc/json_rpc.h"

namespace stoa::apps::blockd {

namespace {

constexpr uint64_t kConnectNs = 5'000'000'000;

int fail(const Error& error, int code) {
    put(stderr, fmt::format("stoa-blockd: {}\n", error.message()));
    return code;
}

// Results that are nothing but a text are printed as it is.
bool print(const Json& result) {
    const JsonObject* object = result.if_object();
    const Json* text =
        object != nullptr && object->size() == 1 ? object->if_contains("text") : nullptr;
    if (text != nullptr && text->is_string()) {
        return put(stdout, std::string_view(text->get_string()));
    }
    return put(stdout, to_pretty_text(result) + '\n');
}

class Connection {
public:
    static Result<Connection> open(io::Reactor& reactor, const std::string& root) {
        io::Address address;
        address.path = root + "/blockd/control.socket";
        TRY_ASSIGN(auto socket, reactor.run(io::Socket::connect(reactor, address, kConnectNs)));
        return Connection(reactor, std::move(socket));
    }

    Result<void> send(const std::string& method, const Json& params) {
        const std::string line = rpc::request_line(method, params, 1);
        return reactor_->run(io::write_all(*socket_, std::as_bytes(std::span(line))));
    }
    Result<rpc::Message> receive() {
        while (true) {
            const size_t end = buffered_.find('\n');
            if (end != std::string::npos) {
                const std::string line = buffered_.substr(0, end);
                buffered_.erase(0, end + 1);
                return rpc::parse_message(line);
            }
            std::vector<std::byte> piece(64 * 1024);
            TRY_ASSIGN(const size_t got, reactor_->run(socket_->read_some(piece)));
            if (got == 0) return Error(ErrorCode::io, "the daemon has hung up");
            buffered_.append(reinterpret_cast<const char*>(piece.data()), got);
        }
    }

private:
    Connection(io::Reactor& reactor, std::unique_ptr<io::Socket> socket)
        : reactor_(&reactor), socket_(std::move(socket)) {}
    io::Reactor* reactor_;
    std::unique_ptr<io::Socket> socket_;
    std::string buffered_;
};

}  // namespace

int call(const std::string& root, const std::string& method, const std::string& params) {
    const auto json = parse_json(params);
    if (!json.ok()) return fail(json.error(), kFailed);
    auto reactor = io::Reactor::create();
    if (!reactor.ok()) return fail(reactor.error(), kFailed);
    auto connection = Connection::open(**reactor, root);
    if (!connection.ok()) return fail(connection.error(), kNoDaemon);
    const auto sent = connection->send(method, *json);
    if (!sent.ok()) return fail(sent.error(), kNoDaemon);
    while (true) {
        const auto message = connection->receive();
        if (!message.ok()) return fail(message.error(), kNoDaemon);
        if (message->is_notification) continue;
        if (!message->result.ok()) return fail(message->result.error(), kRefused);
        return print(*message->result) ? kDone : kFailed;
    }
}

int follow_events(const std::string& root) {
    auto reactor = io::Reactor::create();
    if (!reactor.ok()) return fail(reactor.error(), kFailed);
    auto connection = Connection::open(**reactor, root);
    if (!connection.ok()) return fail(connection.error(), kNoDaemon);
    const auto sent = connection->send("events.subscribe", JsonObject());
    if (!sent.ok()) return fail(sent.error(), kNoDaemon);
    while (true) {
        const auto message = connection->receive();
        if (!message.ok()) return fail(message.error(), kNoDaemon);
        if (!message->is_notification) continue;
        if (!put(stdout, to_text(message->params) + '\n')) return kFailed;
    }
}

}  // namespace stoa::apps::blockd
