// UTF-8 (RFC 3629).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace stoa {

// No overlong form, no surrogate, nothing above U+10FFFF.
[[nodiscard]] bool is_utf8(std::string_view text);
// `bytes` with U+FFFD for each byte that belongs to no character.
[[nodiscard]] std::string to_utf8(std::string_view bytes);
// How many bytes from the start are whole characters; all of them if the text is UTF-8.
[[nodiscard]] size_t utf8_bytes(std::string_view text);
// Where the first control character of valid `text` starts (U+0000 to U+001F, U+007F to U+009F);
// npos if it has none.
[[nodiscard]] size_t find_control(std::string_view text);
// `text` for a terminal: '?' for each control character and each byte that is no UTF-8.
[[nodiscard]] std::string to_plain_text(std::string_view text);
// As much of valid `text` as fits into `bytes_max` without cutting a character.
[[nodiscard]] std::string_view utf8_prefix(std::string_view text, size_t bytes_max);

}  // namespace stoa
