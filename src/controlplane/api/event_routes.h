// Routes about what happened: the journal's entries, and the stream of them.
#pragma once

#include <vector>

#include "controlplane/api/context.h"
#include "controlplane/http/route.h"

namespace stoa::api {

// GET /v1/events, GET /v1/audit; POST /v1/watch (a ticket) and WebSocket GET /v1/watch (watch.h).
std::vector<http::Route> event_routes(Context& context);

}  // namespace stoa::api
