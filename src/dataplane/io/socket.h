// Stream sockets through a reactor's ring: Unix and TCP, client and server side.
//
// Behaviour on real sockets: socket_test.cc.
#pragma once

#include <sys/socket.h>
#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "dataplane/io/file_descriptor.h"
#include "dataplane/io/reactor.h"
#include "dataplane/io/stream.h"
#include "dataplane/io/sync.h"

namespace stoa::io {

// Where a socket listens. Text: "unix:/run/a.socket", "tcp:127.0.0.1:10809", "tcp:[::1]:10809".
// Hosts are numbers; "localhost" is 127.0.0.1. Port 0: one that is free.
struct Address {
    std::string path;   // of a Unix socket, at most 107 bytes; empty: TCP
    std::string host;
    uint16_t port = 0;

    // Errors: invalid_argument.
    static Result<Address> parse(std::string_view text);
    [[nodiscard]] std::string to_string() const;
    friend bool operator==(const Address&, const Address&) = default;
};

struct PeerCredentials {
    uid_t uid = 0;
    gid_t gid = 0;
    pid_t pid = 0;
};

// TCP without delay. A peer from which nothing comes for a minute, not even that it lives or that
// it takes some of what it is sent, is cut off: io.
class Socket final : public Stream, private RingClient {
public:
    // Errors: io (refused, unreachable), not_found (no such Unix socket),
    // busy (not connected within `timeout_ns`), invalid_argument.
    static Task<Result<std::unique_ptr<Socket>>> connect(Reactor& reactor, Address address,
                                                         uint64_t timeout_ns);
    // Takes a connected stream socket.
    Socket(Reactor& reactor, FileDescriptor file, std::string peer);
    Socket(const Socket&) = delete;
    Socket& operator=(const Socket&) = delete;
    ~Socket() override;  // CHECKs that nothing is in flight

    Task<Result<size_t>> read_some(MutableBytes into) override;
    Task<Result<void>> write(std::span<ConstBytes> parts) override;
    void shut_down() override;
    Task<void> hung_up() override;
    [[nodiscard]] const std::string& peer() const override { return peer_; }

    // Of a Unix socket's other end, when it connected. Errors: io.
    [[nodiscard]] Result<PeerCredentials> credentials() const;

private:
    struct Operation;
    void complete(void* item, int result) override;

    Reactor& reactor_;
    FileDescriptor file_;
    const std::string peer_;
    const uint16_t client_;
    uint32_t in_flight_ = 0;
    bool shut_down_ = false;
};

struct ListenOptions {
    mode_t mode = 0600;                  // of a Unix socket
    std::optional<uid_t> owner;          // of a Unix socket; needs root unless it is one's own
    std::optional<gid_t> group;
    int backlog = 128;
    // Of a Unix socket: whoever listens there has no right to; as a process that was killed, whose
    // sockets live a moment longer.
    bool takes_over = false;
    // Keeps descriptors for everything else in the process: who would take one of the last 32 (or
    // of the last quarter, if that is less) is turned away.
    bool spares_descriptors = false;
};

class Listener final : private RingClient {
public:
    // A Unix socket appears at its path only when it listens, with its owner and mode, in place of
    // a dead one. Errors: in_use (somebody listens there; the path is no socket),
    // not_found (no such directory), invalid_argument, io.
    static Result<std::unique_ptr<Listener>> open(Reactor& reactor, Address address,
                                                  ListenOptions options = {});
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    ~Listener();  // Removes a Unix socket if it is still this one. CHECKs that accept() has ended.

    // One at a time. Waits while there is no descriptor. Errors: cancelled (after shut_down()),
    // busy (a client was turned away), io.
    Task<Result<std::unique_ptr<Socket>>> accept();
    // accept() ends soon.
    void shut_down();
    // The real port.
    [[nodiscard]] const Address& address() const { return address_; }

private:
    struct Operation;
    Listener(Reactor& reactor, FileDescriptor file, Address address, bool spares_descriptors);
    void complete(void* item, int result) override;

    Reactor& reactor_;
    FileDescriptor file_;
    Address address_;
    const uint16_t client_;
    const bool spares_descriptors_;
    dev_t device_ = 0;  // of the Unix socket's file
    ino_t inode_ = 0;
    bool accepting_ = false;
    bool shut_down_ = false;
};

}  // namespace stoa::io
