// Errors of system calls in the house's words.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"

namespace stoa::io {

// The system's text for an errno with a small first letter: "no space left on device".
[[nodiscard]] std::string errno_text(int system_errno);

// "`what`: <text of the errno>", with the code that callers react to: ENOENT not_found, EEXIST
// already_exists, ENOSPC and EDQUOT no_space, EROFS read_only, else io. `what` names the object
// and what was tried: "device /srv/a.img: cannot open".
[[nodiscard]] Error system_error(std::string_view what, int system_errno);

// The same with the code io, whatever the reason: for what the caller can only give up.
[[nodiscard]] Error failed_io(std::string_view what, int system_errno);

}  // namespace stoa::io
