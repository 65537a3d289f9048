// Names that users give.
#pragma once

#include <string>

#include "base/result.h"

namespace stoa::pool {

// 1 .. 63 bytes of UTF-8 without control characters, '/' and '@'. `what` names the thing in the
// message. Names that are on a disk already are not asked.
// Errors: invalid_argument.
Result<void> check_name(const std::string& name, const char* what);
// 1 .. 31 bytes of UTF-8 without control characters. Errors: invalid_argument.
Result<void> check_pool_name(const std::string& name);

}  // namespace stoa::pool
