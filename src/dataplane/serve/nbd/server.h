// An NBD server on one socket: listens, shakes hands, and serves each client in a session.
//
// Behaviour: server_test.cc; bytes: docs in wire.h.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/io/socket.h"
#include "dataplane/io/sync.h"
#include "dataplane/serve/nbd/session.h"

namespace stoa::nbd {

struct ServerOptions {
    HandshakeOptions handshake;
    uint32_t connections_max = 256;  // further ones are closed at once
    uint64_t handshake_ns = 10'000'000'000;  // then a client that has not chosen is cut off
};

// Lives on one executor. stop() has ended before it is destroyed.
class Server {
public:
    // `exports` and `buffers` outlive it.
    Server(io::Executor& executor, const ExportTable& exports, Buffers& buffers,
           ServerOptions options = {});
    Server(const Server&) = delete;
    Server& operator=(const Server&) = delete;
    ~Server();

    // Accepts on `listener` from now on.
    void start(std::unique_ptr<io::Listener> listener);
    // Serves one connection that was made elsewhere.
    void serve(std::unique_ptr<io::Stream> stream);
    // No new connections; those there are cut off: none of their requests reaches the volume any
    // more. Resolves when all that was in flight has ended.
    io::Task<void> stop();

    [[nodiscard]] const Counters& counters() const { return counters_; }
    [[nodiscard]] const OperationTrace& trace() const { return trace_; }
    // Of the listener; the real port.
    [[nodiscard]] const io::Address& address() const { return listener_->address(); }

private:
    struct Connection;

    io::Task<void> accept_clients();
    io::Task<void> attend(std::unique_ptr<io::Stream> stream);
    io::Task<void> watch();

    io::Executor& executor_;
    const ExportTable& exports_;
    Buffers& buffers_;
    const ServerOptions options_;
    Counters counters_;
    OperationTrace trace_;
    std::unique_ptr<io::Listener> listener_;
    std::vector<Connection*> connections_;
    io::TaskGroup tasks_;
    io::Condition to_watch_;
    io::Condition left_;  // a connection has ended
    uint32_t next_number_ = 1;
    bool stopping_ = false;
};

}  // namespace stoa::nbd
