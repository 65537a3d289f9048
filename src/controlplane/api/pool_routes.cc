#include "controlplane/api/pool_routes.h"

#include "controlplane/api/route_parts.h"
#include "controlplane/storage/planner.h"

namespace stoa::api {

std::vector<http::Route> pool_routes(Context& context) {
    using http::Request;
    using model::Pool;
    using task::Ids;
    const auto with = [&context](Ids& ids) {
        return storage::PlanContext{context.records, ids, context.about.host};
    };
    std::vector<http::Route> routes;
    routes.push_back(create_route<Pool, model::PoolCreate>(with_body<model::PoolCreate>(
        [with](const model::PoolCreate& body, const Request& /*request*/, Ids& ids) {
            return storage::plan_pool_create(with(ids), body);
        })));
    routes.push_back(set_route<Pool, model::PoolSet>(with_body<model::PoolSet>(
        [with](const model::PoolSet& body, const Request& request, Ids& ids) {
            return storage::plan_pool_set(with(ids), request.parameter("pool"), body);
        })));
    routes.push_back(delete_route<Pool>({[with](const Request& request, Ids& ids) {
        return storage::plan_pool_delete(with(ids), request.parameter("pool"));
    }}));
    routes.push_back(verb_route<Pool, model::PoolAddDevice>(
        "add-device", "Adds a device to a pool",
        with_body<model::PoolAddDevice>(
            [with](const model::PoolAddDevice& body, const Request& request, Ids& ids) {
                return storage::plan_pool_add_device(with(ids), request.parameter("pool"), body);
            })));
    routes.push_back(verb_route<Pool, model::PoolScrub>(
        "scrub", "Reads all of a pool and checks it",
        with_body<model::PoolScrub>(
            [with](const model::PoolScrub& body, const Request& request, Ids& ids) {
                return storage::plan_pool_scrub(with(ids), request.parameter("pool"), body);
            })));
    return routes;
}

}  // namespace stoa::api
