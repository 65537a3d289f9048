#include "controlplane/api/volume_routes.h"

#include "controlplane/api/route_parts.h"
#include "controlplane/storage/planner.h"

namespace stoa::api {

std::vector<http::Route> volume_routes(Context& context) {
    using http::Request;
    using model::Volume;
    using task::Ids;
    const auto with = [&context](Ids& ids) {
        return storage::PlanContext{context.records, ids, context.about.host};
    };
    std::vector<http::Route> routes;
    routes.push_back(create_route<Volume, model::VolumeCreate>(with_body<model::VolumeCreate>(
        [with](const model::VolumeCreate& body, const Request& /*request*/, Ids& ids) {
            return storage::plan_volume_create(with(ids), body);
        })));
    routes.push_back(set_route<Volume, model::VolumeSet>(with_body<model::VolumeSet>(
        [with](const model::VolumeSet& body, const Request& request, Ids& ids) {
            return storage::plan_volume_set(with(ids), request.parameter("volume"), body);
        })));
    routes.push_back(delete_route<Volume>({[with](const Request& request, Ids& ids) {
        return storage::plan_volume_delete(with(ids), request.parameter("volume"));
    }}));
    return routes;
}

}  // namespace stoa::api
