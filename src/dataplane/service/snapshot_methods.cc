// Methods of snapshots.
#include <utility>

#include "dataplane/service/objects.h"
#include "dataplane/service/service.h"

namespace stoa::service {

void Service::add_snapshot_methods() {
    add("snapshot.create", &Service::snapshot_create);
    add("snapshot.get", &Service::snapshot_get);
    add("snapshot.list", &Service::snapshot_list);
    add("snapshot.delete", &Service::snapshot_delete);
    add("snapshot.clone", &Service::snapshot_clone);
}

io::Task<Result<rpc::SnapshotCreated>> Service::snapshot_create(rpc::SnapshotCreate request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    std::vector<pool::SnapshotSpec> specs;
    for (const rpc::SnapshotSpec& wanted : request.snapshots) {
        CO_TRY_ASSIGN(const Uuid volume, find_volume(*pool, wanted.volume));
        specs.push_back({volume, wanted.name, wanted.uuid.value_or(Uuid{})});
    }
    CO_TRY_ASSIGN(auto uuids, co_await pool->snapshot(std::move(specs)));
    co_return rpc::SnapshotCreated{std::move(uuids)};
}

io::Task<Result<rpc::SnapshotStatus>> Service::snapshot_get(rpc::SnapshotRef request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    CO_TRY_ASSIGN(const Uuid uuid, find_snapshot(*pool, request.snapshot));
    co_return snapshot_status_of(*pool, uuid);
}

io::Task<Result<rpc::SnapshotList>> Service::snapshot_list(rpc::SnapshotQuery request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    std::optional<Uuid> volume;
    if (request.volume) {
        CO_TRY_ASSIGN(volume, find_volume(*pool, *request.volume));
    }
    rpc::SnapshotList list;
    for (const pool::SnapshotInfo& info : pool->snapshots(volume)) {
        CO_TRY_ASSIGN(auto status, snapshot_status_of(*pool, info.uuid));
        list.snapshots.push_back(std::move(status));
    }
    co_return list;
}

io::Task<Result<rpc::Nothing>> Service::snapshot_delete(rpc::SnapshotRef request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    CO_TRY_ASSIGN(const Uuid uuid, find_snapshot(*pool, request.snapshot));
    CO_TRY(co_await pool->delete_snapshot(uuid));
    co_return rpc::Nothing{};
}

io::Task<Result<rpc::VolumeStatus>> Service::snapshot_clone(rpc::SnapshotClone request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    CO_TRY_ASSIGN(const Uuid snapshot, find_snapshot(*pool, request.snapshot));
    pool::VolumeSpec spec;
    spec.name = request.name;
    spec.uuid = request.uuid.value_or(Uuid{});
    spec.size_bytes = request.size_bytes;
    spec.tags = bytes_of(request.tags);
    CO_TRY_ASSIGN(const Uuid uuid, co_await pool->clone(snapshot, std::move(spec)));
    co_return status_of(*pool, uuid);
}

}  // namespace stoa::service
