#include "base/describe.h"

#include <cmath>

#include "base/utf8.h"

namespace stoa::describe_detail {

namespace {

constexpr size_t kShownBytesMax = 60;

// A value as a message shows it: short, and in one line.
std::string shown(const Json& value) {
    if (value.is_object()) return "an object";
    if (value.is_array()) return "an array";
    std::string text = to_text(value);
    if (text.size() > kShownBytesMax) {
        text = utf8_prefix(text, kShownBytesMax);
        text += "…";
    }
    return text;
}

std::string place(std::string_view path) {
    return path.empty() ? std::string("the parameters") : fmt::format("\"{}\"", path);
}

}  // namespace

std::string join(std::string_view path, std::string_view name) {
    return path.empty() ? std::string(name) : fmt::format("{}.{}", path, name);
}

Error wrong(std::string_view path, std::string_view expected, const Json& found) {
    return {ErrorCode::invalid_argument,
            fmt::format("{} must be {}, not {}", place(path), expected, shown(found))};
}

Error unknown_field(std::string_view path, std::string_view name, std::string_view known) {
    return {ErrorCode::invalid_argument,
            fmt::format("unknown field {}; possible here: {}", shown(Json(join(path, name))),
                        known.empty() ? "none" : known)};
}

Error missing_field(std::string_view path, std::string_view name) {
    return {ErrorCode::invalid_argument, fmt::format("\"{}\" is missing", join(path, name))};
}

Error unknown_word(std::string_view path, std::string_view word,
                   std::span<const std::string_view> known) {
    return {ErrorCode::invalid_argument, fmt::format("{} must be one of {}, not {}", place(path),
                                                     fmt::join(known, ", "), shown(Json(word)))};
}

Result<int64_t> read_signed(const Json& from, int64_t low, int64_t high, std::string_view path) {
    const bool exact = from.is_int64();
    if (!exact || from.get_int64() < low || from.get_int64() > high) {
        return wrong(path, fmt::format("a whole number from {} to {}", low, high), from);
    }
    return from.get_int64();
}

Result<uint64_t> read_unsigned(const Json& from, uint64_t high, std::string_view path) {
    const bool exact = from.is_uint64() || (from.is_int64() && from.get_int64() >= 0);
    const uint64_t value = !exact             ? 0
                           : from.is_uint64() ? from.get_uint64()
                                              : static_cast<uint64_t>(from.get_int64());
    if (!exact || value > high) {
        return wrong(path, fmt::format("a whole number from 0 to {}", high), from);
    }
    return value;
}

Result<double> read_double(const Json& from, std::string_view path) {
    if (!from.is_number()) return wrong(path, "a number", from);
    return from.to_number<double>();
}

Result<std::string> read_string(const Json& from, std::string_view path) {
    if (!from.is_string()) return wrong(path, "a string", from);
    return std::string(from.get_string());
}

}  // namespace stoa::describe_detail
