// A WebSocket (RFC 6455) to the control plane: events, and the consoles of guests.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "client/client.h"

namespace stoa::client {

// How a relay ended.
enum class RelayEnd : uint8_t {
    left,         // the filter said so, or the input ended and the other side was quiet for 1 s
    closed,       // the other side said that it is over
    lost,         // the connection broke
    interrupted,  // SIGINT or SIGTERM
};

// What is to be sent of what was typed; none: leave.
using KeyFilter = std::function<std::optional<std::string>(std::string_view typed)>;

class WebSocket {
public:
    WebSocket(const WebSocket&) = delete;
    WebSocket& operator=(const WebSocket&) = delete;
    virtual ~WebSocket() = default;

    // The next message. Errors: gone (closed with 4410: what was to be continued is forgotten),
    // cancelled (interrupted, or closed with 1000), io, timeout.
    virtual Result<std::string> receive(std::chrono::milliseconds limit) = 0;
    // From the descriptor `input` (-1: none) to the other side, and from there to `output`, until
    // one of them ends. Errors: those of `output`.
    virtual Result<RelayEnd> relay(int input, const KeyFilter& filter, const Sink& output) = 0;
    // Why the other side closed it; empty if it gave no reason.
    [[nodiscard]] virtual std::string close_reason() const = 0;

protected:
    WebSocket() = default;
};

}  // namespace stoa::client
