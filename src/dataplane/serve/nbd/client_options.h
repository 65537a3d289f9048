// What a client is told when it is opened.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/io/socket.h"
#include "dataplane/io/tls.h"

namespace stoa::nbd {

struct ClientOptions {
    io::Address address = {};
    std::string export_name = {};
    // Outlives the client. Given: the server must speak TLS too. nullptr: in the clear.
    io::TlsContext* tls = nullptr;
    // Metadata contexts besides base:allocation; a server need not know them.
    std::vector<std::string> contexts = {};
    bool read_only = false;  // false: an export that is read-only is refused
    // The server never forgets what it has acknowledged, even if it is killed (as stoa-blockd).
    bool server_keeps_acknowledged = false;
    // How long requests are held while the server is away, counted from when it went; then they
    // fail at once until it is back. 0: never held.
    uint64_t hold_ns = 60'000'000'000;
    uint64_t backoff_min_ns = 50'000'000;  // between attempts to connect
    uint64_t backoff_max_ns = 2'000'000'000;
    uint64_t connect_timeout_ns = 5'000'000'000;  // each: to connect, to shake hands
    // A server that leaves a request without an answer for so long is taken for lost.
    uint64_t request_timeout_ns = 30'000'000'000;
    uint32_t in_flight_max = 64;  // at most 4096; further requests wait
    uint32_t request_bytes_max = 32u << 20;  // bigger ones are split; at least 64 KiB
};

// Makes connections to one server.
class Connector {
public:
    virtual ~Connector() = default;
    // Ends within the time that it was made with. Errors: any.
    virtual io::Task<Result<std::unique_ptr<io::Stream>>> connect() = 0;
};

}  // namespace stoa::nbd
