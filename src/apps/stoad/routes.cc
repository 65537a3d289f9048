#include "apps/stoad/routes.h"

#include <iterator>
#include <utility>

#include "base/schema.h"
#include "controlplane/api/access_routes.h"
#include "controlplane/api/event_routes.h"
#include "controlplane/api/host_routes.h"
#include "controlplane/api/image_routes.h"
#include "controlplane/api/network_routes.h"
#include "controlplane/api/pool_routes.h"
#include "controlplane/api/snapshot_routes.h"
#include "controlplane/api/task_routes.h"
#include "controlplane/api/volume_routes.h"

namespace stoa::apps::stoad {

namespace {

struct HostCheck {
    std::vector<host::Finding> items;
    static constexpr auto fields() {
        return std::tuple(required("items", &HostCheck::items, "the worst first"));
    }
};

// Looked at anew: what was mended since the start is no finding any more.
Async<http::Response> check_host(const host::FactsOptions& options) {
    CO_TRY_ASSIGN(const host::HostFacts facts, co_await host::gather_facts(options));
    co_return http::Response{.body = to_json(HostCheck{host::find_problems(facts, options)})};
}

http::Route check_route(const host::FactsOptions& options) {
    return {.path = "/v1/hosts/{host}/check",
            .permission = "host.read",
            .resource = "/host/{host}",
            .scope = http::HostScope::owner,
            .summary = "What this machine lacks",
            .handler = http::Read{[&options](const http::Request& /*request*/) {
                return check_host(options);
            }},
            .answer_schema = json_schema<HostCheck>()};
}

}  // namespace

std::vector<http::Route> all_routes(const RouteParts& parts) {
    std::vector<http::Route> all;
    const auto add = [&all](std::vector<http::Route> routes) {
        all.insert(all.end(), std::make_move_iterator(routes.begin()),
                   std::make_move_iterator(routes.end()));
    };
    add(api::task_routes(parts.context));
    add(api::event_routes(parts.context));
    add(api::access_routes(parts.context, parts.access));
    add(api::host_routes(parts.context));
    add(api::pool_routes(parts.context));
    add(api::volume_routes(parts.context));
    add(api::snapshot_routes(parts.context));
    add(api::image_routes(parts.context));
    add(api::network_routes(parts.context, parts.networks.may_manage()));
    add(api::vm_routes(parts.context, parts.guests, parts.settings, parts.planning));
    all.push_back(check_route(parts.facts_options));
    parts.context.live["vm"] = [parts](const Uuid& vm) {
        return api::live_vm(parts.context.records, parts.settings, parts.cgroups,
                            parts.context.clock, vm);
    };
    return all;
}

}  // namespace stoa::apps::stoad
