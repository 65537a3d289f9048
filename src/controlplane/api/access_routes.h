// Routes about users, roles, tokens, and logging in. What lists and shows them: record_routes.h.
#pragma once

#include <vector>

#include "controlplane/access/access.h"
#include "controlplane/api/context.h"
#include "controlplane/http/route.h"

namespace stoa::api {

// Making users and tokens and setting passwords hash or draw secrets, and so are no plans.
std::vector<http::Route> access_routes(Context& context, access::Access& access);

}  // namespace stoa::api
