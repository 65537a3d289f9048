// Messages of guest agents, parsed: pure, so that it can be fuzzed (agent_fuzz.cc).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace stoa::qemu {

struct AgentAnswer {
    // What it returns, or why the agent refused: io, unsupported (it lacks the command), busy (the
    // file systems are frozen).
    Result<Json> result{Json{}};
};

// One line. Errors: io (it is no answer).
Result<AgentAnswer> parse_agent(std::string_view line);

// Whether the line is the answer to a guest-sync-delimited with this number.
[[nodiscard]] bool is_sync(std::string_view line, uint64_t number);

// A command as one line, with its end.
[[nodiscard]] std::string agent_command(std::string_view command, JsonObject arguments);
// guest-sync-delimited, with the byte that makes the agent forget what it has read of a line.
[[nodiscard]] std::string agent_sync(uint64_t number);

// What the agent sends as base64. Errors: io (it is none).
Result<std::string> agent_bytes(std::string_view text);

}  // namespace stoa::qemu
