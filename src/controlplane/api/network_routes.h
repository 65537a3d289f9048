// Routes that change networks. What lists and shows them: record_routes.h.
#pragma once

#include <vector>

#include "controlplane/api/context.h"
#include "controlplane/http/route.h"

namespace stoa::api {

// `may_manage`: network::Networks::may_manage().
std::vector<http::Route> network_routes(Context& context, bool may_manage);

}  // namespace stoa::api
