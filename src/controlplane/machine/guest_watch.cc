// What happens to a guest's process by itself: seen here, and made a status.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "controlplane/async/deadline.h"
#include "controlplane/machine/guest.h"
#include "controlplane/qemu/agent_commands.h"
#include "controlplane/qemu/serial_log.h"

namespace stoa::machine {

namespace {

using model::VmState;
using std::chrono::milliseconds;

constexpr milliseconds kAgain{1000};
constexpr milliseconds kHousekeeping{5000};
constexpr milliseconds kMonitorLimit{5000};
constexpr milliseconds kStoragePauseMax{30'000};
constexpr milliseconds kThawLimit{5000};

}  // namespace

AsyncVoid Guest::follow_process() {
    agent_ = std::make_shared<qemu::Agent>(
        services_.executor, qemu::agent_socket(run_directory(services_.settings, vm_)),
        qemu::AgentOptions{.random = [this] { return services_.random.next(); }});
    watchers_ = std::make_unique<Scope>(services_.executor);
    watchers_->spawn(follow_monitor());
    watchers_->spawn(retry_storage());
    watchers_->spawn(keep_house());
    const auto ended = co_await process_->exited();
    if (closing_ || !ended.ok()) co_return;
    co_await watchers_->close();
    watchers_.reset();
    co_await drop_connections();
    co_await handle_end(*ended);
}

AsyncVoid Guest::handle_end(host::ExitStatus ended) {
    process_.reset();
    changed_.notify_all();
    // Who brought it down, or was bringing it up, goes on from here.
    if (is_stopping_ || is_launching_) co_return;
    if (has_turned_off_) {
        tell(fmt::format("the guest of vm {} turned itself off", name()));
        static_cast<void>(co_await become_off("the guest turned itself off", true));
    } else if (has_panicked_) {
        static_cast<void>(co_await become_crashed("the guest panicked"));
    } else {
        static_cast<void>(
            co_await become_crashed(fmt::format("QEMU ended: {}", ended.to_string())));
    }
}

AsyncVoid Guest::follow_monitor() {
    bool is_silent = false;
    while (!closing_ && !watchers_->closing()) {
        // While it is being started the launch has the connection.
        if (is_launching_) {
            co_await pause_for(milliseconds(20));
            continue;
        }
        if (!qmp_ || !qmp_->is_connected()) {
            if (const auto lost = std::exchange(qmp_, nullptr)) co_await lost->close();
            const auto connected = co_await connect(kMonitorLimit);
            if (watchers_->closing()) co_return;
            if (!connected.ok()) {
                if (!is_silent) tell(connected.error().message());
                is_silent = true;
                static_cast<void>(
                    co_await set_state(VmState::unknown, connected.error().message()));
                co_await pause_for(kAgain);
                continue;
            }
            is_silent = false;
        }
        const auto monitor = qmp_;
        const auto state = co_await qemu::query_status(*monitor);
        if (state.ok()) static_cast<void>(co_await handle(*state));
        if (watchers_->closing()) co_return;
        static_cast<void>(co_await within(kHousekeeping, "the next event", monitor->next_event()));
    }
}

Async<> Guest::handle(qemu::RunState state) {
    const qemu::RunState before = std::exchange(run_state_, state);
    changed_.notify_all();
    switch (state) {
        case qemu::RunState::running:
            // A group snapshot stops it for an instant; a step that brings it down says so itself.
            if (is_stopping_) break;
            if (status_.state == VmState::paused_storage) {
                tell(fmt::format("vm {} goes on: its disks answer again", name()));
            }
            co_return co_await set_state(VmState::running);
        case qemu::RunState::paused:
            if (is_stopping_) break;
            co_return co_await set_state(VmState::paused);
        case qemu::RunState::io_error:
            if (before != state) tell(fmt::format("vm {} is stopped: a disk failed", name()));
            if (is_stopping_) break;
            co_return co_await set_state(VmState::paused_storage,
                                         "a disk failed; it goes on by itself when it answers");
        case qemu::RunState::shutdown:
            has_turned_off_ = true;
            if (!is_stopping_ && process_) static_cast<void>(process_->kill());
            break;
        case qemu::RunState::guest_panicked:
        case qemu::RunState::internal_error:
            has_panicked_ = true;
            if (!is_stopping_ && process_) static_cast<void>(process_->kill());
            break;
        default: break;
    }
    co_return Result<void>();
}

AsyncVoid Guest::retry_storage() {
    milliseconds pause = kAgain;
    while (!watchers_->closing()) {
        co_await pause_for(pause);
        if (run_state_ != qemu::RunState::io_error || !qmp_) {
            pause = kAgain;
            continue;
        }
        const auto monitor = qmp_;
        // The guest's request is repeated; if it fails again an event says so.
        static_cast<void>(co_await qemu::cont(*monitor));
        pause = std::min(pause * 2, kStoragePauseMax);
    }
}

AsyncVoid Guest::keep_house() {
    const std::string log = serial_file(services_.settings, vm_);
    while (!watchers_->closing()) {
        co_await pause_for(kHousekeeping);
        if (watchers_->closing()) co_return;
        static_cast<void>(
            co_await services_.files.run([log] { return qemu::trim_serial_log(log); }));
        // The state's file system was full: tried again until it is not.
        if (status_is_ahead_) static_cast<void>(co_await update([](model::VmStatus&) {}));
    }
}

Async<> Guest::adopt() {
    if (!status_.launch || process_) co_return Result<void>();
    const std::string file = status_file(services_.settings, vm_);
    host::ProcessIdentity identity{status_.launch->pid, status_.launch->start_ticks,
                                   status_.launch->boot_id};
    const auto written = host::read_process_status(file);
    if (identity.pid == 0 && written.ok()) identity = written->process;
    auto process = host::Process::adopt(services_.executor, identity, vm_.to_string(), file);
    if (!process.ok()) {
        if (status_.state == VmState::off || status_.state == VmState::crashed ||
            status_.state == VmState::deleted || status_.state == VmState::creating) {
            co_return Result<void>();
        }
        // A launch or a shutdown that was cut off is a task's business, which goes on.
        if (status_.state == VmState::starting || status_.state == VmState::stopping) {
            co_return Result<void>();
        }
        const std::string how =
            written.ok() && written->ended
                ? host::ExitStatus{written->exit_code, written->signal}.to_string()
                : "nobody saw how";
        co_return co_await become_crashed(fmt::format("QEMU ended while stoad was away: {}", how));
    }
    hold(*std::move(process));
    // follow_process() makes the agent at its first turn.
    co_await pause_for(milliseconds(0));
    if (status_.frozen) static_cast<void>(co_await thaw());
    co_return Result<void>();
}

Async<> Guest::forget_process() {
    if (!status_.launch) co_return Result<void>();
    co_await release();
    if (status_.state == VmState::deleted || status_.state == VmState::creating ||
        status_.state == VmState::off) {
        co_return Result<void>();
    }
    co_return co_await update([](model::VmStatus& status) {
        status.state = VmState::off;
        status.reason = "the host has begun anew";
        status.frozen = false;
    });
}

Async<> Guest::thaw() {
    const auto agent = agent_;
    if (!agent) co_return Error(ErrorCode::in_use, "it does not run");
    auto thawed = co_await qemu::thaw(*agent, kThawLimit);
    if (!thawed.ok()) {
        tell(fmt::format("vm {} could not be thawed: {}", name(), thawed.error().message()));
        co_return thawed.take_error();
    }
    co_return co_await update([](model::VmStatus& status) { status.frozen = false; });
}

}  // namespace stoa::machine
