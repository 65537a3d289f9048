// The OpenAPI 3.1 document of a table of routes.
#pragma once

#include <span>
#include <string>

#include "base/json.h"
#include "controlplane/http/route.h"

namespace stoa::http {

// Every route is in it, with its permission as "x-stoa-permission" and, of a WebSocket,
// "x-stoa-websocket": true.
[[nodiscard]] Json openapi_document(std::span<const Route> routes, const std::string& version);

}  // namespace stoa::http
