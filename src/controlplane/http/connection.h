// Connection: one client, request after request.
#pragma once

#include <cstdint>
#include <memory>

#include "controlplane/async/async.h"
#include "controlplane/http/server.h"
#include "controlplane/http/service.h"
#include "controlplane/http/tls.h"

namespace stoa::http {

class Transport;
class WebSocket;

// Does not move. Lives as long as run().
class Connection {
public:
    Connection(Transport& transport, Peer peer, Service& service, const ServerOptions& options)
        : transport_(transport), peer_(std::move(peer)), service_(service), options_(options) {}
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
    ~Connection() = default;

    // Until the client leaves or breaks a rule, or finish() was called.
    AsyncVoid run();
    // Ends it after the request that runs, at once if none does; a WebSocket by 1001.
    void finish();

private:
    friend class HttpExchange;
    enum class Phase : uint8_t { handshake, idle, request, socket };

    Transport& transport_;
    Peer peer_;
    Service& service_;
    const ServerOptions& options_;
    Phase phase_ = Phase::handshake;
    bool finishing_ = false;
    WebSocket* socket_ = nullptr;
};

}  // namespace stoa::http
