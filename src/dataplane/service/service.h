// The daemon without its sockets: pools, attachments, background work, events, and every method
// that they are asked with.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/describe.h"
#include "dataplane/service/attachments.h"
#include "dataplane/service/background.h"
#include "dataplane/service/events.h"
#include "dataplane/service/method.h"
#include "dataplane/service/origins.h"
#include "dataplane/service/pools.h"
#include "dataplane/service/state.h"

namespace stoa::service {

struct ServiceOptions {
    std::string root;       // state.json and the lock lie in <root>/blockd
    std::string runtime;    // for what outlives the process but not the host; empty: chosen
    std::string version;
    PoolsOptions pools;
};

class Service {
public:
    // Takes the instance's lock and reads its state. Blocks. Errors: busy (another daemon), and
    // those of StateFile and directories.
    static Result<std::unique_ptr<Service>> create(io::Reactor& reactor, ServiceOptions options);
    Service(const Service&) = delete;
    Service& operator=(const Service&) = delete;
    ~Service();

    // Opens and serves what is remembered.
    void start();
    // Serves no more, closes the pools. Waits neither for clients nor for held writes.
    // Errors: a pool that will recover at the next start.
    io::Task<Result<void>> stop();

    // nullptr: there is none of this name.
    [[nodiscard]] const Method* find(std::string_view method) const;
    [[nodiscard]] Events& events() { return events_; }
    [[nodiscard]] const std::string& control_path() const { return control_path_; }
    // Called by the method daemon.stop.
    void on_stop_request(std::function<void()> stop) { stop_requested_ = std::move(stop); }

private:
    Service(io::Reactor& reactor, ServiceOptions options, io::FileDescriptor lock,
            std::unique_ptr<StateFile> state, std::string runtime);

    template <class Question, class Answer>
    void add(std::string name, io::Task<Result<Answer>> (Service::*method)(Question));
    void add_pool_methods();
    void add_volume_methods();
    void add_snapshot_methods();
    void add_daemon_methods();

    // pool_methods.cc
    io::Task<Result<rpc::PoolStatus>> pool_create(rpc::PoolCreate request);
    io::Task<Result<rpc::PoolStatus>> pool_open(rpc::PoolOpen request);
    io::Task<Result<rpc::Nothing>> pool_close(rpc::PoolRef request);
    io::Task<Result<rpc::PoolStatus>> pool_get(rpc::PoolRef request);
    io::Task<Result<rpc::PoolList>> pool_list(rpc::Nothing request);
    io::Task<Result<rpc::PoolStatus>> pool_grow(rpc::PoolRef request);
    io::Task<Result<rpc::PoolStatus>> pool_add_device(rpc::PoolAddDevice request);
    io::Task<Result<rpc::TaskRef>> pool_scrub(rpc::PoolScrub request);
    io::Task<Result<rpc::DamageList>> pool_damage(rpc::PoolRef request);
    io::Task<Result<rpc::Nothing>> pool_checkpoint(rpc::PoolRef request);
    io::Task<Result<rpc::TaskRef>> pool_settle(rpc::PoolRef request);
    // volume_methods.cc
    io::Task<Result<rpc::VolumeStatus>> volume_create(rpc::VolumeCreate request);
    io::Task<Result<rpc::VolumeStatus>> volume_get(rpc::VolumeRef request);
    io::Task<Result<rpc::VolumeList>> volume_list(rpc::PoolRef request);
    io::Task<Result<rpc::Nothing>> volume_delete(rpc::VolumeRef request);
    io::Task<Result<rpc::VolumeStatus>> volume_rename(rpc::VolumeRename request);
    io::Task<Result<rpc::VolumeStatus>> volume_resize(rpc::VolumeResize request);
    io::Task<Result<rpc::VolumeStatus>> volume_set_tags(rpc::VolumeSetTags request);
    io::Task<Result<rpc::Nothing>> volume_protect(rpc::Protect request);
    io::Task<Result<rpc::TaskRef>> volume_flatten(rpc::VolumeRef request);
    io::Task<Result<rpc::TaskRef>> volume_hydrate(rpc::VolumeRef request);
    io::Task<Result<rpc::VolumeStatus>> volume_rollback(rpc::Rollback request);
    io::Task<Result<rpc::Diff>> volume_diff(rpc::DiffQuery request);
    io::Task<Result<rpc::Bytes>> volume_exclusive(rpc::ObjectRef request);
    io::Task<Result<rpc::Explanation>> volume_explain(rpc::ExplainQuery request);
    // snapshot_methods.cc
    io::Task<Result<rpc::SnapshotCreated>> snapshot_create(rpc::SnapshotCreate request);
    io::Task<Result<rpc::SnapshotStatus>> snapshot_get(rpc::SnapshotRef request);
    io::Task<Result<rpc::SnapshotList>> snapshot_list(rpc::SnapshotQuery request);
    io::Task<Result<rpc::Nothing>> snapshot_delete(rpc::SnapshotRef request);
    io::Task<Result<rpc::VolumeStatus>> snapshot_clone(rpc::SnapshotClone request);
    // daemon_methods.cc
    io::Task<Result<rpc::OriginStatus>> origin_create(rpc::OriginCreate request);
    io::Task<Result<rpc::Nothing>> origin_delete(rpc::OriginRef request);
    io::Task<Result<rpc::OriginStatus>> origin_get(rpc::OriginRef request);
    io::Task<Result<rpc::OriginList>> origin_list(rpc::Nothing request);
    io::Task<Result<rpc::AttachmentStatus>> attachment_create(rpc::AttachmentCreate request);
    // Errors: invalid_argument.
    [[nodiscard]] Result<void> check_not_own(const std::string& listen) const;
    io::Task<Result<rpc::Nothing>> attachment_delete(rpc::AttachmentRef request);
    io::Task<Result<rpc::Nothing>> attachment_reload_tls(rpc::AttachmentRef request);
    io::Task<Result<rpc::AttachmentStatus>> attachment_get(rpc::AttachmentRef request);
    io::Task<Result<rpc::AttachmentList>> attachment_list(rpc::Nothing request);
    io::Task<Result<rpc::TaskStatus>> task_get(rpc::TaskRef request);
    io::Task<Result<rpc::TaskList>> task_list(rpc::Nothing request);
    io::Task<Result<rpc::Nothing>> task_cancel(rpc::TaskRef request);
    io::Task<Result<rpc::DaemonInfo>> daemon_info(rpc::Nothing request);
    io::Task<Result<void>> stop_soon();
    io::Task<Result<rpc::Nothing>> daemon_stop(rpc::Nothing request);
    io::Task<Result<rpc::Text>> daemon_metrics(rpc::Nothing request);
    io::Task<Result<rpc::Text>> daemon_trace(rpc::Nothing request);
    io::Task<Result<rpc::MethodList>> rpc_methods(rpc::Nothing request);

    // The open pool that a request names.
    Result<PoolUse> open_pool(std::string_view name);
    // Volumes and snapshots of open pools that ask it still: "volume web of pool tank".
    [[nodiscard]] std::vector<std::string> users_of_origin(const Uuid& origin) const;

    io::Reactor& reactor_;
    const ServiceOptions options_;
    const io::FileDescriptor lock_;
    const std::unique_ptr<StateFile> state_;
    const std::string control_path_;
    const uint64_t started_ns_;
    Events events_;
    Origins origins_;
    Pools pools_;
    Background background_;
    Attachments attachments_;
    std::map<std::string, Method, std::less<>> methods_;
    std::function<void()> stop_requested_;
};

template <class Question, class Answer>
void Service::add(std::string name, io::Task<Result<Answer>> (Service::*method)(Question)) {
    methods_[std::move(name)] = [this, method](Json params) -> io::Task<Result<Json>> {
        // Not a coroutine itself: the closure may be moved while a call runs.
        return [](Service& self, auto function, Json from) -> io::Task<Result<Json>> {
            Question question;
            CO_TRY(from_json(from, question));
            CO_TRY_ASSIGN(const Answer answer, co_await (self.*function)(std::move(question)));
            co_return to_json(answer);
        }(*this, method, std::move(params));
    };
}

}  // namespace stoa::service
