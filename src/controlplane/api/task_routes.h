// Routes about tasks: one with its progress, waiting for its end, cancelling it.
#pragma once

#include <vector>

#include "controlplane/api/context.h"
#include "controlplane/http/route.h"

namespace stoa::api {

constexpr uint64_t kTaskWaitSecondsMax = 60;

// GET /v1/tasks/{task}?wait=SECONDS; DELETE /v1/tasks/{task} and POST /v1/tasks/{task}/cancel.
std::vector<http::Route> task_routes(Context& context);

}  // namespace stoa::api
