// Sizes as people write them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace stoa::apps::pool {

// Bytes: digits, then nothing or one of K, M, G, T (powers of 1024, either case).
// Errors: invalid_argument.
Result<uint64_t> parse_size(std::string_view text);

// With one decimal and a suffix: "1.5 GiB"; below 1024 "512 B".
std::string format_size(uint64_t size_bytes);

}  // namespace stoa::apps::pool
