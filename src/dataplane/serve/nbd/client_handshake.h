// The client's part of the handshake: fixed newstyle (proto.md, "Handshake phase").
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/io/stream.h"
#include "dataplane/io/task.h"
#include "dataplane/io/tls.h"
#include "dataplane/serve/nbd/wire.h"

namespace stoa::nbd {

struct ClientWishes {
    std::string export_name;
    io::TlsContext* tls = nullptr;  // nullptr: in the clear
    std::vector<std::string> contexts;
};

// What a server says of an export and of itself.
struct Offer {
    uint64_t size_bytes = 0;
    uint16_t flags = 0;  // transmission flags
    std::string name;    // as the server calls it; empty: it does not say
    uint32_t block_bytes_min = 1;
    uint32_t block_bytes_max = kPayloadBytesMax;  // of a read or write
    bool structured_replies = false;
    std::vector<std::optional<uint32_t>> context_ids;  // by place in the wishes; nullopt: unknown

    [[nodiscard]] bool has(uint16_t flag) const { return (flags & flag) != 0; }
};

struct Chosen {
    Offer offer;
    std::unique_ptr<io::Stream> stream;
};

// Until the export is chosen. `in_use` is told of each stream that comes into use (again with
// TLS), and of none (nullptr) when it has ended, so that the caller can shut it down.
// Errors: io (also: breaks the protocol), not_found (no such export), unsupported (what we or the
// server cannot do), invalid_argument (TLS is wanted by one side only), cancelled.
io::Task<Result<Chosen>> choose_export(io::Executor& executor, std::unique_ptr<io::Stream> stream,
                                       const ClientWishes& wishes,
                                       std::function<void(io::Stream*)> in_use);

// A text from a server for our messages: short and printable.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace stoa::nbd
