#include "controlplane/api/record_routes.h"

#include <charconv>
#include <utility>

#include <fmt/format.h>

#include "base/schema.h"
#include "controlplane/api/kinds.h"
#include "controlplane/api/record_list.h"

namespace stoa::api {

namespace {

using http::Method;
using http::Read;
using http::Request;
using http::Response;
using http::Route;

std::function<Json(const Uuid&)> live_of(const Context& context, std::string_view kind) {
    const auto found = context.live.find(kind);
    return found == context.live.end() ? nullptr : found->second;
}

template <class Kind>
Async<Response> list_kind(Context& context, const Request& request) {
    CO_TRY_ASSIGN(const ListWanted wanted, list_wanted(request));
    const std::string permission = fmt::format("{}.read", Kind::kName);
    const std::string path = fmt::format("/{}", Kind::kName);
    CO_TRY_ASSIGN(const http::Principal principal, context.authorizer.find(request.principal));
    std::function<bool(const Uuid&)> may_see;
    if (!context.authorizer.authorize(principal, permission, path).ok()) {
        may_see = [&](const Uuid& id) {
            const std::string item = fmt::format("{}/{}", path, id.to_string());
            return context.authorizer.authorize(principal, permission, item).ok();
        };
    }
    co_return Response{.body = list_records<Kind>(context.records, wanted, may_see,
                                                  live_of(context, Kind::kName))};
}

template <class Kind>
Async<Response> show_kind(Context& context, const Request& request) {
    const std::string& reference = request.parameter(std::string(Kind::kName));
    CO_TRY_ASSIGN(const auto* record, context.records.find<Kind>(reference));
    Response response{.body = shown(*record, live_of(context, Kind::kName))};
    response.headers["ETag"] = fmt::format("\"{}\"", record->revision);
    co_return response;
}

template <class Kind>
Async<Response> why_kind(Context& context, const Request& request) {
    const std::string& reference = request.parameter(std::string(Kind::kName));
    const auto found = context.records.find<Kind>(reference);
    // What was removed is still explained, by its id.
    if (!found.ok() && !Uuid::parse(reference).ok()) co_return found.error();
    const std::string id = found.ok() ? (*found)->id.to_string() : reference;
    co_return co_await show_journal(context, request,
                                    {.kind = journal::Kind::decision,
                                     .subject = fmt::format("{}/{}", Kind::kName, id),
                                     .newest_first = true});
}

template <class Kind>
void add_kind(std::vector<Route>& routes, Context& context) {
    const std::string kind(Kind::kName);
    const std::string collection = "/v1/" + collection_of<Kind>();
    const std::string item = fmt::format("{}/{{{}}}", collection, kind);
    const std::string resource = fmt::format("/{0}/{{{0}}}", kind);
    Json schema = json_schema<model::Record<Kind>>();
    schema.as_object()["properties"].as_object()["live"] =
        JsonObject{{"type", "object"}, {"description", "what it is doing just now"}};
    routes.push_back({.path = collection,
                      .permission = kind + ".read",
                      .resource = "/" + kind,
                      .summary = fmt::format("Lists {}s", kind),
                      .handler = Read{[&context](const Request& request) {
                          return list_kind<Kind>(context, request);
                      }},
                      .answer_schema = list_schema(schema),
                      .query = list_parameters(),
                      .is_list = true});
    if constexpr (!std::same_as<Kind, model::Task>) {
        routes.push_back({.path = item,
                          .permission = kind + ".read",
                          .resource = resource,
                          .summary = fmt::format("Shows one {}", kind),
                          .handler = Read{[&context](const Request& request) {
                              return show_kind<Kind>(context, request);
                          }},
                          .answer_schema = schema});
    }
    routes.push_back({.path = item + "/why",
                      .permission = kind + ".read",
                      .resource = resource,
                      .summary = fmt::format("Says what was decided about a {}, and why", kind),
                      .handler = Read{[&context](const Request& request) {
                          return why_kind<Kind>(context, request);
                      }},
                      .answer_schema = entries_schema(),
                      .query = journal_parameters()});
}

Result<uint64_t> number_of(const Request& request, std::string_view name, uint64_t otherwise,
                           uint64_t low, uint64_t high) {
    if (!request.has(name)) return otherwise;
    const std::string text = request.option(name);
    uint64_t number = 0;
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (error != std::errc() || stop != end || number < low || number > high) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("\"{}\" must be a whole number from {} to {}", name, low, high));
    }
    return number;
}

}  // namespace

std::vector<http::Parameter> journal_parameters() {
    const JsonObject integer{{"type", "integer"}};
    return {{.name = "since", .summary = "\"next\" of the answer before", .schema = integer},
            {.name = "limit", .summary = "how many at most; 100 if left out", .schema = integer}};
}

bool may_see_audit(Context& context, const std::string& principal) {
    const Result<http::Principal> found = context.authorizer.find(principal);
    return found.ok() && context.authorizer.authorize(*found, "audit.read", "/").ok();
}

Async<Response> show_journal(Context& context, const Request& request, journal::Query query) {
    CO_TRY_ASSIGN(query.limit, number_of(request, "limit", 100, 1, journal::kQueryMax));
    CO_TRY_ASSIGN(const uint64_t since, number_of(request, "since", 0, 0, INT64_MAX));
    if (query.newest_first && since > 0) {
        query.before = since;
    } else {
        query.after = since;
    }
    // What was just written belongs to the answer.
    co_await context.journal.flush();
    CO_TRY_ASSIGN(const journal::Page page, co_await context.journal.query(std::move(query)));
    const bool with_audit = may_see_audit(context, request.principal);
    JsonArray items;
    for (const journal::Entry& entry : page.entries) {
        if (with_audit || entry.kind != journal::Kind::audit) items.push_back(to_json(entry));
    }
    JsonObject answer{{"items", std::move(items)}};
    if (page.next) answer["next"] = *page.next;
    co_return Response{.body = std::move(answer)};
}

std::vector<Route> record_routes(Context& context) {
    std::vector<Route> routes;
    for_each_kind([&]<class Kind>() { add_kind<Kind>(routes, context); });
    return routes;
}

}  // namespace stoa::api
