// Base64 (RFC 4648, section 4).
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace stoa::cli {

[[nodiscard]] std::string to_base64(std::string_view bytes);
// Errors: invalid_argument.
Result<std::string> from_base64(std::string_view text);

}  // namespace stoa::cli
