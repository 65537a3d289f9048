// Sizes, durations and times as people write and read them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace stoa::cli {

// "512M", "10G", "1.5T", "4096": bytes, powers of 1024. Errors: invalid_argument.
Result<uint64_t> parse_size(std::string_view text);
// "30s", "5m", "2h", "7d", "90": seconds. Errors: invalid_argument.
Result<uint64_t> parse_seconds(std::string_view text);

// "1.5 GiB", "512 MiB", "0 B": exact values without decimals.
[[nodiscard]] std::string format_size(uint64_t bytes);
// The two largest units: "3d 4h", "5m 10s", "12s".
[[nodiscard]] std::string format_duration(uint64_t seconds);
// "2026-11-28 10:02:31", local time; `time_ns` since 1970.
[[nodiscard]] std::string format_time(int64_t time_ns);

[[nodiscard]] int64_t now_ns();

}  // namespace stoa::cli
