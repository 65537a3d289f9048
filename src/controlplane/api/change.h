// A Change of the table: planned, shown or submitted, and answered. See api.h.
#pragma once

#include <string>

#include "controlplane/api/context.h"
#include "controlplane/async/async.h"
#include "controlplane/http/route.h"

namespace stoa::api {

struct ChangeOutcome {
    http::Response response;
    std::string verb;    // of the plan; empty: there was none
    std::string target;  // KIND/ID, likewise
    bool is_shown_only = false;
};

// Always answers; errors as problems. `raw`: all that makes it this request and no other.
asio::awaitable<ChangeOutcome> do_change(Context& context, const http::Route& route,
                                         const http::Request& request, std::string raw);

}  // namespace stoa::api
