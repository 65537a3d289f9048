// How a Unix socket comes to its path.
#pragma once

#include "base/result.h"
#include "dataplane/io/socket.h"

namespace stoa::io {

// Binds `file` to address.path and listens. The socket appears there only when it listens, with its
// owner and mode, in place of a dead one. The directory may belong to somebody else: nothing that
// he puts there is followed, changed or removed, but for dead sockets at this path.
// Errors: in_use (the path is no socket, or somebody listens there), not_found, io.
Result<void> bind_local(int file, const Address& address, const ListenOptions& options);

}  // namespace stoa::io
