// /proc/PID/stat, as proc(5) describes it. A fuzz target reads it: process_stat_fuzz.cc.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/result.h"

namespace stoa::host {

struct ProcessStat {
    char state = '?';  // R, S, D, T, Z …
    int32_t parent = 0;
    uint64_t start_ticks = 0;  // since boot
    uint64_t cpu_ticks = 0;    // user and system
};

// Errors: corrupt.
Result<ProcessStat> parse_process_stat(std::string_view text);

}  // namespace stoa::host
