#include "controlplane/api/event_routes.h"

#include <utility>

#include <fmt/format.h>

#include "base/schema.h"
#include "base/utf8.h"
#include "controlplane/api/kinds.h"
#include "controlplane/api/record_list.h"
#include "controlplane/api/record_routes.h"
#include "controlplane/api/watch.h"

namespace stoa::api {

namespace {

using http::Method;
using http::Request;
using http::Response;
using http::Route;

// "vm/web1" is "vm/ID"; what does not exist any more is asked for by its id.
std::string subject_of(const Context& context, const std::string& text) {
    const size_t slash = text.find('/');
    if (slash == std::string::npos) return text;
    std::string subject = text;
    with_kind(text.substr(0, slash), [&]<class Kind>() {
        const auto found = context.records.find<Kind>(reference_of(text.substr(slash + 1)));
        if (found.ok()) subject = fmt::format("{}/{}", Kind::kName, (*found)->id.to_string());
    });
    return subject;
}

Async<Response> show_events(Context& context, const Request& request,
                            std::optional<journal::Kind> kind) {
    journal::Query query{.kind = kind, .subject = subject_of(context, request.option("subject"))};
    if (request.has("kind")) {
        journal::Kind wanted{};
        CO_TRY(from_json(Json(request.option("kind")), wanted, "kind"));
        query.kind = wanted;
    }
    const std::string newest = request.option("newest_first");
    query.newest_first = request.has("newest_first") && newest != "false";
    co_return co_await show_journal(context, request, std::move(query));
}

Async<Response> give_ticket(Context& context, const Request& request) {
    co_return Response{
        .body = JsonObject{{"ticket", context.tickets.issue(request.principal, request.path)}}};
}

std::vector<http::Parameter> event_parameters() {
    std::vector<http::Parameter> parameters = journal_parameters();
    parameters.push_back({.name = "subject", .summary = "KIND/ID or KIND/NAME"});
    parameters.push_back({.name = "newest_first",
                          .summary = "instead of oldest first",
                          .schema = JsonObject{{"type", "boolean"}}});
    return parameters;
}

}  // namespace

std::vector<Route> event_routes(Context& context) {
    std::vector<http::Parameter> parameters = event_parameters();
    const Json schema = entries_schema();
    std::vector<Route> routes;
    routes.push_back({.path = "/v1/audit",
                      .permission = "audit.read",
                      .summary = "Who asked for which change, granted or refused",
                      .handler = http::Read{[&context](const Request& request) {
                          return show_events(context, request, journal::Kind::audit);
                      }},
                      .answer_schema = schema,
                      .query = parameters});
    parameters.push_back({.name = "kind",
                          .summary = "event, decision, audit or task",
                          .schema = json_schema<journal::Kind>()});
    routes.push_back({.path = "/v1/events",
                      .permission = "event.read",
                      .summary = "What happened, was decided, was asked for and was done",
                      .handler = http::Read{[&context](const Request& request) {
                          return show_events(context, request, std::nullopt);
                      }},
                      .answer_schema = schema,
                      .query = parameters});
    routes.push_back({.method = Method::post,
                      .path = "/v1/watch",
                      .permission = "event.read",
                      .summary = "A ticket for the WebSocket of the same path, good once and 30 s",
                      .handler = http::Read{[&context](const Request& request) {
                          return give_ticket(context, request);
                      }}});
    routes.push_back(
        {.path = "/v1/watch",
         .permission = "event.read",
         .summary = "All that happens, as it happens (WebSocket)",
         .handler = http::Live{[&context](const Request& request, http::Socket& socket) {
             return watch(context, request, socket);
         }},
         .query = {{.name = "since", .summary = "sequence of the last entry that is known"},
                   {.name = "revision", .summary = "of the last record message that is known"}}});
    return routes;
}

}  // namespace stoa::api
