#include "controlplane/model/checks.h"

#include <array>
#include <charconv>

#include <fmt/format.h>

#include "base/utf8.h"
#include "controlplane/model/record.h"

namespace stoa::model {

Error wrong_field(std::string_view field, std::string_view message) {
    return {ErrorCode::invalid_argument, fmt::format("{}: {}", field, message)};
}

Result<void> check_range(std::string_view field, uint64_t value, uint64_t low, uint64_t high) {
    if (value >= low && value <= high) return {};
    return wrong_field(field, fmt::format("must be {} to {}, not {}", low, high, value));
}

Result<void> check_unique_name(std::string_view field, const std::string& name,
                               std::set<std::string>& taken) {
    const Result<void> good = check_name(name);
    if (!good.ok()) return good.error().with_context(field);
    if (taken.insert(name).second) return {};
    return wrong_field(field, fmt::format("\"{}\" occurs twice", name));
}

Result<void> check_line(std::string_view field, std::string_view text, size_t bytes_max) {
    if (text.size() > bytes_max) {
        return wrong_field(field, fmt::format("has {} bytes, at most {}", text.size(), bytes_max));
    }
    if (is_utf8(text) && find_control(text) == std::string_view::npos) return {};
    return wrong_field(field, "must be one line of UTF-8");
}

bool is_ipv4(std::string_view text) {
    for (int part = 0; part < 4; ++part) {
        uint8_t number = 0;
        const char* const end = text.data() + text.size();
        const auto [stop, error] = std::from_chars(text.data(), end, number);
        const bool has_zero_before = text.size() > 1 && text[0] == '0' && stop > text.data() + 1;
        if (error != std::errc() || has_zero_before) return false;
        text.remove_prefix(static_cast<size_t>(stop - text.data()));
        if (part == 3) break;
        if (text.empty() || text.front() != '.') return false;
        text.remove_prefix(1);
    }
    return text.empty();
}

std::string size_text(uint64_t bytes) {
    constexpr std::array<std::string_view, 5> kUnits{"bytes", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;
    while (bytes != 0 && bytes % 1024 == 0 && unit + 1 < kUnits.size()) {
        bytes /= 1024;
        ++unit;
    }
    return fmt::format("{} {}", bytes, kUnits.at(unit));
}

}  // namespace stoa::model
