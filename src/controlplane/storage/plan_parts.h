// Parts of plans about volumes and snapshots, for all who plan with them.
//
// Each adds what is wanted to the plan's intent, a step at the plan's beginning that takes that
// back if the plan fails, the step that makes it so (steps.h) at the end, and the lock of what it
// changes. A volume's owner is noted in its labels; the data plane keeps it in the volume's tags,
// so that a pool that is opened elsewhere tells whose it is.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/uuid.h"
#include "controlplane/model/storage.h"
#include "controlplane/records/records.h"
#include "controlplane/task/plan.h"

namespace stoa::storage {

// Labels whose values are ids of the record that has the volume for its own.
constexpr std::string_view kVmLabel = "stoa/vm";
constexpr std::string_view kImageLabel = "stoa/image";

using PoolRecord = model::Record<model::Pool>;
using VolumeRecord = model::Record<model::Volume>;
using SnapshotRecord = model::Record<model::Snapshot>;

// `stem`, or STEM-2, STEM-3 …: no volume of the pool has it. Cut to fit.
[[nodiscard]] std::string free_volume_name(const records::Records& records, const Uuid& pool,
                                           std::string_view stem);

// The record is made by the intent, `creating`; the step makes the volume (blank, or if it has a
// source: with the content of that snapshot, in the same pool) and tells that it is `ready`. Size
// 0: the source's. Undone, both are gone.
// Errors: not_found (the pool), invalid_argument (name, size), already_exists (the name).
Result<void> add_volume_creation(const records::Records& records, VolumeRecord volume,
                                 task::Plan& plan);

// Errors: invalid_argument (the size), in_use (smaller, without `shrink`). Undone it has its size
// again, but not what was cut off.
Result<void> add_resize(const records::Records& records, const VolumeRecord& volume,
                        uint64_t size_bytes, task::Plan& plan, bool shrink = false);

// With all snapshots that are of this volume alone. Who asks has looked who uses it. Cannot be
// undone; fails while it is attached or protected.
Result<void> add_volume_deletion(const records::Records& records, const VolumeRecord& volume,
                                 task::Plan& plan);

// Of what the data plane calls `pool_snapshot_name()`; the record is made by the intent. One
// instant for all parts in one pool. Undone, all is gone.
// Errors: not_found (a volume), already_exists (the name), invalid_argument (name, no parts).
Result<void> add_snapshot_creation(const records::Records& records, SnapshotRecord snapshot,
                                   task::Plan& plan);

// Clones of it live on. Cannot be undone. Errors: in_use (it is protected, or an image's).
Result<void> add_snapshot_deletion(const records::Records& records, const SnapshotRecord& snapshot,
                                   task::Plan& plan);

// The volume gets content and size of its snapshot (id in the pool). Fails while it is attached.
// Undone, it gets that of `safety`, if there is one.
Result<void> add_rollback(const VolumeRecord& volume, const Uuid& snapshot, task::Plan& plan,
                          std::optional<Uuid> safety = std::nullopt);

// Names in the pool: a volume's own snapshot is NAME, one of a VM's disks "vm.NAME".
[[nodiscard]] std::string pool_snapshot_name(const SnapshotRecord& snapshot);

// Puts a step that takes back what the intent did (TYPE.record, TYPE.intent) behind those that the
// plan begins with: whichever step fails, it is undone.
void add_intent_step(task::Plan& plan, model::Step step);

// "volume/ID" among the plan's locks, once.
void add_lock(task::Plan& plan, std::string_view kind, const Uuid& id);

}  // namespace stoa::storage
