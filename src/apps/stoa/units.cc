#include "apps/stoa/units.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cmath>
#include <ctime>
#include <utility>

namespace stoa::cli {

namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;

// Digits with at most one point, then the rest.
bool split_number(std::string_view text, double& number, std::string_view& rest) {
    const size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
    rest = text.substr(end);
    if (end == 0 || text[0] == '.' || text[end - 1] == '.') return false;
    const auto [stop, error] = std::from_chars(text.data(), text.data() + end, number);
    return error == std::errc{} && stop == text.data() + end;
}

Error no_size(std::string_view text) {
    return {ErrorCode::invalid_argument,
            fmt::format("\"{}\" is not a size: write bytes or a number with K, M, G or T, such as "
                        "512M or 10G",
                        text)};
}

}  // namespace

Result<uint64_t> parse_size(std::string_view text) {
    double number = 0;
    std::string_view unit;
    if (!split_number(text, number, unit)) return no_size(text);
    // K, KB and KiB are the same.
    if (unit.size() == 3 && unit.substr(1) == "iB") unit = unit.substr(0, 1);
    if (unit.size() == 2 && unit[1] == 'B') unit = unit.substr(0, 1);
    static constexpr std::string_view kUnits = "BKMGTP";
    size_t power = 0;
    if (!unit.empty()) {
        const char letter = unit[0] >= 'a' ? static_cast<char>(unit[0] - 'a' + 'A') : unit[0];
        power = kUnits.find(letter);
        if (unit.size() != 1 || power == std::string_view::npos) return no_size(text);
    }
    const double bytes = std::ldexp(number, static_cast<int>(10 * power));
    if (bytes >= 0x1p63) {
        return Error(ErrorCode::invalid_argument, fmt::format("size {} is too large", text));
    }
    if (bytes != std::floor(bytes)) return no_size(text);
    return static_cast<uint64_t>(bytes);
}

Result<uint64_t> parse_seconds(std::string_view text) {
    double number = 0;
    std::string_view unit;
    double factor = 0;
    if (split_number(text, number, unit)) {
        if (unit.empty() || unit == "s") factor = 1;
        else if (unit == "m" || unit == "min") factor = 60;
        else if (unit == "h") factor = 3600;
        else if (unit == "d") factor = 86400;
    }
    if (factor == 0 || number * factor > 1e10) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("\"{}\" is not a duration: write seconds or a number with s, m, h "
                                 "or d, such as 30s or 5m",
                                 text));
    }
    return static_cast<uint64_t>(std::ceil(number * factor));
}

std::string format_size(uint64_t bytes) {
    static constexpr std::array<const char*, 7> kUnits{"B",   "KiB", "MiB", "GiB",
                                                       "TiB", "PiB", "EiB"};
    size_t unit = 0;
    uint64_t scale = 1;
    while (unit + 1 < kUnits.size() && bytes / scale >= 1024) {
        scale <<= 10U;
        ++unit;
    }
    if (bytes % scale == 0) return fmt::format("{} {}", bytes / scale, kUnits.at(unit));
    const double value = static_cast<double>(bytes) / static_cast<double>(scale);
    return fmt::format("{:.1f} {}", value, kUnits.at(unit));
}

std::string format_duration(uint64_t seconds) {
    static constexpr std::array<std::pair<uint64_t, char>, 4> kUnits{
        {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}}};
    for (size_t i = 0; i < kUnits.size(); ++i) {
        const auto [unit, letter] = kUnits.at(i);
        if (seconds < unit) continue;
        const uint64_t rest = i + 1 < kUnits.size() ? seconds % unit / kUnits.at(i + 1).first : 0;
        if (rest == 0) return fmt::format("{}{}", seconds / unit, letter);
        return fmt::format("{}{} {}{}", seconds / unit, letter, rest, kUnits.at(i + 1).second);
    }
    return "0s";
}

std::string format_time(int64_t time_ns) {
    const std::time_t seconds = time_ns / kNsPerSecond;
    std::tm parts{};
    if (localtime_r(&seconds, &parts) == nullptr) return "?";
    std::array<char, 64> text{};
    const size_t bytes = std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &parts);
    return {text.data(), bytes};
}

int64_t now_ns() {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::system_clock::now().time_since_epoch())
        .count();
}

}  // namespace stoa::cli
