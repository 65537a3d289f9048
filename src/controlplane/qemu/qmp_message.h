// Messages of QMP, parsed: pure, so that it can be fuzzed (qmp_fuzz.cc).
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "base/json.h"
#include "base/result.h"
#include "controlplane/qemu/qmp.h"

namespace stoa::qemu {

struct QmpGreeting {
    std::string version;  // "7.2.22"
};

struct QmpAnswer {
    uint64_t id = 0;  // of the command
    Result<Json> result{Json{}};
};

using QmpMessage = std::variant<QmpGreeting, QmpEvent, QmpAnswer>;

// One line. Errors: io (it is no message).
Result<QmpMessage> parse_qmp(std::string_view line);

// A command as one line, with its end.
[[nodiscard]] std::string qmp_command(std::string_view command, JsonObject arguments, uint64_t id);

// Words of others in our messages: at most 200 bytes, control characters and what is not ASCII
// replaced by "?".
[[nodiscard]] std::string cleaned(std::string_view text);

}  // namespace stoa::qemu
