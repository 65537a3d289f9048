// Routes that change volumes. What lists and shows them: record_routes.h.
#pragma once

#include <vector>

#include "controlplane/api/context.h"
#include "controlplane/http/route.h"

namespace stoa::api {

std::vector<http::Route> volume_routes(Context& context);

}  // namespace stoa::api
