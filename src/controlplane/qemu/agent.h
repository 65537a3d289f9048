// The guest agent: what a program inside the guest does for us (qemu-ga, QEMU's
// docs/interop/qemu-ga-ref).
//
// The guest is not trusted: any answer, or none, ends a call within its limit and takes bounded
// memory (agent_fuzz.cc). A call synchronizes first (0xFF, guest-sync-delimited with a fresh
// number) when it is the first of a connection or the one before it did not end well; so the late
// answer to a call that was given up, or what an agent sent before it restarted, is never taken
// for another's. One call at a time; others wait their turn within their limits.
//
// The agent's channel has one client at a time: the connection is made by the first call and kept.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"
#include "controlplane/async/async.h"

namespace stoa::qemu {

constexpr std::chrono::milliseconds kAgentLimit{5000};

struct AgentOptions {
    size_t answer_bytes_max = size_t{12} << 20;  // a longer one ends its call with out_of_range
    size_t calls_max = 32;                       // waiting; further ones end with `busy`
    // Numbers for synchronizing; must differ from run to run. Called for each.
    std::function<uint64_t()> random;
};

// One thread. Does not move.
class Agent {
public:
    // Connects to nothing yet. `socket`: agent_socket() of the VM.
    Agent(asio::any_io_executor executor, std::string socket, AgentOptions options);
    Agent(const Agent&) = delete;
    Agent& operator=(const Agent&) = delete;
    ~Agent();  // CHECKs that close() finished.

    // The answer's "return".
    // Errors: timeout (no agent runs, or it is busy: it may have been done or not), unsupported
    // (the agent lacks the command), busy (the guest's file systems are frozen; or calls_max),
    // out_of_range (answer too long), io (the agent says no, QEMU has gone, or the answer is none),
    // cancelled. What the guest says is cut to 200 characters and cleaned of control characters.
    Async<Json> call(std::string command, JsonObject arguments = {},
                     std::chrono::milliseconds limit = kAgentLimit);
    // For commands that have no answer when they succeed (guest-shutdown): sends it within `limit`,
    // and then waits for a second whether the agent refuses. Errors as of call().
    Async<> tell(std::string command, JsonObject arguments = {},
                 std::chrono::milliseconds limit = kAgentLimit);

    // Gives up what runs (cancelled) and disconnects. Call once.
    AsyncVoid close();

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace stoa::qemu
