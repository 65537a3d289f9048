#include "controlplane/api/image_routes.h"

#include "controlplane/api/route_parts.h"
#include "controlplane/image/planner.h"

namespace stoa::api {

std::vector<http::Route> image_routes(Context& context) {
    using http::Request;
    using model::Image;
    using task::Ids;
    const auto with = [&context](Ids& ids) { return image::PlanContext{context.records, ids}; };
    std::vector<http::Route> routes;
    http::Route build = create_route<Image, model::ImageBuild>(with_body<model::ImageBuild>(
        [with](const model::ImageBuild& body, const Request& /*request*/, Ids& ids) {
            return image::plan_image_build(with(ids), body);
        }));
    build.path = "/v1/images/build";
    build.summary = "Builds an image out of the distribution's packages";
    routes.push_back(std::move(build));
    // Files of the host: whoever may read any of them is an administrator of it.
    http::Route import = create_route<Image, model::ImageImport>(with_body<model::ImageImport>(
        [with](const model::ImageImport& body, const Request& /*request*/, Ids& ids) {
            return image::plan_image_import(with(ids), body);
        }));
    import.path = "/v1/images/import";
    import.permission = "host.import";
    import.resource = "/";
    import.summary = "Takes a kernel from files of the host";
    routes.push_back(std::move(import));
    routes.push_back(set_route<Image, model::ImageSet>(with_body<model::ImageSet>(
        [with](const model::ImageSet& body, const Request& request, Ids& ids) {
            return image::plan_image_set(with(ids), request.parameter("image"), body);
        })));
    routes.push_back(delete_route<Image>({[with](const Request& request, Ids& ids) {
        return image::plan_image_delete(with(ids), request.parameter("image"));
    }}));
    return routes;
}

}  // namespace stoa::api
