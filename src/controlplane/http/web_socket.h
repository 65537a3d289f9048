// WebSocket: a Socket on Beast. Reads ahead a little, so that pings and the client's leaving are
// noticed while nobody receives.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>

#include "controlplane/async/async.h"
#include "controlplane/http/service.h"
#include "controlplane/http/stream.h"

namespace stoa::http {

class Transport;

struct WebSocketOptions {
    size_t queue_bytes_max = 1u << 20;
    size_t message_bytes_max = 1u << 20;
    std::chrono::milliseconds ping_limit{30'000};
    std::chrono::milliseconds handshake_limit{5'000};
};

// Does not move. Destroy it after run().
class WebSocket : public Socket {
public:
    static std::unique_ptr<WebSocket> create(Transport& transport, WebSocketOptions options);
    // Answers the upgrade request `head`. Errors: io, invalid_argument.
    virtual Async<> shake_hands(const Head& head) = 0;
    // Runs `live` until it and the socket are over. Call once, after shake_hands().
    virtual AsyncVoid run(const Live& live, const Request& request) = 0;
};

}  // namespace stoa::http
