#include "controlplane/api/snapshot_routes.h"

#include "controlplane/api/route_parts.h"
#include "controlplane/storage/planner.h"

namespace stoa::api {

std::vector<http::Route> snapshot_routes(Context& context) {
    using http::Request;
    using model::Snapshot;
    using task::Ids;
    const auto with = [&context](Ids& ids) {
        return storage::PlanContext{context.records, ids, context.about.host};
    };
    std::vector<http::Route> routes;
    routes.push_back(create_route<Snapshot, model::SnapshotCreate>(with_body<model::SnapshotCreate>(
        [with](const model::SnapshotCreate& body, const Request& /*request*/, Ids& ids) {
            return storage::plan_snapshot_create(with(ids), body);
        })));
    routes.push_back(set_route<Snapshot, model::SnapshotSet>(with_body<model::SnapshotSet>(
        [with](const model::SnapshotSet& body, const Request& request, Ids& ids) {
            return storage::plan_snapshot_set(with(ids), request.parameter("snapshot"), body);
        })));
    routes.push_back(delete_route<Snapshot>({[with](const Request& request, Ids& ids) {
        return storage::plan_snapshot_delete(with(ids), request.parameter("snapshot"));
    }}));
    routes.push_back(verb_route<Snapshot, model::SnapshotClone>(
        "clone", "Makes volumes with the snapshot's content, at once",
        with_body<model::SnapshotClone>(
            [with](const model::SnapshotClone& body, const Request& request, Ids& ids) {
                return storage::plan_snapshot_clone(with(ids), request.parameter("snapshot"), body);
            })));
    routes.push_back(verb_route<Snapshot, model::SnapshotRollback>(
        "rollback", "Gives the volumes the content that the snapshot has",
        with_body<model::SnapshotRollback>([with](const model::SnapshotRollback& body,
                                                  const Request& request, Ids& ids) {
            return storage::plan_snapshot_rollback(with(ids), request.parameter("snapshot"), body);
        })));
    return routes;
}

}  // namespace stoa::api
