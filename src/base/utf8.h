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
// As much of valid `text` as fits into `bytes_max` without cutting a character.
[[nodiscard]] std::string_view utf8_prefix(std::string_view text, size_t bytes_max);

}  // namespace stoa
