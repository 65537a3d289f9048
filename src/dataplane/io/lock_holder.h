// Who holds the lock of a file: for messages.
#pragma once

#include <optional>
#include <string>

namespace stoa::io {

// "process 4711 (stoa-blockd --root /srv/a)". Nothing if it cannot be found: it may belong to
// another user, or live in another container. Looks through /proc; takes milliseconds.
[[nodiscard]] std::optional<std::string> lock_holder(const std::string& path);

}  // namespace stoa::io
