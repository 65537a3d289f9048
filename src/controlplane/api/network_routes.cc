#include "controlplane/api/network_routes.h"

#include "controlplane/api/route_parts.h"
#include "controlplane/network/plans.h"

namespace stoa::api {

std::vector<http::Route> network_routes(Context& context, bool may_manage) {
    using http::Request;
    using model::Network;
    using task::Ids;
    const auto with = [&context, may_manage](Ids& ids) {
        return network::Planning{context.records, ids, may_manage};
    };
    std::vector<http::Route> routes;
    routes.push_back(create_route<Network, model::NetworkCreate>(with_body<model::NetworkCreate>(
        [with](const model::NetworkCreate& body, const Request& /*request*/, Ids& ids) {
            return network::plan_create(with(ids), body);
        })));
    routes.push_back(set_route<Network, model::NetworkSet>(with_body<model::NetworkSet>(
        [with](const model::NetworkSet& body, const Request& request, Ids& ids) {
            // The revision is compared by whoever asks for the plan (change.cc).
            return network::plan_set(with(ids), request.parameter("network"), body, "");
        })));
    routes.push_back(delete_route<Network>({[with](const Request& request, Ids& ids) {
        return network::plan_delete(with(ids), request.parameter("network"), "");
    }}));
    return routes;
}

}  // namespace stoa::api
