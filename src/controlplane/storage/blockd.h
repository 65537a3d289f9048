// Blockd: the calls of stoa-blockd by name, as the control plane makes them.
//
// All may be asked twice, and are, when the connection is lost meanwhile. A pool that is just being
// opened (after a restart of the daemon) answers `busy`: that is waited for until the deadline.
// A device of a pool that is not open has the UUID of all ones: its own is not known then.
// Errors of each: those of docs/blockd.md, and of BlockdClient::call; `io` for an answer that is no
// answer to this question.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "controlplane/async/async.h"
#include "controlplane/storage/blockd_client.h"
#include "rpc/blockd.h"

namespace stoa::storage {

// For what only looks, and for what changes something.
struct BlockdLimits {
    std::chrono::milliseconds look{10'000};
    std::chrono::milliseconds change{60'000};
};

// `client` outlives it. One thread.
class Blockd {
public:
    explicit Blockd(BlockdClient& client, BlockdLimits limits = {})
        : client_(client), limits_(limits) {}

    Async<rpc::DaemonInfo> daemon_info();
    Async<std::string> daemon_metrics();  // Prometheus text

    Async<rpc::PoolStatus> pool_create(rpc::PoolCreate request);
    Async<rpc::PoolStatus> pool_open(rpc::PoolOpen request);
    Async<> pool_close(Uuid pool);
    Async<rpc::PoolStatus> pool_add_device(rpc::PoolAddDevice request);
    Async<rpc::PoolStatus> pool_grow(Uuid pool);
    Async<rpc::TaskRef> pool_scrub(rpc::PoolScrub request);
    Async<rpc::PoolList> pool_list();
    // None: there is no such pool.
    Async<std::optional<rpc::PoolStatus>> pool_get(Uuid pool);

    Async<rpc::VolumeStatus> volume_create(rpc::VolumeCreate request);
    // Gone already is fine.
    Async<> volume_delete(Uuid pool, Uuid volume);
    Async<rpc::VolumeStatus> volume_rename(rpc::VolumeRename request);
    Async<rpc::VolumeStatus> volume_resize(rpc::VolumeResize request);
    Async<rpc::VolumeStatus> volume_set_tags(rpc::VolumeSetTags request);
    Async<rpc::VolumeStatus> volume_rollback(rpc::Rollback request);
    Async<> protect(rpc::Protect request);  // volume or snapshot
    Async<rpc::VolumeList> volume_list(Uuid pool);
    // None: the pool is open, and has no such volume (or is just deleting it).
    Async<std::optional<rpc::VolumeStatus>> volume_get(Uuid pool, Uuid volume);

    Async<rpc::SnapshotCreated> snapshot_create(rpc::SnapshotCreate request);
    // Gone already is fine.
    Async<> snapshot_delete(Uuid pool, Uuid snapshot);
    Async<rpc::VolumeStatus> snapshot_clone(rpc::SnapshotClone request);
    Async<rpc::SnapshotList> snapshot_list(Uuid pool);
    Async<std::optional<rpc::SnapshotStatus>> snapshot_get(Uuid pool, Uuid snapshot);

    Async<rpc::AttachmentStatus> attachment_create(rpc::AttachmentCreate request);
    // Gone already is fine.
    Async<> attachment_delete(Uuid attachment);
    Async<rpc::AttachmentList> attachment_list();
    Async<std::optional<rpc::AttachmentStatus>> attachment_get(Uuid attachment);

    // None: of another run of the daemon.
    Async<std::optional<rpc::TaskStatus>> task_get(uint64_t task);
    Async<> task_cancel(uint64_t task);

    [[nodiscard]] BlockdClient& client() { return client_; }

private:
    template <class Answer, class Question>
    Async<Answer> ask(std::string method, Question question, std::chrono::milliseconds limit);
    // `not_found` becomes none, if `pool` is open (not asked when there is no pool to ask for).
    template <class T>
    Async<std::optional<T>> or_none(Result<T> found, std::optional<Uuid> pool);

    BlockdClient& client_;
    BlockdLimits limits_;
};

}  // namespace stoa::storage
