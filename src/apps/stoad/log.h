// The log of the program: one line an event, for whoever reads stderr or its journal.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "controlplane/host/clock.h"

namespace stoa::apps::stoad {

enum class Level : uint8_t { info, warning, error };

// A line of JSON on stderr: {"time","level","text",...fields}. Output that cannot be written is
// lost: a full disk stops nobody.
void log(const host::Clock& clock, Level level, std::string_view text, JsonObject fields = {});

}  // namespace stoa::apps::stoad
