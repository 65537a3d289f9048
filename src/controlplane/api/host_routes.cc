#include "controlplane/api/host_routes.h"

#include <optional>
#include <utility>

#include <fmt/format.h>

#include "controlplane/api/route_parts.h"

namespace stoa::api {

namespace {

// What is there is changed, all else stays.
struct HostSet {
    std::optional<std::string> name;
    std::optional<model::Labels> labels;
    std::optional<uint64_t> reserve_bytes;
    std::optional<uint32_t> grace_seconds;
    static constexpr auto fields() {
        return std::tuple(
            optional("name", &HostSet::name, "a DNS label"),
            optional("labels", &HostSet::labels, "all of them"),
            optional("reserve_bytes", &HostSet::reserve_bytes, "memory that guests do not get"),
            optional("grace_seconds", &HostSet::grace_seconds,
                     "how long a deleted VM can be undeleted"));
    }
};

Result<task::Plan> plan_host_set(const records::Records& records, const std::string& host,
                                 const HostSet& request) {
    TRY_ASSIGN(const auto* before, records.find<model::Host>(host));
    model::Record<model::Host> after = *before;
    if (request.name) {
        TRY(model::check_name(*request.name));
        after.name = *request.name;
    }
    if (request.labels) {
        TRY(model::check_labels(*request.labels));
        after.labels = *request.labels;
    }
    after.spec.reserve_bytes = request.reserve_bytes.value_or(before->spec.reserve_bytes);
    after.spec.grace_seconds = request.grace_seconds.value_or(before->spec.grace_seconds);
    task::Plan plan;
    plan.verb = "host.set";
    plan.target = fmt::format("host/{}", before->id.to_string());
    if (to_json(after) != to_json(*before)) records::replace(plan.intent, *before, after);
    return plan;
}

}  // namespace

std::vector<http::Route> host_routes(Context& context) {
    std::vector<http::Route> routes;
    routes.push_back(set_route<model::Host, HostSet>(with_body<HostSet>(
        [&context](const HostSet& body, const http::Request& request, task::Ids& /*ids*/) {
            return plan_host_set(context.records, request.parameter("host"), body);
        })));
    return routes;
}

}  // namespace stoa::api
