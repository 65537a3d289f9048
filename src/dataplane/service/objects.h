// Volumes and snapshots: as requests name them, and as answers show them.
#pragma once

#include <string_view>
#include <vector>

#include "base/result.h"
#include "dataplane/pool/pool.h"
#include "rpc/blockd.h"

namespace stoa::service {

// A volume by name or UUID, or a snapshot by UUID or VOLUME@NAME. Errors: not_found.
Result<Uuid> find_object(const pool::Pool& pool, std::string_view name_or_uuid);
Result<Uuid> find_volume(const pool::Pool& pool, std::string_view name_or_uuid);
Result<Uuid> find_snapshot(const pool::Pool& pool, std::string_view name_or_uuid);

// Errors: not_found.
Result<rpc::VolumeStatus> status_of(const pool::Pool& pool, const Uuid& volume);
Result<rpc::SnapshotStatus> snapshot_status_of(const pool::Pool& pool, const Uuid& snapshot);

// Tags are text here and bytes in the pool.
[[nodiscard]] std::vector<std::byte> bytes_of(std::string_view text);

}  // namespace stoa::service
