// Server: HTTP/1.1 (RFC 9112) and WebSocket (RFC 6455) on a Unix socket and on TCP with TLS.
//
// Slow, silent, greedy and broken clients cost one connection each and no more: heads and bodies
// are limited in size and time, connections in number. server_test.cc shows each.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "controlplane/async/async.h"
#include "controlplane/http/service.h"
#include "controlplane/http/tls.h"

namespace stoa::http {

struct ServerOptions {
    size_t connections_max = 512;  // further ones wait in the kernel's queue
    uint32_t head_bytes_max = 16u << 10;
    size_t socket_queue_bytes_max = 1u << 20;    // what waits for a WebSocket's client
    size_t socket_message_bytes_max = 1u << 20;  // from a WebSocket's client
    std::chrono::milliseconds handshake_limit{5'000};    // of TLS
    std::chrono::milliseconds head_limit{10'000};  // from the first byte of a head to its end
    std::chrono::milliseconds idle_limit{120'000};  // between requests
    std::chrono::milliseconds transfer_limit{20'000};  // for each piece of a body, either way
    std::chrono::milliseconds ping_limit{30'000};  // a WebSocket's client that is silent
    std::chrono::milliseconds close_limit{5'000};  // for requests that run when it closes
    // Whether clients of other machines are served; asked at listen_tcp() and for each of them.
    // None: never.
    std::function<bool()> remote_allowed = {};
};

// One thread. `service` outlives it.
class Server {
public:
    static std::unique_ptr<Server> create(asio::any_io_executor executor, Service& service,
                                          ServerOptions options);
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    ~Server();  // CHECKs that close() finished.

    // Replaces what is at `path` (at most 107 bytes) with a socket of mode 0660, of group `group`
    // if there is one of that name, in one step: whoever connects finds the old one or the new.
    // Errors: io, invalid_argument (path).
    Result<void> listen_unix(const std::string& path, const std::string& group = "stoa");
    // Port 0: the kernel chooses. Replaces the TCP listener that is there. Gives the port.
    // Errors: denied (an address of other machines while these are not allowed), invalid_argument
    // (not an IP address), io (in use).
    Result<uint16_t> listen_tcp(const std::string& address, uint16_t port,
                                std::shared_ptr<const TlsContext> tls);
    // For connections from now on; those that are open go on.
    void set_tls(std::shared_ptr<const TlsContext> tls);
    [[nodiscard]] uint16_t tcp_port() const;  // 0: none

    [[nodiscard]] size_t connections() const;

    // Listens no more, ends idle connections and WebSockets (1001) at once and the others after
    // their request, or after `close_limit`. Call once.
    AsyncVoid close();

private:
    struct State;
    explicit Server(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace stoa::http
