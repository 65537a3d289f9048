// Routes that all kinds of records share: list, show, why. Changes are in a file a kind.
#pragma once

#include <string>
#include <vector>

#include "controlplane/api/context.h"
#include "controlplane/http/route.h"

namespace stoa::api {

constexpr size_t kListMax = 1000;

// GET /v1/vms, GET /v1/vms/{vm}, GET /v1/vms/{vm}/why; all but the item of tasks, which
// task_routes.cc shows with its progress.
std::vector<http::Route> record_routes(Context& context);

// The parameters of a route that gives entries of the journal, but for `subject` and `kind`.
std::vector<http::Parameter> journal_parameters();
// Whether the principal may see what everybody asked for.
[[nodiscard]] bool may_see_audit(Context& context, const std::string& principal);
// The journal's entries as `query` says, with `since` and `limit` of the request, without audit
// entries for who may not see these. {"items": [...], "next": SEQUENCE or absent}.
Async<http::Response> show_journal(Context& context, const http::Request& request,
                                   journal::Query query);

}  // namespace stoa::api
