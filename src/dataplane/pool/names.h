// Names that users give.
#pragma once

#include <string>

#include "base/result.h"

namespace stoa::pool {

// 1 .. 63 bytes, no control characters, no '/' and no '@'. `what` names the thing in the message.
Result<void> check_name(const std::string& name, const char* what);

}  // namespace stoa::pool
