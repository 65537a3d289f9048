// UTF-8 (RFC 3629).
#pragma once

#include <cstddef>
#include <string_view>

namespace stoa {

// No overlong form, no surrogate, nothing above U+10FFFF.
[[nodiscard]] bool is_utf8(std::string_view text);
// As much of valid `text` as fits into `bytes_max` without cutting a character.
[[nodiscard]] std::string_view utf8_prefix(std::string_view text, size_t bytes_max);

}  // namespace stoa
