#include "controlplane/api/system_routes.h"

#include <array>
#include <map>
#include <memory>
#include <utility>

#include "controlplane/api/kinds.h"
#include "controlplane/api/record_list.h"
#include "controlplane/http/openapi.h"

namespace stoa::api {

namespace {

using http::MetricsText;
using http::Read;
using http::Request;
using http::Response;
using http::Route;

Async<Response> healthz(Context& context, const Request& /*request*/) {
    JsonArray problems;
    if (const auto reason = context.engine.read_only_reason()) problems.emplace_back(*reason);
    if (context.journal.statistics().is_failing) {
        problems.emplace_back("the journal cannot be written: " +
                              context.journal.statistics().last_failure);
    }
    for (const auto& damaged : context.records.damaged()) problems.emplace_back(damaged.message);
    for (const auto& check : context.health) {
        std::string problem = check();
        if (!problem.empty()) problems.emplace_back(std::move(problem));
    }
    const bool good = problems.empty();
    co_return Response{.status = good ? 200U : 503U,
                       .body = JsonObject{{"status", good ? "ok" : "degraded"},
                                          {"problems", std::move(problems)}}};
}

// One gauge by state for each kind that has states.
void write_states(const records::Records& records, MetricsText& text) {
    text.family("stoa_records", "gauge", "Records by kind and state.");
    for_each_kind([&]<class Kind>() {
        std::map<std::string, uint64_t> counts;
        if constexpr (requires(typename Kind::Status status) { enum_names(status.state); }) {
            for (const std::string_view word : enum_names(typename Kind::Status{}.state)) {
                counts[std::string(word)] = 0;
            }
        }
        for (const auto& [id, record] : records.all<Kind>()) ++counts[state_of(record)];
        for (const auto& [state, count] : counts) {
            const std::array<std::pair<std::string_view, std::string_view>, 2> labels{
                std::pair<std::string_view, std::string_view>{"kind", Kind::kName},
                std::pair<std::string_view, std::string_view>{"state", state}};
            text.sample("stoa_records", labels, static_cast<double>(count));
        }
    });
}

Async<Response> metrics(Context& context, const Request& /*request*/) {
    MetricsText text;
    context.requests.write(text);
    write_states(context.records, text);
    text.family("stoa_tasks_running", "gauge", "Tasks that run now.");
    text.sample("stoa_tasks_running", static_cast<double>(context.engine.running()));
    const journal::Statistics& journal = context.journal.statistics();
    text.family("stoa_journal_bytes", "gauge", "Size of the journal.");
    text.sample("stoa_journal_bytes", static_cast<double>(journal.bytes));
    text.family("stoa_journal_entries_total", "counter", "Entries written since the start.");
    text.sample("stoa_journal_entries_total", static_cast<double>(journal.written));
    text.family("stoa_journal_lost_total", "counter", "Entries that could not be written.");
    text.sample("stoa_journal_lost_total", static_cast<double>(journal.lost));
    text.family("stoa_read_only", "gauge", "1: no change can be made, the state is full.");
    text.sample("stoa_read_only", context.engine.read_only_reason() ? 1 : 0);
    for (const auto& write : context.metrics) write(text);
    co_return Response{.text = text.text(), .text_type = "text/plain; version=0.0.4"};
}

Async<Response> info(Context& context, const Request& /*request*/) {
    JsonArray features;
    for (const std::string& feature : context.about.features) features.emplace_back(feature);
    co_return Response{.body = JsonObject{{"version", context.about.version},
                                          {"api", "v1"},
                                          {"instance", context.about.instance},
                                          {"host", context.about.host.to_string()},
                                          {"features", std::move(features)}}};
}

// Shared by the copies of the route that the table makes.
Async<Response> document(std::shared_ptr<const std::string> text) {
    co_return Response{.text = *text, .text_type = "application/json"};
}

}  // namespace

std::vector<Route> system_routes(Context& context) {
    std::vector<Route> routes;
    routes.push_back({.path = "/healthz",
                      .summary = "200 if all is well, else 503 and what is not",
                      .handler = Read{[&context](const Request& request) {
                          return healthz(context, request);
                      }}});
    routes.push_back({.path = "/metrics",
                      .permission = "metrics.read",
                      .summary = "Metrics in the text format of Prometheus",
                      .handler = Read{[&context](const Request& request) {
                          return metrics(context, request);
                      }}});
    routes.push_back(
        {.path = "/v1/info",
         .summary = "Version, instance, host and features",
         .handler = Read{[&context](const Request& request) { return info(context, request); }}});
    return routes;
}

Route document_route(std::span<const Route> routes, const std::string& version) {
    Route route{.path = "/v1/openapi.json", .summary = "This description (OpenAPI 3.1)"};
    std::vector<Route> all(routes.begin(), routes.end());
    all.push_back(route);
    const auto text =
        std::make_shared<const std::string>(to_text(http::openapi_document(all, version)));
    route.handler = Read{[text](const Request& /*request*/) { return document(text); }};
    return route;
}

}  // namespace stoa::api
