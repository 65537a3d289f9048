// Service: what the server hands each request to, as soon as its head has been read.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/async/async.h"
#include "controlplane/http/route.h"
#include "controlplane/http/stream.h"

namespace stoa::http {

// Who is at the other end.
struct Peer {
    bool is_local = false;  // by the Unix socket; then the kernel says who:
    uint32_t uid = UINT32_MAX;
    uint32_t gid = UINT32_MAX;
    std::vector<uint32_t> groups = {};  // besides gid
    int32_t pid = 0;
    std::string address = {};  // "unix", "127.0.0.1", "::1"
};

// Of a request, as it was sent.
struct Head {
    std::string method = {};
    std::string target = {};  // path and query, still encoded
    std::map<std::string, std::string, std::less<>> headers = {};  // names in lower case
    bool wants_upgrade = false;  // to a WebSocket
    bool has_body = false;
    Peer peer = {};

    [[nodiscard]] std::string header(std::string_view name) const;  // empty: none
};

// One request while it is served. Belongs to the server.
class Exchange {
public:
    Exchange() = default;
    Exchange(const Exchange&) = delete;
    Exchange& operator=(const Exchange&) = delete;
    virtual ~Exchange() = default;

    [[nodiscard]] virtual const Head& head() const = 0;
    // The whole body; empty if there is none. Once, instead of stream().
    // Errors: out_of_range (longer than `bytes_max`), timeout, io (cut short), cancelled.
    virtual Async<std::string> body(uint64_t bytes_max) = 0;
    // The body as it arrives; lives as long as the exchange.
    virtual ByteSource& stream(uint64_t bytes_max) = 0;
    // Makes a WebSocket of it and runs `live` on that until both are over; then nothing is
    // answered. Errors: invalid_argument (the request is no upgrade), io (the client left).
    virtual Async<> upgrade(const Live& live, const Request& request) = 0;
};

class Service {
public:
    Service() = default;
    Service(const Service&) = delete;
    Service& operator=(const Service&) = delete;
    virtual ~Service() = default;
    // Always an answer, errors as problem(). Not used after an upgrade().
    virtual asio::awaitable<Response> handle(Exchange& exchange) = 0;
};

}  // namespace stoa::http
