// Paths that name the same device.
#pragma once

#include <span>
#include <string>

#include "base/result.h"

namespace stoa::io {

// No two of `paths` lead to one file or block device, by whatever links; also where there is none
// yet. Without this the second one would wait for the lock that the first one holds.
// Errors: invalid_argument, naming both.
Result<void> check_distinct(std::span<const std::string> paths);

}  // namespace stoa::io
