// What requests about pools, volumes and snapshots will do: pure functions from request and records
// to plans.
//
// A plan's intent says what is wanted and is committed before its first step; the steps (steps.h)
// make it so. Asked for what is so already, a plan has neither.
//
// Errors of all: not_found, already_exists, invalid_argument (names the field), in_use (says who
// uses it and what to do).
#pragma once

#include <string_view>

#include "base/result.h"
#include "controlplane/model/storage_requests.h"
#include "controlplane/records/records.h"
#include "controlplane/storage/plan_parts.h"
#include "controlplane/task/plan.h"

namespace stoa::storage {

// What planners know besides the request. Borrowed for the call.
struct PlanContext {
    const records::Records& records;
    task::Ids& ids;
    Uuid host;
};

// With `open`: a pool that is on the devices already is opened, and records are made of all that it
// holds; the plan's target is then pool/NAME. Undone, it is closed; files that were made stay.
Result<task::Plan> plan_pool_create(const PlanContext& context, const model::PoolCreate& request);
Result<task::Plan> plan_pool_set(const PlanContext& context, std::string_view pool,
                                 const model::PoolSet& request);
// Closed and forgotten with the records of all that it holds; what is on its devices stays, and can
// be opened again. Refused while VMs or images use it.
Result<task::Plan> plan_pool_delete(const PlanContext& context, std::string_view pool);
Result<task::Plan> plan_pool_add_device(const PlanContext& context, std::string_view pool,
                                        const model::PoolAddDevice& request);
Result<task::Plan> plan_pool_scrub(const PlanContext& context, std::string_view pool,
                                   const model::PoolScrub& request);

Result<task::Plan> plan_volume_create(const PlanContext& context,
                                      const model::VolumeCreate& request);
Result<task::Plan> plan_volume_set(const PlanContext& context, std::string_view volume,
                                   const model::VolumeSet& request);
// Refused while VMs use it or it has snapshots: names them.
Result<task::Plan> plan_volume_delete(const PlanContext& context, std::string_view volume);

Result<task::Plan> plan_snapshot_create(const PlanContext& context,
                                        const model::SnapshotCreate& request);
Result<task::Plan> plan_snapshot_set(const PlanContext& context, std::string_view snapshot,
                                     const model::SnapshotSet& request);
Result<task::Plan> plan_snapshot_delete(const PlanContext& context, std::string_view snapshot);
// New volumes; the target is the first.
Result<task::Plan> plan_snapshot_clone(const PlanContext& context, std::string_view snapshot,
                                       const model::SnapshotClone& request);
// Always takes a snapshot before. For volumes of no running VM.
Result<task::Plan> plan_snapshot_rollback(const PlanContext& context, std::string_view snapshot,
                                          const model::SnapshotRollback& request);

// Who uses the volume or (by its id in the pool) the snapshot: "disk root of vm web1", "image
// debian"; empty: nobody.
[[nodiscard]] std::string users_of(const records::Records& records, const Uuid& object);

}  // namespace stoa::storage
