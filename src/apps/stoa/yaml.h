// YAML 1.2 of JSON values, in block style. Text that could be read as something else is quoted.
#pragma once

#include <string>

#include "base/json.h"

namespace stoa::cli {

// Ends with a line feed.
[[nodiscard]] std::string to_yaml(const Json& value);

}  // namespace stoa::cli
