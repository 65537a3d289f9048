#include "base/base64.h"

#include <algorithm>
#include <array>
#include <cstdint>

namespace stoa {

namespace {

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr uint8_t kNoDigit = 0xFF;

constexpr std::array<uint8_t, 256> base64_values() {
    std::array<uint8_t, 256> values{};
    values.fill(kNoDigit);
    for (size_t i = 0; i < kBase64.size(); ++i) {
        values.at(static_cast<uint8_t>(kBase64[i])) = static_cast<uint8_t>(i);
    }
    return values;
}
constexpr auto kBase64Values = base64_values();

}  // namespace

std::string to_base64(std::string_view bytes) {
    std::string text;
    text.reserve((bytes.size() + 2) / 3 * 4);
    for (size_t i = 0; i < bytes.size(); i += 3) {
        const size_t count = std::min<size_t>(3, bytes.size() - i);
        uint32_t bits = 0;
        for (size_t j = 0; j < 3; ++j) {
            bits = bits << 8 | (j < count ? static_cast<uint8_t>(bytes[i + j]) : 0U);
        }
        for (size_t j = 0; j < 4; ++j) {
            text += j > count ? '=' : kBase64[bits >> (18 - 6 * j) & 63U];
        }
    }
    return text;
}

Result<std::string> from_base64(std::string_view text) {
    const auto bad = [] { return Error(ErrorCode::invalid_argument, "the text is not base64"); };
    if (text.size() % 4 != 0) return bad();
    size_t padding = 0;
    while (padding < 2 && text.ends_with('=')) {
        text.remove_suffix(1);
        ++padding;
    }
    std::string bytes;
    bytes.reserve(text.size() * 3 / 4);
    uint32_t bits = 0;
    size_t held = 0;
    for (const char c : text) {
        const uint8_t value = kBase64Values.at(static_cast<uint8_t>(c));
        if (value == kNoDigit) return bad();
        bits = bits << 6 | value;
        held += 6;
        if (held < 8) continue;
        held -= 8;
        bytes += static_cast<char>(bits >> held & 0xFFU);
    }
    return bytes;
}

}  // namespace stoa
