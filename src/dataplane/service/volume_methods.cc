// Methods of volumes, and of what volumes and snapshots have in common.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "dataplane/service/objects.h"
#include "dataplane/service/service.h"

namespace stoa::service {

namespace {

constexpr uint32_t kDiffRangesMax = 4096;

rpc::RangeKind kind_of(block::ExtentKind kind) { return static_cast<rpc::RangeKind>(kind); }

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
    std::optional<io::Mutex::Guard> guard;  // the origin is not forgotten meanwhile
    if (request.origin) {
        guard.emplace(co_await origins_.lock());
        CO_TRY_ASSIGN(const rpc::OriginStatus origin, origins_.status(*request.origin));
        spec.origin = origin.uuid;
        if (spec.size_bytes == 0) spec.size_bytes = origin.size_bytes;
    }
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
    co_await attachments_.volume_deleted(pool->info().uuid, uuid);
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
    const pool::PoolInfo info = pool->info();
    std::string what = fmt::format("volume.flatten {}/{}", info.name, pool->volume(uuid)->name);
    co_return rpc::TaskRef{
        background_.start(std::move(what), info.uuid, true,
                          [pool = std::move(pool), uuid](Background::Control& control) {
                              return pool->flatten(uuid, control.progress());
                          })};
}

io::Task<Result<rpc::TaskRef>> Service::volume_hydrate(rpc::VolumeRef request) {
    CO_TRY_ASSIGN(PoolUse pool, open_pool(request.pool));
    CO_TRY_ASSIGN(const Uuid uuid, find_volume(*pool, request.volume));
    const pool::PoolInfo info = pool->info();
    std::string what = fmt::format("volume.hydrate {}/{}", info.name, pool->volume(uuid)->name);
    co_return rpc::TaskRef{
        background_.start(std::move(what), info.uuid, true,
                          [pool = std::move(pool), uuid](Background::Control& control) {
                              return pool->hydrate(uuid, {control.progress(), true});
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

}  // namespace stoa::service
