// What the files of routes share. Inside of this folder, and for those who add routes of a kind.
#pragma once

#include <string>
#include <utility>

#include "base/describe.h"
#include "base/schema.h"
#include "controlplane/api/context.h"
#include "controlplane/http/route.h"
#include "controlplane/model/record.h"

namespace stoa::api {

// A Change whose body is a Body: `plan(body, request, ids)` gives the plan.
template <class Body, class Planner>
http::Change with_body(Planner plan) {
    return {[plan = std::move(plan)](const http::Request& request,
                                     task::Ids& ids) -> Result<task::Plan> {
        Body body;
        TRY(from_json(request.body, body));
        return plan(body, request, ids);
    }};
}

// For `Kind`: POST on the collection, with body Body.
template <class Kind, class Body>
http::Route create_route(http::Change change) {
    const std::string kind(Kind::kName);
    return {.method = http::Method::post,
            .path = "/v1/" + kind + "s",
            .permission = kind + ".create",
            .resource = "/" + kind,
            .summary = "Creates a " + kind,
            .handler = std::move(change),
            .body_schema = json_schema<Body>(),
            .answer_schema = json_schema<model::Record<Kind>>()};
}
// PATCH of an item.
template <class Kind, class Body>
http::Route set_route(http::Change change) {
    const std::string kind(Kind::kName);
    return {.method = http::Method::patch,
            .path = "/v1/" + kind + "s/{" + kind + "}",
            .permission = kind + ".set",
            .resource = "/" + kind + "/{" + kind + "}",
            .summary = "Changes a " + kind + ": what is there is changed, all else stays",
            .handler = std::move(change),
            .body_schema = json_schema<Body>(),
            .answer_schema = json_schema<model::Record<Kind>>()};
}
template <class Kind>
http::Route delete_route(http::Change change) {
    const std::string kind(Kind::kName);
    return {.method = http::Method::erase,
            .path = "/v1/" + kind + "s/{" + kind + "}",
            .permission = kind + ".delete",
            .resource = "/" + kind + "/{" + kind + "}",
            .summary = "Deletes a " + kind,
            .handler = std::move(change)};
}
// POST .../VERB of an item, with body Body.
template <class Kind, class Body>
http::Route verb_route(const std::string& verb, std::string summary, http::Change change) {
    const std::string kind(Kind::kName);
    return {.method = http::Method::post,
            .path = "/v1/" + kind + "s/{" + kind + "}/" + verb,
            .permission = kind + "." + verb,
            .resource = "/" + kind + "/{" + kind + "}",
            .summary = std::move(summary),
            .handler = std::move(change),
            .body_schema = json_schema<Body>(),
            .body_optional = true};
}

}  // namespace stoa::api
