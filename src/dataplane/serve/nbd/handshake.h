// The server's part of the handshake: fixed newstyle (proto.md, "Handshake phase").
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/io/stream.h"
#include "dataplane/io/task.h"
#include "dataplane/serve/nbd/export.h"

namespace stoa::nbd {

// Makes a stream encrypted: the server's side of TLS.
class TlsUpgrade {
public:
    virtual ~TlsUpgrade() = default;
    // Errors: io (no handshake of TLS), cancelled.
    virtual io::Task<Result<std::unique_ptr<io::Stream>>> encrypt(
        std::unique_ptr<io::Stream> plain) = 0;
};

struct HandshakeOptions {
    TlsUpgrade* tls = nullptr;  // nullptr: none offered
    bool tls_required = false;  // everything but STARTTLS and ABORT is refused before it
    uint32_t options_max = 256;  // a client that sends more is cut
};

// A metadata context that the client has chosen; its id is its place in the list + 1.
struct ChosenContext {
    std::string name;
    std::unique_ptr<Context> context;  // nullptr: base:allocation
};

struct Negotiated {
    Export* exported = nullptr;  // nullptr: the client has left without choosing one
    uint64_t size_bytes = 0;     // as it was told
    bool structured_replies = false;
    std::vector<ChosenContext> contexts;
    std::unique_ptr<io::Stream> stream;
};

// Until the client has chosen an export or left. `cut` is told of each stream that comes into use
// (again after STARTTLS), so that its owner can shut it down.
// Errors: io, invalid_argument (no NBD client; too many or too long options), cancelled.
io::Task<Result<Negotiated>> shake_hands(std::unique_ptr<io::Stream> stream,
                                         const ExportTable& exports, HandshakeOptions options,
                                         std::function<void(io::Stream*)> in_use);

// What the export can do, as the transmission flags say it.
[[nodiscard]] uint16_t transmission_flags(const Export& exported, bool structured_replies);

}  // namespace stoa::nbd
