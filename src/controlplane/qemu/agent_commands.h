// What we ask of guest agents, with types. Errors are those of Agent::call, and io for an answer
// that is not as documented.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "controlplane/async/async.h"
#include "controlplane/qemu/agent.h"

namespace stoa::qemu {

Async<> ping(Agent& agent, std::chrono::milliseconds limit = kAgentLimit);

// Freezes the mounted file systems: the guest's programs wait when they write. Gives their number.
// A limit that passes leaves it open whether they are frozen: thaw then.
Async<uint32_t> freeze(Agent& agent, std::chrono::milliseconds limit);
Async<uint32_t> thaw(Agent& agent, std::chrono::milliseconds limit);
Async<bool> is_frozen(Agent& agent);

enum class Shutdown : uint8_t { power_off, reboot, halt };
// Asks the guest; success means that it did not refuse.
Async<> shutdown(Agent& agent, Shutdown kind, std::chrono::milliseconds limit = kAgentLimit);

struct AgentExec {
    std::string path;  // in the guest; searched in its PATH
    std::vector<std::string> arguments;
    std::map<std::string, std::string> environment;  // empty: the agent's own
    std::string input;                               // bytes for its standard input
    std::chrono::milliseconds limit{60'000};
    size_t output_bytes_max = size_t{1} << 20;  // of each output; the rest is cut
};
struct AgentExecResult {
    int32_t exit_code = 0;
    int32_t signal = 0;  // that ended it; 0: none
    std::string output;  // bytes
    std::string error_output;
    bool is_cut = false;
};
// Runs a program and waits for its end. Errors besides: timeout (it still runs in the guest),
// out_of_range (it wrote more than the agent's answer may hold, about 8 MiB), invalid_argument.
Async<AgentExecResult> exec(Agent& agent, AgentExec what);
// The two halves of it.
Async<int64_t> exec_start(Agent& agent, AgentExec what);
struct AgentExecStatus {
    bool has_exited = false;
    AgentExecResult result;
};
Async<AgentExecStatus> exec_status(Agent& agent, int64_t pid, size_t output_bytes_max);

// Files of the guest. Handles are the agent's, and end with it.
constexpr uint32_t kAgentFileChunkBytes = 256u << 10;
enum class FileMode : uint8_t { read, write };  // write: made or emptied
struct FileChunk {
    std::string bytes;
    bool is_end = false;
};
Async<int64_t> file_open(Agent& agent, std::string path, FileMode mode);
// At most `bytes_max` (up to kAgentFileChunkBytes); fewer only at the end.
Async<FileChunk> file_read(Agent& agent, int64_t handle, uint32_t bytes_max = kAgentFileChunkBytes);
// All of `bytes` (at most kAgentFileChunkBytes).
Async<> file_write(Agent& agent, int64_t handle, std::string bytes);
Async<> file_close(Agent& agent, int64_t handle);
// Whole files, through memory. pull: out_of_range if it is longer than `bytes_max`.
Async<std::string> pull(Agent& agent, std::string path, size_t bytes_max);
Async<> push(Agent& agent, std::string path, std::string bytes);

struct GuestAddress {
    std::string address;
    uint32_t prefix_bits = 0;
    bool is_ipv6 = false;
};
struct GuestInterface {
    std::string name;
    std::string mac;  // lower case; empty: none
    std::vector<GuestAddress> addresses;
};
Async<std::vector<GuestInterface>> network_interfaces(Agent& agent);

struct GuestSystem {
    std::string id;  // "debian"
    std::string name;
    std::string version;
    std::string kernel;
};
Async<GuestSystem> system_info(Agent& agent);

}  // namespace stoa::qemu
