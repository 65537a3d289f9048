#include "controlplane/storage/blockd.h"

#include <fmt/format.h>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

namespace stoa::storage {

namespace {

using Clock = asio::steady_timer::clock_type;

// Before a pool that is being opened is asked for again.
constexpr std::chrono::milliseconds kBusyPause{50};

std::chrono::milliseconds until(const Clock::time_point& end) {
    return std::chrono::duration_cast<std::chrono::milliseconds>(end - Clock::now());
}

constexpr std::string_view kNil = "00000000-0000-0000-0000-000000000000";
constexpr std::string_view kUnknown = "ffffffff-ffff-ffff-ffff-ffffffffffff";

// Devices of a pool that is not open come with the nil UUID, which is no UUID to from_json().
void name_unknown(Json& json) {
    if (JsonArray* array = json.if_array(); array != nullptr) {
        for (Json& item : *array) name_unknown(item);
    } else if (JsonObject* object = json.if_object(); object != nullptr) {
        for (auto& member : *object) name_unknown(member.value());
    } else if (json.is_string() && std::string_view(json.get_string()) == kNil) {
        json = kUnknown;
    }
}

}  // namespace

template <class Answer, class Question>
Async<Answer> Blockd::ask(std::string method, Question question, std::chrono::milliseconds limit) {
    const auto executor = co_await asio::this_coro::executor;
    asio::steady_timer pause(executor, limit);
    const Clock::time_point end = pause.expiry();
    for (;;) {
        auto answer = co_await client_.call(method, to_json(question), until(end));
        if (!answer.ok() && answer.error().code() == ErrorCode::busy && until(end) > kBusyPause) {
            pause.expires_after(kBusyPause);
            const auto [stopped] = co_await pause.async_wait(kAwait);
            if (stopped) co_return Error(ErrorCode::cancelled, method + ": given up");
            continue;
        }
        if (!answer.ok()) co_return answer.take_error();
        name_unknown(*answer);
        Answer value;
        const Result<void> read = from_json(*answer, value);
        if (!read.ok()) {
            co_return Error(ErrorCode::io, fmt::format("{}: stoa-blockd answered what is no answer "
                                                       "to it: {}",
                                                       method, read.error().message()));
        }
        co_return value;
    }
}

namespace {

// Of an answer that says nothing.
Result<void> done(const Result<rpc::Nothing>& answer) {
    if (!answer.ok()) return answer.error();
    return {};
}
Result<void> done_or_gone(const Result<void>& answer) {
    if (!answer.ok() && answer.error().code() != ErrorCode::not_found) return answer.error();
    return {};
}

}  // namespace

template <class T>
Async<std::optional<T>> Blockd::or_none(Result<T> found, std::optional<Uuid> pool) {
    if (found.ok()) co_return std::optional<T>(*std::move(found));
    if (found.error().code() != ErrorCode::not_found) co_return found.take_error();
    if (pool) {
        CO_TRY_ASSIGN(const auto there, co_await pool_get(*pool));
        if (!there) co_return found.take_error();
    }
    co_return std::optional<T>();
}

// ---- the daemon

Async<rpc::DaemonInfo> Blockd::daemon_info() {
    co_return co_await ask<rpc::DaemonInfo>("daemon.info", rpc::Nothing{}, limits_.look);
}
Async<std::string> Blockd::daemon_metrics() {
    auto text = co_await ask<rpc::Text>("daemon.metrics", rpc::Nothing{}, limits_.look);
    if (!text.ok()) co_return text.take_error();
    co_return std::move(text->text);
}
Async<std::optional<rpc::TaskStatus>> Blockd::task_get(uint64_t task) {
    auto found = co_await ask<rpc::TaskStatus>("task.get", rpc::TaskRef{task}, limits_.look);
    co_return co_await or_none(std::move(found), std::nullopt);
}
Async<> Blockd::task_cancel(uint64_t task) {
    auto answer = co_await ask<rpc::Nothing>("task.cancel", rpc::TaskRef{task}, limits_.look);
    co_return done_or_gone(done(answer));
}

// ---- pools

Async<rpc::PoolStatus> Blockd::pool_create(rpc::PoolCreate request) {
    co_return co_await ask<rpc::PoolStatus>("pool.create", std::move(request), limits_.change);
}
Async<rpc::PoolStatus> Blockd::pool_open(rpc::PoolOpen request) {
    co_return co_await ask<rpc::PoolStatus>("pool.open", std::move(request), limits_.change);
}
Async<> Blockd::pool_close(Uuid pool) {
    auto answer =
        co_await ask<rpc::Nothing>("pool.close", rpc::PoolRef{pool.to_string()}, limits_.change);
    co_return done_or_gone(done(answer));
}
Async<rpc::PoolStatus> Blockd::pool_add_device(rpc::PoolAddDevice request) {
    co_return co_await ask<rpc::PoolStatus>("pool.add_device", std::move(request), limits_.change);
}
Async<rpc::PoolStatus> Blockd::pool_grow(Uuid pool) {
    co_return co_await ask<rpc::PoolStatus>("pool.grow", rpc::PoolRef{pool.to_string()},
                                            limits_.change);
}
Async<rpc::TaskRef> Blockd::pool_scrub(rpc::PoolScrub request) {
    co_return co_await ask<rpc::TaskRef>("pool.scrub", std::move(request), limits_.change);
}
Async<rpc::PoolList> Blockd::pool_list() {
    co_return co_await ask<rpc::PoolList>("pool.list", rpc::Nothing{}, limits_.look);
}
Async<std::optional<rpc::PoolStatus>> Blockd::pool_get(Uuid pool) {
    auto found =
        co_await ask<rpc::PoolStatus>("pool.get", rpc::PoolRef{pool.to_string()}, limits_.look);
    co_return co_await or_none(std::move(found), std::nullopt);
}

// ---- volumes

Async<rpc::VolumeStatus> Blockd::volume_create(rpc::VolumeCreate request) {
    co_return co_await ask<rpc::VolumeStatus>("volume.create", std::move(request), limits_.change);
}
Async<> Blockd::volume_delete(Uuid pool, Uuid volume) {
    CO_TRY_ASSIGN(const auto found, co_await volume_get(pool, volume));
    if (!found) co_return Result<void>();
    auto answer = co_await ask<rpc::Nothing>(
        "volume.delete", rpc::VolumeRef{pool.to_string(), volume.to_string()}, limits_.change);
    co_return done_or_gone(done(answer));
}
Async<rpc::VolumeStatus> Blockd::volume_rename(rpc::VolumeRename request) {
    co_return co_await ask<rpc::VolumeStatus>("volume.rename", std::move(request), limits_.change);
}
Async<rpc::VolumeStatus> Blockd::volume_resize(rpc::VolumeResize request) {
    co_return co_await ask<rpc::VolumeStatus>("volume.resize", std::move(request), limits_.change);
}
Async<rpc::VolumeStatus> Blockd::volume_set_tags(rpc::VolumeSetTags request) {
    co_return co_await ask<rpc::VolumeStatus>("volume.set_tags", std::move(request),
                                              limits_.change);
}
Async<rpc::VolumeStatus> Blockd::volume_rollback(rpc::Rollback request) {
    co_return co_await ask<rpc::VolumeStatus>("volume.rollback", std::move(request),
                                              limits_.change);
}
Async<> Blockd::protect(rpc::Protect request) {
    co_return done(
        co_await ask<rpc::Nothing>("volume.protect", std::move(request), limits_.change));
}
Async<rpc::VolumeList> Blockd::volume_list(Uuid pool) {
    co_return co_await ask<rpc::VolumeList>("volume.list", rpc::PoolRef{pool.to_string()},
                                            limits_.look);
}
Async<std::optional<rpc::VolumeStatus>> Blockd::volume_get(Uuid pool, Uuid volume) {
    auto found = co_await ask<rpc::VolumeStatus>(
        "volume.get", rpc::VolumeRef{pool.to_string(), volume.to_string()}, limits_.look);
    if (found.ok() && found->deleting) co_return std::optional<rpc::VolumeStatus>();
    co_return co_await or_none(std::move(found), pool);
}

// ---- snapshots

Async<rpc::SnapshotCreated> Blockd::snapshot_create(rpc::SnapshotCreate request) {
    co_return co_await ask<rpc::SnapshotCreated>("snapshot.create", std::move(request),
                                                 limits_.change);
}
Async<> Blockd::snapshot_delete(Uuid pool, Uuid snapshot) {
    CO_TRY_ASSIGN(const auto found, co_await snapshot_get(pool, snapshot));
    if (!found) co_return Result<void>();
    auto answer = co_await ask<rpc::Nothing>(
        "snapshot.delete", rpc::SnapshotRef{pool.to_string(), snapshot.to_string()},
        limits_.change);
    co_return done_or_gone(done(answer));
}
Async<rpc::VolumeStatus> Blockd::snapshot_clone(rpc::SnapshotClone request) {
    co_return co_await ask<rpc::VolumeStatus>("snapshot.clone", std::move(request), limits_.change);
}
Async<rpc::SnapshotList> Blockd::snapshot_list(Uuid pool) {
    co_return co_await ask<rpc::SnapshotList>(
        "snapshot.list", rpc::SnapshotQuery{pool.to_string(), std::nullopt}, limits_.look);
}
Async<std::optional<rpc::SnapshotStatus>> Blockd::snapshot_get(Uuid pool, Uuid snapshot) {
    auto found = co_await ask<rpc::SnapshotStatus>(
        "snapshot.get", rpc::SnapshotRef{pool.to_string(), snapshot.to_string()}, limits_.look);
    if (found.ok() && found->deleting) co_return std::optional<rpc::SnapshotStatus>();
    co_return co_await or_none(std::move(found), pool);
}

// ---- attachments

Async<rpc::AttachmentStatus> Blockd::attachment_create(rpc::AttachmentCreate request) {
    co_return co_await ask<rpc::AttachmentStatus>("attachment.create", std::move(request),
                                                  limits_.change);
}
Async<> Blockd::attachment_delete(Uuid attachment) {
    auto answer = co_await ask<rpc::Nothing>("attachment.delete", rpc::AttachmentRef{attachment},
                                             limits_.change);
    co_return done_or_gone(done(answer));
}
Async<rpc::AttachmentList> Blockd::attachment_list() {
    co_return co_await ask<rpc::AttachmentList>("attachment.list", rpc::Nothing{}, limits_.look);
}
Async<std::optional<rpc::AttachmentStatus>> Blockd::attachment_get(Uuid attachment) {
    auto found = co_await ask<rpc::AttachmentStatus>("attachment.get",
                                                     rpc::AttachmentRef{attachment}, limits_.look);
    co_return co_await or_none(std::move(found), std::nullopt);
}

}  // namespace stoa::storage
