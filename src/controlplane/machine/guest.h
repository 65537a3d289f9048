// Guest: one virtual machine on this host, with or without a process.
//
// It is the owner of the VM's status: everything that happens to the process becomes a status here
// and nowhere else. The process lives on without it: a new Guest adopts it (adopt()).
//
// States and what leads from one to the other:
//     off -> starting -> running <-> paused, paused-storage
//     running -> stopping -> off             shutdown()
//     running -> off                         the guest powered itself off
//     any with a process -> crashed          QEMU ended, or the guest panicked
//     any with a process -> unknown          its QEMU does not answer; back when it does
//
// Parts: guest.cc (state), guest_launch.cc, guest_stop.cc, guest_watch.cc, guest_snapshot.cc.
// Crashes of either side: tests/e2e.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "controlplane/async/async.h"
#include "controlplane/async/scope.h"
#include "controlplane/host/process.h"
#include "controlplane/machine/services.h"
#include "controlplane/machine/steps.h"
#include "controlplane/qemu/agent.h"
#include "controlplane/qemu/qmp.h"
#include "controlplane/qemu/qmp_commands.h"

namespace stoa::machine {

// One thread. Does not move. Outlives every call of it.
class Guest {
public:
    // The record exists. `on_crash` is called when its status has become `crashed`.
    Guest(const Services& services, const VmRecord& record, std::function<void(Uuid)> on_crash);
    Guest(const Guest&) = delete;
    Guest& operator=(const Guest&) = delete;
    ~Guest();  // CHECKs that close() finished.
    // Lets go of the process, which lives on.
    AsyncVoid close();

    // Takes over the process that the status names, if it is still that one. First of all file
    // systems that were left frozen are thawed. Without a process the status says why.
    Async<> adopt();
    // The host has begun anew: no process of before exists.
    Async<> forget_process();

    // LaunchStep. abandon(): no QEMU of that epoch runs any more.
    [[nodiscard]] bool is_launched(uint64_t epoch) const;
    Async<> launch(LaunchStep step);
    Async<> abandon(LaunchStep step);
    // RunStateStep. Errors: in_use (it does not run).
    Async<> set_run_state(RunVerb verb);
    // ShutdownStep. `progress` is told what it waits for.
    Async<> shut_down(ShutdownStep step, std::function<void(std::string_view)> progress);
    // SnapshotStep.
    struct Snapshotted {
        model::Consistency consistency = model::Consistency::crash;
        std::string reason;  // why it is not better
    };
    Async<Snapshotted> snapshot(SnapshotStep step, std::string name,
                                std::vector<model::SnapshotPart> parts);
    // GrowDiskStep: nothing to do without a process.
    Async<> grow_disk(std::string disk, uint64_t size_bytes);

    // Changes the status and commits it. Errors: not_found (the record is gone), as commit.
    Async<> update(std::function<void(model::VmStatus&)> change);

    [[nodiscard]] const Uuid& id() const { return vm_; }
    [[nodiscard]] bool has_process() const { return process_ && !process_->has_ended(); }
    [[nodiscard]] const model::VmStatus& status() const { return status_; }
    // Shared: a call goes on while the connection is made anew. Errors: in_use (it does not run).
    Result<std::shared_ptr<qemu::Agent>> agent() const;
    Result<std::shared_ptr<qemu::Qmp>> qmp() const;

private:
    // guest.cc
    [[nodiscard]] Result<VmRecord> record() const;
    [[nodiscard]] std::string name() const;
    void tell(std::string text, Json data = nullptr) const;
    Async<> set_state(model::VmState state, std::string reason = {});
    // Not wanted on any more, if `wanted_off`: the guest's own decision.
    Async<> become_off(std::string reason, bool wanted_off);
    Async<> become_crashed(std::string reason);
    // After the process: disks are detached, sockets and control group gone.
    AsyncVoid release();
    AsyncVoid drop_connections();
    [[nodiscard]] uint32_t gid_of(uint32_t uid) const;

    // guest_launch.cc
    Async<> begin(LaunchStep step);
    Async<> prepare(const VmRecord vm, const model::Launch launch);
    Async<> start_process(VmRecord vm, model::Launch launch);
    Async<> connect(std::chrono::milliseconds limit);
    Async<> let_run();
    Async<> end_leftover();
    Result<uint32_t> choose_uid() const;

    // guest_stop.cc
    Async<bool> ask_to_stop(std::chrono::milliseconds limit,
                            const std::function<void(std::string_view)>& progress);
    // Whether the guest has turned itself off, or the process has ended, within the limit.
    Async<bool> wait_off(std::chrono::milliseconds limit);
    Async<> end_process();

    // guest_watch.cc
    void hold(host::Process process);
    AsyncVoid follow_process();
    AsyncVoid follow_monitor();
    AsyncVoid retry_storage();
    AsyncVoid keep_house();
    Async<> handle(qemu::RunState state);
    AsyncVoid handle_end(host::ExitStatus ended);
    AsyncVoid pause_for(std::chrono::milliseconds time);

    // guest_snapshot.cc
    Async<> freeze(uint32_t seconds);
    Async<> thaw();

    const Services& services_;
    const Uuid vm_;
    const std::function<void(Uuid)> on_crash_;
    model::VmStatus status_;  // what is committed, or about to be
    bool status_is_ahead_ = false;  // its last commit failed
    std::optional<host::Process> process_;
    std::shared_ptr<qemu::Qmp> qmp_;
    std::shared_ptr<qemu::Agent> agent_;
    Scope life_;  // follows the process
    std::unique_ptr<Scope> watchers_;  // of the process that there is; ends before it is let go
    Signal changed_;
    qemu::RunState run_state_ = qemu::RunState::other;
    bool is_stopping_ = false;  // a step brings it down: how it ends is that step's business
    bool is_launching_ = false;  // likewise
    bool has_turned_off_ = false;
    bool has_panicked_ = false;
    bool closing_ = false;
};

}  // namespace stoa::machine
