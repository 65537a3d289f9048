#include "controlplane/storage/reconcile.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include "base/utf8.h"
#include "controlplane/storage/plan_parts.h"
#include "controlplane/storage/step_type.h"
#include "controlplane/storage/tags.h"

namespace stoa::storage {

namespace {

using model::StorageState;

constexpr std::chrono::milliseconds kAgainAfter{500};
constexpr std::chrono::milliseconds kAgainAfterMax{10'000};

// What a pool holds, by uuid; without what is being deleted.
struct Holding {
    std::map<Uuid, rpc::VolumeStatus> volumes;
    std::map<Uuid, rpc::SnapshotStatus> snapshots;
};

Async<Holding> look_into(Blockd& blockd, Uuid pool) {
    Holding holding;
    CO_TRY_ASSIGN(rpc::VolumeList volumes, co_await blockd.volume_list(pool));
    for (rpc::VolumeStatus& one : volumes.volumes) {
        if (!one.deleting) holding.volumes.emplace(one.uuid, std::move(one));
    }
    CO_TRY_ASSIGN(rpc::SnapshotList snapshots, co_await blockd.snapshot_list(pool));
    for (rpc::SnapshotStatus& one : snapshots.snapshots) {
        if (!one.deleting && one.volume) holding.snapshots.emplace(one.uuid, std::move(one));
    }
    co_return holding;
}

// Whether a task that is not over changes it.
bool is_busy(const records::Records& records, std::string_view kind, const Uuid& id) {
    const std::string lock = fmt::format("{}/{}", kind, id.to_string());
    return std::ranges::any_of(records.all<model::Task>(), [&lock](const auto& entry) {
        const model::Record<model::Task>& task = entry.second;
        const bool is_over = task.status.state == model::TaskState::done ||
                             task.status.state == model::TaskState::failed ||
                             task.status.state == model::TaskState::cancelled;
        return !is_over && std::ranges::find(task.spec.locks, lock) != task.spec.locks.end();
    });
}

// One run of it.
class Reconciler {
public:
    Reconciler(records::Records& records, Blockd& blockd) : records_(records), blockd_(blockd) {}

    Async<ReconcileReport> run();

private:
    Async<> look_at_pool(Uuid id, const rpc::PoolStatus* there);
    Async<> look_at_volumes(Uuid pool, const Holding* holding, std::string why_missing);
    Async<> rename_again();
    Async<> look_at_volume(Uuid id, const rpc::VolumeStatus* there, std::string why_missing);
    Async<> look_at_snapshot(Uuid id, const std::set<Uuid>& there);
    Async<> mend_in_pool(VolumeRecord record, rpc::VolumeStatus there);
    template <class Kind>
    Async<> note_state(Uuid id, StorageState state, std::string reason);
    void note_unknown(const std::map<Uuid, Holding>& holdings, const rpc::PoolList& pools);

    records::Records& records_;
    Blockd& blockd_;
    ReconcileReport report_;
    std::vector<Uuid> name_taken_;  // volumes whose name another one in the pool still has
};

template <class Kind>
Async<> Reconciler::note_state(Uuid id, StorageState state, std::string reason) {
    const model::Record<Kind>* record = records_.get<Kind>(id);
    if (record == nullptr) co_return Result<void>();
    if (record->status.state == state && record->status.reason == reason) {
        co_return Result<void>();
    }
    report_.changes.push_back(fmt::format("{} {} is {}{}{}", Kind::kName,
                                          records_.full_name(*record),
                                          enum_names(StorageState{}).at(static_cast<size_t>(state)),
                                          reason.empty() ? "" : ": ", reason));
    co_return co_await set_state<Kind>(records_, id, state, std::move(reason));
}

Async<> Reconciler::look_at_pool(Uuid id, const rpc::PoolStatus* there) {
    const PoolRecord* record = records_.get<model::Pool>(id);
    if (record == nullptr || record->status.state == StorageState::creating ||
        is_busy(records_, "pool", id)) {
        co_return Result<void>();
    }
    if (there == nullptr) {
        co_return co_await note_state<model::Pool>(id, StorageState::missing,
                                                   "stoa-blockd does not know it");
    }
    if (there->state == rpc::PoolState::open) {
        co_return co_await note_state<model::Pool>(id, StorageState::ready,
                                                   there->read_only ? there->read_only_reason : "");
    }
    if (there->state == rpc::PoolState::failed) {
        co_return co_await note_state<model::Pool>(id, StorageState::failed,
                                                   to_plain_text(there->error));
    }
    report_.is_whole = false;
    co_return Result<void>();
}

Async<> Reconciler::look_at_volumes(Uuid pool, const Holding* holding, std::string why_missing) {
    std::vector<Uuid> ids;
    for (const auto& [id, volume] : records_.all<model::Volume>()) {
        if (volume.spec.pool == pool) ids.push_back(id);
    }
    for (const Uuid& id : ids) {
        const rpc::VolumeStatus* there = nullptr;
        if (holding != nullptr) {
            const auto at = holding->volumes.find(id);
            if (at != holding->volumes.end()) there = &at->second;
        }
        CO_TRY(co_await look_at_volume(id, there, why_missing));
    }
    co_return co_await rename_again();
}

// As long as each round frees a name. Two that want each other's are told, and keep theirs.
Async<> Reconciler::rename_again() {
    for (bool has_moved = true; has_moved && !name_taken_.empty();) {
        has_moved = false;
        const std::vector<Uuid> waiting = std::exchange(name_taken_, {});
        for (const Uuid& id : waiting) {
            const VolumeRecord* record = records_.get<model::Volume>(id);
            if (record == nullptr) continue;
            const std::string full_name = records_.full_name(*record);
            const auto renamed = co_await blockd_.volume_rename(
                {record->spec.pool.to_string(), id.to_string(), record->name});
            if (renamed.ok()) {
                has_moved = true;
                report_.changes.push_back(
                    fmt::format("volume {}: renamed in its pool too", full_name));
            } else {
                name_taken_.push_back(id);
            }
        }
    }
    for (const Uuid& id : std::exchange(name_taken_, {})) {
        report_.changes.push_back(fmt::format(
            "volume {}: cannot be renamed in its pool: another one has that name", id.to_string()));
    }
    co_return Result<void>();
}

bool is_alike(const VolumeRecord& record, const rpc::VolumeStatus& there) {
    return record.status.state == StorageState::ready && record.name == there.name &&
           record.spec.size_bytes == there.size_bytes &&
           record.spec.is_protected == there.is_protected && tags_of(record.labels) == there.tags;
}

Async<> Reconciler::look_at_volume(Uuid id, const rpc::VolumeStatus* there,
                                   std::string why_missing) {
    const VolumeRecord* record = records_.get<model::Volume>(id);
    if (record == nullptr || record->status.state == StorageState::creating) {
        co_return Result<void>();
    }
    if (there != nullptr && is_alike(*record, *there)) co_return Result<void>();
    if (!why_missing.empty()) {
        if (is_busy(records_, "volume", id)) co_return Result<void>();
        co_return co_await note_state<model::Volume>(id, StorageState::missing, why_missing);
    }
    // A task may have changed it since the pool was listed: it is looked at once more.
    CO_TRY_ASSIGN(const auto now, co_await blockd_.volume_get(record->spec.pool, id));
    record = records_.get<model::Volume>(id);
    if (record == nullptr || is_busy(records_, "volume", id)) co_return Result<void>();
    if (!now) {
        co_return co_await note_state<model::Volume>(id, StorageState::missing,
                                                     "its pool does not have it");
    }
    if (is_alike(*record, *now)) co_return Result<void>();
    if (record->spec.size_bytes != now->size_bytes) {
        report_.changes.push_back(fmt::format("volume {} has {} bytes, not {}",
                                              records_.full_name(*record), now->size_bytes,
                                              record->spec.size_bytes));
        const uint64_t size_bytes = now->size_bytes;
        CO_TRY(co_await change_record<model::Volume>(
            records_, id,
            [size_bytes](VolumeRecord& volume) { volume.spec.size_bytes = size_bytes; }));
    }
    CO_TRY(co_await note_state<model::Volume>(id, StorageState::ready, ""));
    record = records_.get<model::Volume>(id);
    if (record == nullptr) co_return Result<void>();
    co_return co_await mend_in_pool(*record, *now);
}

// What cannot be mended is told, and stops nothing.
Async<> Reconciler::mend_in_pool(VolumeRecord record, rpc::VolumeStatus there) {
    const std::string pool = record.spec.pool.to_string();
    const std::string volume = record.id.to_string();
    const std::string full_name = records_.full_name(record);
    const auto tell = [&](std::string_view what, const auto& result) {
        report_.changes.push_back(
            result.ok() ? fmt::format("volume {}: {} in its pool too", full_name, what)
                        : fmt::format("volume {}: cannot be {} in its pool: {}", full_name, what,
                                      result.error().message()));
    };
    if (record.name != there.name) {
        const auto renamed = co_await blockd_.volume_rename({pool, volume, record.name});
        // Perhaps of one that gets another name itself: tried again when all were looked at.
        const bool is_taken = !renamed.ok() && renamed.error().code() == ErrorCode::already_exists;
        if (is_taken) name_taken_.push_back(record.id);
        else tell("renamed", renamed);
    }
    if (record.spec.is_protected != there.is_protected) {
        tell(record.spec.is_protected ? "protected" : "unprotected",
             co_await blockd_.protect({pool, volume, record.spec.is_protected}));
    }
    if (const std::string tags = tags_of(record.labels); tags != there.tags) {
        tell("tagged", co_await blockd_.volume_set_tags({pool, volume, tags}));
    }
    co_return Result<void>();
}

// `there`: all snapshots of all open pools.
Async<> Reconciler::look_at_snapshot(Uuid id, const std::set<Uuid>& there) {
    const SnapshotRecord* record = records_.get<model::Snapshot>(id);
    if (record == nullptr || record->status.state == StorageState::creating) {
        co_return Result<void>();
    }
    const bool was_ready = record->status.state == StorageState::ready;
    const std::vector<PlacedPart> parts = place(records_, record->spec.parts);
    const size_t wanted = record->spec.parts.size();
    const bool has_all = std::ranges::all_of(
        record->spec.parts, [&there](const auto& part) { return there.contains(part.snapshot); });
    if (has_all && was_ready) co_return Result<void>();
    size_t found = 0;
    for (const PlacedPart& part : parts) {
        if (there.contains(part.snapshot)) {
            ++found;
            continue;
        }
        const auto now = co_await blockd_.snapshot_get(part.pool, part.snapshot);
        if (now.ok() && *now) ++found;
    }
    if (is_busy(records_, "snapshot", id)) co_return Result<void>();
    if (found == wanted)
        co_return co_await note_state<model::Snapshot>(id, StorageState::ready, "");
    co_return co_await note_state<model::Snapshot>(
        id, StorageState::missing, fmt::format("{} of its {} parts are there", found, wanted));
}

void Reconciler::note_unknown(const std::map<Uuid, Holding>& holdings, const rpc::PoolList& pools) {
    using What = Unknown::What;
    for (const rpc::PoolStatus& pool : pools.pools) {
        if (records_.get<model::Pool>(pool.uuid) != nullptr) continue;
        report_.unknown.push_back({What::pool, pool.uuid, pool.uuid, to_plain_text(pool.name)});
    }
    std::set<Uuid> parts;
    for (const auto& [id, snapshot] : records_.all<model::Snapshot>()) {
        for (const model::SnapshotPart& part : snapshot.spec.parts) parts.insert(part.snapshot);
    }
    for (const auto& [id, image] : records_.all<model::Image>()) {
        if (image.spec.snapshot) parts.insert(*image.spec.snapshot);
    }
    for (const auto& [pool, holding] : holdings) {
        for (const auto& [id, volume] : holding.volumes) {
            if (records_.get<model::Volume>(id) != nullptr) continue;
            report_.unknown.push_back({What::volume, pool, id, to_plain_text(volume.name)});
        }
        for (const auto& [id, snapshot] : holding.snapshots) {
            if (parts.contains(id)) continue;
            report_.unknown.push_back({What::snapshot, pool, id, to_plain_text(snapshot.name)});
        }
    }
}

Async<ReconcileReport> Reconciler::run() {
    CO_TRY_ASSIGN(const rpc::PoolList pools, co_await blockd_.pool_list());
    std::map<Uuid, const rpc::PoolStatus*> by_id;
    std::map<Uuid, Holding> holdings;
    for (const rpc::PoolStatus& pool : pools.pools) {
        by_id[pool.uuid] = &pool;
        if (pool.state != rpc::PoolState::open) continue;
        auto holding = co_await look_into(blockd_, pool.uuid);
        // Closed meanwhile.
        if (!holding.ok() && holding.error().code() == ErrorCode::not_found) continue;
        if (!holding.ok()) co_return holding.take_error();
        holdings[pool.uuid] = *std::move(holding);
    }
    std::vector<Uuid> ids;
    for (const auto& [id, pool] : records_.all<model::Pool>()) ids.push_back(id);
    std::set<Uuid> opening;
    for (const Uuid& id : ids) {
        const auto at = by_id.find(id);
        const rpc::PoolStatus* there = at == by_id.end() ? nullptr : at->second;
        CO_TRY(co_await look_at_pool(id, there));
        const auto holding = holdings.find(id);
        const bool is_opening = there != nullptr && there->state == rpc::PoolState::opening;
        if (is_opening) opening.insert(id);
        if (is_opening || is_busy(records_, "pool", id)) continue;
        const bool is_there = holding != holdings.end();
        CO_TRY(co_await look_at_volumes(id, is_there ? &holding->second : nullptr,
                                        is_there ? "" : "its pool is not open"));
    }
    std::set<Uuid> snapshots;
    for (const auto& [pool, holding] : holdings) {
        for (const auto& [id, snapshot] : holding.snapshots) snapshots.insert(id);
    }
    ids.clear();
    for (const auto& [id, snapshot] : records_.all<model::Snapshot>()) {
        const auto in_opening = [&](const PlacedPart& part) { return opening.contains(part.pool); };
        if (std::ranges::none_of(place(records_, snapshot.spec.parts), in_opening)) {
            ids.push_back(id);
        }
    }
    for (const Uuid& id : ids) CO_TRY(co_await look_at_snapshot(id, snapshots));
    note_unknown(holdings, pools);
    co_return std::move(report_);
}

}  // namespace

Async<ReconcileReport> reconcile(records::Records& records, Blockd& blockd) {
    Reconciler reconciler(records, blockd);
    co_return co_await reconciler.run();
}

AsyncVoid keep_reconciled(records::Records& records, Blockd& blockd,
                          std::function<void(const ReconcileReport&)> tell,
                          std::function<void(const rpc::Event&)> heard) {
    asio::steady_timer pause(co_await asio::this_coro::executor);
    for (;;) {
        const auto notice = co_await blockd.client().next_notice();
        if (!notice.ok()) co_return;
        if (notice->what == Notice::What::event) heard(notice->event);
        if (notice->what != Notice::What::connected && notice->what != Notice::What::lost) continue;
        auto wait = kAgainAfter;
        while (blockd.client().is_connected()) {
            const auto report = co_await reconcile(records, blockd);
            if (report.ok()) tell(*report);
            if (report.ok() && report->is_whole) break;
            if (!report.ok() && report.error().code() == ErrorCode::cancelled) co_return;
            pause.expires_after(wait);
            const auto [stopped] = co_await pause.async_wait(kAwait);
            if (stopped) co_return;
            wait = std::min(2 * wait, kAgainAfterMax);
        }
    }
}

}  // namespace stoa::storage
