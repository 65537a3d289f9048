#include "base/utf8.h"

#include <algorithm>
#include <cstdint>

namespace stoa {

namespace {

constexpr bool is_continuation(char c) { return (static_cast<uint8_t>(c) & 0xC0U) == 0x80; }

// Bytes of the character that starts `text`; 0 if none does. Table 3-7 of the Unicode standard.
size_t character_bytes(std::string_view text) {
    const auto first = static_cast<uint8_t>(text[0]);
    if (first < 0x80) return 1;
    const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
    for (size_t i = 1; i < length; ++i) {
        if (!is_continuation(text[i])) return 0;
    }
    const auto second = static_cast<uint8_t>(text[1]);
    const bool overlong = (first == 0xE0 && second < 0xA0) || (first == 0xF0 && second < 0x90);
    const bool surrogate = first == 0xED && second > 0x9F;
    const bool too_high = first == 0xF4 && second > 0x8F;
    return overlong || surrogate || too_high ? 0 : length;
}

// Does a control character start valid `text`?
bool is_control(std::string_view text) {
    const auto first = static_cast<uint8_t>(text[0]);
    if (first < 0x20 || first == 0x7F) return true;
    return first == 0xC2 && text.size() > 1 && static_cast<uint8_t>(text[1]) < 0xA0;
}

}  // namespace

bool is_utf8(std::string_view text) { return utf8_bytes(text) == text.size(); }

size_t utf8_bytes(std::string_view text) {
    size_t at = 0;
    while (at < text.size()) {
        const size_t bytes = character_bytes(text.substr(at));
        if (bytes == 0) break;
        at += bytes;
    }
    return at;
}

size_t find_control(std::string_view text) {
    for (size_t at = 0; at < text.size(); ++at) {
        if (is_control(text.substr(at))) return at;
    }
    return std::string_view::npos;
}

std::string to_plain_text(std::string_view text) {
    std::string plain;
    while (!text.empty()) {
        const size_t bytes = character_bytes(text);
        if (bytes == 0 || is_control(text)) plain += '?';
        else plain += text.substr(0, bytes);
        text.remove_prefix(std::max<size_t>(bytes, 1));
    }
    return plain;
}

std::string to_utf8(std::string_view bytes) {
    std::string text;
    text.reserve(bytes.size());
    while (!bytes.empty()) {
        const size_t length = character_bytes(bytes);
        text += length > 0 ? bytes.substr(0, length) : "\xEF\xBF\xBD";
        bytes.remove_prefix(length > 0 ? length : 1);
    }
    return text;
}

std::string_view utf8_prefix(std::string_view text, size_t bytes_max) {
    if (text.size() <= bytes_max) return text;
    size_t end = bytes_max;
    while (end > 0 && is_continuation(text[end])) --end;
    return text.substr(0, end);
}

}  // namespace stoa
