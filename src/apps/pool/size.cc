#include "apps/pool/size.h"

#include <fmt/format.h>

#include <array>
#include <charconv>

namespace stoa::apps::pool {

Result<uint64_t> parse_size(std::string_view text) {
    uint64_t value = 0;
    const char* begin = text.empty() ? "" : &text.front();
    const char* end = begin + text.size();
    const auto [rest, error] = std::from_chars(begin, end, value);
    int shift = 0;
    bool valid = error == std::errc{} && end - rest <= 1;
    if (valid && rest != end) {
        switch (*rest) {
            case 'K':
            case 'k': shift = 10; break;
            case 'M':
            case 'm': shift = 20; break;
            case 'G':
            case 'g': shift = 30; break;
            case 'T':
            case 't': shift = 40; break;
            default: valid = false;
        }
    }
    if (!valid) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("\"{}\" is not a size: write bytes or a number with K, M, G or T, "
                                 "for example 20G",
                                 text));
    }
    if (value > UINT64_MAX >> shift) {
        return Error(ErrorCode::invalid_argument, fmt::format("size {} is too large", text));
    }
    return value << shift;
}

std::string format_size(uint64_t size_bytes) {
    static constexpr std::array<const char*, 7> units{"B",   "KiB", "MiB", "GiB",
                                                      "TiB", "PiB", "EiB"};
    if (size_bytes < 1024) return fmt::format("{} B", size_bytes);
    auto value = static_cast<double>(size_bytes);
    size_t unit = 0;
    for (; value >= 1024 && unit + 1 < units.size(); ++unit) value /= 1024;
    return fmt::format("{:.1f} {}", value, units[unit]);
}

}  // namespace stoa::apps::pool
