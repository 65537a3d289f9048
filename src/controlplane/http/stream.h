// What passes piece by piece: bytes of a body, messages of a WebSocket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "controlplane/async/async.h"

namespace stoa::http {

// Bytes that come in order, once. One reader.
class ByteSource {
public:
    ByteSource() = default;
    ByteSource(const ByteSource&) = delete;
    ByteSource& operator=(const ByteSource&) = delete;
    virtual ~ByteSource() = default;
    // At least one byte, at most as many as `into` takes (at least one); 0 at the end.
    // Errors: out_of_range (more than the route allows), io (cut short), timeout, cancelled.
    virtual Async<size_t> read(std::span<std::byte> into) = 0;
};

struct Message {
    bool is_text = false;  // then it is UTF-8
    std::string data = {};
};

// Close codes of RFC 6455, 7.4, and ours.
enum class CloseCode : uint16_t {
    normal = 1000,
    going_away = 1001,
    policy = 1008,
    too_big = 1009,
    failed = 1011,
    resume_gone = 4410,  // what the watch was to go on from is forgotten: begin anew
};

// A WebSocket that a client opened (RFC 6455). Pings are answered, and a client that does not
// answer ours is dropped, without help of who uses it. One reader; several senders.
class Socket {
public:
    Socket() = default;
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    virtual ~Socket() = default;

    // Waits as long as more than the queue's limit (ServerOptions) is on its way.
    // Errors: cancelled (the socket is closed).
    virtual Async<> send(Message message) = 0;
    // Without waiting. Errors: no_space (the queue is full: nothing was sent), cancelled.
    virtual Result<void> try_send(Message message) = 0;
    // The next message. While nobody receives, the client is slowed down.
    // Errors: cancelled (closed by either side).
    virtual Async<Message> receive() = 0;
    // Sends what is queued, then closes; the first call counts. `reason` up to 123 bytes.
    virtual void close(CloseCode code, std::string_view reason) = 0;
    [[nodiscard]] virtual bool is_closed() const = 0;
};

}  // namespace stoa::http
