// QMP: the protocol by which a running QEMU is asked and told (QEMU's docs/interop/qmp-spec.txt).
//
// A QEMU is not trusted: its guest may have broken out. Whatever it sends, or does not send, ends
// a call with an error within its limit and takes bounded memory (qmp_fuzz.cc).
// QEMU serves one client at a time: a second one waits in connect() until its limit.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "base/json.h"
#include "controlplane/async/async.h"

namespace stoa::qemu {

constexpr std::chrono::milliseconds kQmpLimit{5000};

struct QmpEvent {
    std::string name;  // "SHUTDOWN"
    Json data;         // an object; empty if the event has none
    int64_t time_us = 0;  // since 1970, by QEMU's host; 0: not said
};

struct QmpOptions {
    size_t line_bytes_max = size_t{4} << 20;  // a longer line ends the connection
    size_t events_max = 1024;                 // further ones displace the oldest
    size_t calls_max = 64;                    // in flight; further ones end with `busy`
};

// One connection. One thread. Does not move.
class Qmp {
public:
    // Connects and negotiates; a socket that is not there yet is tried again until `limit`.
    // Errors: timeout (names the socket), io (what is there does not speak QMP).
    static Async<std::unique_ptr<Qmp>> connect(std::string socket,
                                               std::chrono::milliseconds limit = kQmpLimit,
                                               QmpOptions options = {});
    Qmp(const Qmp&) = delete;
    Qmp& operator=(const Qmp&) = delete;
    ~Qmp();  // CHECKs that close() finished.

    // The answer's "return". Calls may overlap. After a `timeout` the command may still be carried
    // out; its late answer is thrown away and the connection goes on.
    // Errors: timeout, io (the connection is lost, or QEMU failed: "COMMAND: what it says"),
    // not_found (QEMU's DeviceNotFound), unsupported (QEMU's CommandNotFound), busy, cancelled.
    Async<Json> call(std::string command, JsonObject arguments = {},
                     std::chrono::milliseconds limit = kQmpLimit);

    // The oldest event not yet taken; waits for one. Whoever waits can be cancelled.
    // Errors: io (the connection is lost and all its events were taken), cancelled.
    Async<QmpEvent> next_event();
    // Events that were displaced: what they said must be asked for (query-status).
    [[nodiscard]] uint64_t events_lost() const;

    [[nodiscard]] bool is_connected() const;
    // Of the greeting, such as "7.2.22".
    [[nodiscard]] const std::string& version() const;

    // Ends the connection and all that wait for it (with `cancelled`). Call once.
    AsyncVoid close();

private:
    struct State;
    explicit Qmp(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace stoa::qemu
