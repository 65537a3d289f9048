// Paths in requests.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace stoa::service {

// They are remembered, and the next start may be somewhere else. `what`: the parameter.
// Errors: invalid_argument.
inline Result<void> check_absolute(std::string_view what, const std::string& path) {
    if (path.starts_with('/')) return {};
    return Error(ErrorCode::invalid_argument,
                 std::string(what) + " must be an absolute path, not " + to_text(Json(path)));
}

// The same, of files that need not be named.
inline Result<void> check_absolute_if_any(std::string_view what, const std::string& path) {
    return path.empty() ? Result<void>() : check_absolute(what, path);
}

}  // namespace stoa::service
