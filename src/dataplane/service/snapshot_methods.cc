// Methods of snapshots.
#include <algorithm>
#include <utility>

#include "dataplane/service/objects.h"
#include "dataplane/service/service.h"

namespace stoa::service {

namespace {

// What the caller asks for is there already, as he asked for it and with the UUIDs that he chose.
// Asked after the engine has refused: then it is durable.
bool are_there(const pool::Pool& pool, const std::vector<pool::SnapshotSpec>& specs) {
    return std::ranges::all_of(specs, [&pool](const pool::SnapshotSpec& spec) {
        const auto there = pool.snapshot_info(spec.uuid);
        return there.ok() && !there->deleting && there->volume == spec.volume &&
               there->name == spec.name;
    });
}

// The snapshot that the volume was cloned from: behind those of its own.
Uuid cloned_from(const pool::Pool& pool, const pool::VolumeInfo& volume) {
    Uuid at = volume.parent;
    while (true) {
        const auto snapshot = pool.snapshot_info(at);
        if (!snapshot.ok() || snapshot->volume != volume.uuid) return at;
        at = snapshot->parent;
    }
}

bool is_there(const pool::Pool& pool, const Uuid& snapshot, const pool::VolumeSpec& spec) {
    const auto there = pool.volume(spec.uuid);
    const auto parent = pool.snapshot_info(snapshot);
    if (!there.ok() || !parent.ok()) return false;
    const uint64_t size = spec.size_bytes == 0 ? parent->size_bytes : spec.size_bytes;
    return !there->deleting && there->name == spec.name && cloned_from(pool, *there) == snapshot &&
           there->size_bytes == size;
}

}  // namespace

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
    auto uuids = co_await pool->snapshot(specs);
    if (!uuids.ok()) {
        if (uuids.error().code() != ErrorCode::already_exists || !are_there(*pool, specs)) {
            co_return uuids.take_error();
        }
        uuids = std::vector<Uuid>();
        for (const pool::SnapshotSpec& spec : specs) uuids->push_back(spec.uuid);
    }
    co_return rpc::SnapshotCreated{*std::move(uuids)};
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
    auto uuid = co_await pool->clone(snapshot, spec);
    if (!uuid.ok()) {
        if (uuid.error().code() != ErrorCode::already_exists || !is_there(*pool, snapshot, spec)) {
            co_return uuid.take_error();
        }
        uuid = spec.uuid;
    }
    co_return status_of(*pool, *uuid);
}

}  // namespace stoa::service
