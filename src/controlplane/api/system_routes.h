// Routes about the system itself: health, metrics, information, the API's own description.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "controlplane/api/context.h"
#include "controlplane/http/route.h"

namespace stoa::api {

// GET /healthz, /metrics, /v1/info.
std::vector<http::Route> system_routes(Context& context);

// GET /v1/openapi.json: these routes and itself.
http::Route document_route(std::span<const http::Route> routes, const std::string& version);

}  // namespace stoa::api
