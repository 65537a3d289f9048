#include "apps/stoa/base64.h"

#include <cstdint>

namespace stoa::cli {

namespace {
constexpr std::string_view kDigits =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
}  // namespace

std::string to_base64(std::string_view bytes) {
    std::string text;
    for (size_t at = 0; at < bytes.size(); at += 3) {
        uint32_t group = 0;
        for (size_t i = 0; i < 3; ++i) {
            const char byte = at + i < bytes.size() ? bytes[at + i] : '\0';
            group = group << 8U | static_cast<unsigned char>(byte);
        }
        for (size_t i = 0; i < 4; ++i) {
            const bool is_there = at + i <= bytes.size();
            text += is_there ? kDigits[group >> (18 - 6 * i) & 63U] : '=';
        }
    }
    return text;
}

Result<std::string> from_base64(std::string_view text) {
    const Error wrong(ErrorCode::invalid_argument, "the text is not base64");
    if (text.size() % 4 != 0) return wrong;
    std::string bytes;
    for (size_t at = 0; at < text.size(); at += 4) {
        uint32_t group = 0;
        size_t pads = 0;
        for (size_t i = 0; i < 4; ++i) {
            const char c = text[at + i];
            const size_t digit = kDigits.find(c);
            const bool may_pad = i >= 2 && at + 4 == text.size();
            if (c == '=' && may_pad) ++pads;
            else if (digit == std::string_view::npos || pads > 0) return wrong;
            group = group << 6U | (c == '=' ? 0U : static_cast<uint32_t>(digit));
        }
        for (size_t i = 0; i + pads < 3; ++i) bytes += static_cast<char>(group >> (16 - 8 * i));
    }
    return bytes;
}

}  // namespace stoa::cli
