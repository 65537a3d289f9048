// Proxy: a WebSocket's client and a Unix socket of this host, such as a serial console or VNC.
#pragma once

#include <string>

#include "controlplane/async/async.h"
#include "controlplane/http/stream.h"

namespace stoa::http {

// Connects to `path` and passes bytes both ways, as binary messages to the client, until either
// side ends; then both are closed. Neither side's slowness lets more than 64 KiB pile up here
// besides the WebSocket's queue.
// Errors: not_found (nothing listens at `path`), io, cancelled.
Async<> proxy(Socket& client, std::string path);

}  // namespace stoa::http
