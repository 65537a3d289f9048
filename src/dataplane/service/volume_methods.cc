// Methods of volumes and snapshots.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "dataplane/service/service.h"

namespace stoa::service {

namespace {

constexpr uint32_t kDiffRangesMax = 4096;

std::vector<std::byte> bytes_of(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

// Tags are text for everybody here; bytes that are none are shown as such a text can.
std::string text_of(const std::vector<std::byte>& bytes) {
    std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return text;
}

std::optional<Uuid> unless_nil(const Uuid& uuid) {
    return uuid.is_nil() ? std::nullopt : std::optional(uuid);
}

rpc::RangeKind kind_of(block::ExtentKind kind) { return static_cast<rpc::RangeKind>(kind); }

Result<rpc::VolumeStatus> status_of(const pool::Pool& pool, const Uuid& uuid) {
    TRY_ASSIGN(const pool::VolumeInfo info, pool.volume(uuid));
    rpc::VolumeStatus status;
    status.uuid = info.uuid;
    status.name = info.name;
    status.size_bytes = info.size_bytes;
    status.mapped_bytes = info.mapped_bytes;
    status.created_ns = info.created_ns;
    status.parent = unless_nil(info.parent);
    status.origin = unless_nil(info.origin);
    status.hydrated = info.hydrated;
    status.is_protected = info.is_protected;
    status.deleting = info.deleting;
    status.snapshots = info.snapshot_count;
    status.tags = text_of(info.tags);
    return status;
}

}  // namespace

void Service::add_volume_methods() {
    add("volume.create", &Service::volume_create);
    add("volume.get", &Service::volume_get);
    add("volume.list", &Service::volume_list);
    add("volume.delete", &Service::volume_delete);
    add("volume.rename", &Service::volume_rename);
    add("volume.resize", &Service::volume_resize);
    add("volume.set_tags", &Service::volume_set_tags);
    add("volume.protect", &Service::volume_protect);
    add("volume.flatten", &Service::volume_flatten);
    add("volume.hydrate", &Service::volume_hydrate);
    add("volume.rollback", &Service::volume_rollback);
    add("volume.diff", &Service::volume_diff);
    add("volume.exclusive", &Service::volume_exclusive);
    add("volume.explain", &Service::volume_explain);
}

io::Task<Result<rpc::VolumeStatus>> Service::volume_create(rpc::VolumeCreate request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    pool::VolumeSpec spec;
    spec.name = request.name;
    spec.uuid = request.uuid.value_or(Uuid{});
    spec.size_bytes = request.size_bytes;
    spec.tags = bytes_of(request.tags);
    CO_TRY_ASSIGN(const Uuid uuid, co_await pool->create_volume(std::move(spec)));
    co_return status_of(*pool, uuid);
}

io::Task<Result<rpc::VolumeStatus>> Service::volume_get(rpc::VolumeRef request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    CO_TRY_ASSIGN(const Uuid uuid, find_volume(*pool, request.volume));
    co_return status_of(*pool, uuid);
}

io::Task<Result<rpc::VolumeList>> Service::volume_list(rpc::PoolRef request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    rpc::VolumeList list;
    for (const pool::VolumeInfo& info : pool->volumes()) {
        CO_TRY_ASSIGN(auto status, status_of(*pool, info.uuid));
        list.volumes.push_back(std::move(status));
    }
    co_return list;
}

io::Task<Result<rpc::Nothing>> Service::volume_delete(rpc::VolumeRef request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    CO_TRY_ASSIGN(const Uuid uuid, find_volume(*pool, request.volume));
    CO_TRY(co_await pool->delete_volume(uuid));
    co_return rpc::Nothing{};
}

io::Task<Result<rpc::VolumeStatus>> Service::volume_rename(rpc::VolumeRename request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    CO_TRY_ASSIGN(const Uuid uuid, find_volume(*pool, request.volume));
    CO_TRY(co_await pool->rename_volume(uuid, request.name));
    co_return status_of(*pool, uuid);
}

io::Task<Result<rpc::VolumeStatus>> Service::volume_resize(rpc::VolumeResize request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    CO_TRY_ASSIGN(const Uuid uuid, find_volume(*pool, request.volume));
    CO_TRY(co_await pool->resize_volume(uuid, request.size_bytes, request.allow_shrink));
    co_return status_of(*pool, uuid);
}

io::Task<Result<rpc::VolumeStatus>> Service::volume_set_tags(rpc::VolumeSetTags request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    CO_TRY_ASSIGN(const Uuid uuid, find_volume(*pool, request.volume));
    CO_TRY(co_await pool->set_tags(uuid, bytes_of(request.tags)));
    co_return status_of(*pool, uuid);
}

io::Task<Result<rpc::Nothing>> Service::volume_protect(rpc::Protect request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    CO_TRY_ASSIGN(const Uuid uuid, find_object(*pool, request.object));
    CO_TRY(co_await pool->protect(uuid, request.on));
    co_return rpc::Nothing{};
}

io::Task<Result<rpc::TaskRef>> Service::volume_flatten(rpc::VolumeRef request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    CO_TRY_ASSIGN(const Uuid uuid, find_volume(*pool, request.volume));
    const auto work = [](pool::Pool& of, Uuid volume) -> io::Task<Result<Json>> {
        CO_TRY(co_await of.flatten(volume));
        co_return Json(JsonObject());
    };
    const std::string what =
        fmt::format("volume.flatten {}/{}", pool->info().name, pool->volume(uuid)->name);
    co_return rpc::TaskRef{background_.start(
        what, false, [pool = std::move(pool), work, uuid](Background::Control& /*control*/) {
            return work(*pool, uuid);
        })};
}

io::Task<Result<rpc::TaskRef>> Service::volume_hydrate(rpc::VolumeRef request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    CO_TRY_ASSIGN(const Uuid uuid, find_volume(*pool, request.volume));
    const auto work = [](pool::Pool& of, Uuid volume) -> io::Task<Result<Json>> {
        CO_TRY(co_await of.hydrate(volume));
        co_return Json(JsonObject());
    };
    const std::string what =
        fmt::format("volume.hydrate {}/{}", pool->info().name, pool->volume(uuid)->name);
    co_return rpc::TaskRef{background_.start(
        what, false, [pool = std::move(pool), work, uuid](Background::Control& /*control*/) {
            return work(*pool, uuid);
        })};
}

io::Task<Result<rpc::VolumeStatus>> Service::volume_rollback(rpc::Rollback request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    CO_TRY_ASSIGN(const Uuid uuid, find_volume(*pool, request.volume));
    CO_TRY_ASSIGN(const Uuid snapshot, find_snapshot(*pool, request.snapshot));
    CO_TRY(co_await pool->rollback(uuid, snapshot));
    co_return status_of(*pool, uuid);
}

io::Task<Result<rpc::Diff>> Service::volume_diff(rpc::DiffQuery request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    CO_TRY_ASSIGN(const Uuid from, find_object(*pool, request.from));
    CO_TRY_ASSIGN(const Uuid to, find_object(*pool, request.to));
    if (request.ranges_max == 0 || request.ranges_max > kDiffRangesMax) {
        co_return Error(ErrorCode::invalid_argument,
                        fmt::format("\"ranges_max\" must be from 1 to {}, not {}", kDiffRangesMax,
                                    request.ranges_max));
    }
    CO_TRY_ASSIGN(const pool::DiffPage page,
                  co_await pool->diff(from, to, request.offset_bytes, request.ranges_max));
    rpc::Diff diff;
    diff.next_offset_bytes = page.next_offset_bytes;
    diff.finished = page.finished;
    for (const pool::DiffRange& range : page.ranges) {
        diff.ranges.push_back({range.offset_bytes, range.length_bytes, kind_of(range.kind)});
    }
    co_return diff;
}

io::Task<Result<rpc::Bytes>> Service::volume_exclusive(rpc::ObjectRef request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    CO_TRY_ASSIGN(const Uuid uuid, find_object(*pool, request.object));
    CO_TRY_ASSIGN(const uint64_t bytes, co_await pool->exclusive_bytes(uuid));
    co_return rpc::Bytes{bytes};
}

io::Task<Result<rpc::Explanation>> Service::volume_explain(rpc::ExplainQuery request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    CO_TRY_ASSIGN(const Uuid uuid, find_object(*pool, request.object));
    CO_TRY_ASSIGN(const pool::BlockExplanation block,
                  co_await pool->explain(uuid, request.offset_bytes));
    rpc::Explanation explanation;
    explanation.kind = kind_of(block.kind);
    explanation.address = block.address;
    explanation.birth = block.birth;
    explanation.crc32c = block.crc;
    explanation.device = block.device;
    explanation.device_offset_bytes = block.device_offset_bytes;
    explanation.checksum_ok = block.checksum_ok;
    explanation.shared_with = block.shared_with;
    co_return explanation;
}

// ---- snapshots

namespace {

Result<rpc::SnapshotStatus> snapshot_status(const pool::Pool& pool, const Uuid& uuid) {
    TRY_ASSIGN(const pool::SnapshotInfo info, pool.snapshot_info(uuid));
    rpc::SnapshotStatus status;
    status.uuid = info.uuid;
    status.name = info.name;
    status.volume = unless_nil(info.volume);
    status.size_bytes = info.size_bytes;
    status.mapped_bytes = info.mapped_bytes;
    status.created_ns = info.created_ns;
    status.is_protected = info.is_protected;
    status.deleting = info.deleting;
    status.clones = info.clones;
    return status;
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
    CO_TRY_ASSIGN(auto uuids, co_await pool->snapshot(std::move(specs)));
    co_return rpc::SnapshotCreated{std::move(uuids)};
}

io::Task<Result<rpc::SnapshotStatus>> Service::snapshot_get(rpc::SnapshotRef request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    CO_TRY_ASSIGN(const Uuid uuid, find_snapshot(*pool, request.snapshot));
    co_return snapshot_status(*pool, uuid);
}

io::Task<Result<rpc::SnapshotList>> Service::snapshot_list(rpc::SnapshotQuery request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    std::optional<Uuid> volume;
    if (request.volume) {
        CO_TRY_ASSIGN(volume, find_volume(*pool, *request.volume));
    }
    rpc::SnapshotList list;
    for (const pool::SnapshotInfo& info : pool->snapshots(volume)) {
        CO_TRY_ASSIGN(auto status, snapshot_status(*pool, info.uuid));
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
