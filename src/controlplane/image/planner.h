// What requests about images will do: pure functions from request and records to plans (the steps:
// steps.h).
//
// Errors of all: not_found, already_exists (when the intent is committed), invalid_argument (names
// the field), in_use (says who uses it).
#pragma once

#include <string_view>

#include "base/result.h"
#include "controlplane/model/image_requests.h"
#include "controlplane/records/records.h"
#include "controlplane/task/plan.h"

namespace stoa::image {

// What planners know besides the request. Borrowed for the call.
struct PlanContext {
    const records::Records& records;
    task::Ids& ids;
};

// The tiny image, out of the distribution's packages.
Result<task::Plan> plan_image_build(const PlanContext& context, const model::ImageBuild& request);

// A kernel, with an initrd or without. Errors besides: unsupported (a disk).
Result<task::Plan> plan_image_import(const PlanContext& context, const model::ImageImport& request);

Result<task::Plan> plan_image_set(const PlanContext& context, std::string_view image,
                                  const model::ImageSet& request);

// Refused while a VM starts its kernel or has its disk in a drive; VMs whose disks are clones of it
// do not mind.
Result<task::Plan> plan_image_delete(const PlanContext& context, std::string_view image);

// "kernel of vm web1, disk cd of vm web2"; empty: nobody.
[[nodiscard]] std::string users_of(const records::Records& records,
                                   const model::Record<model::Image>& image);

}  // namespace stoa::image
