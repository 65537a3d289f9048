// How a guest is brought down: by its agent, by its power button, by force.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "controlplane/async/deadline.h"
#include "controlplane/machine/guest.h"
#include "controlplane/qemu/agent_commands.h"

namespace stoa::machine {

namespace {

using std::chrono::milliseconds;

constexpr milliseconds kAgentAnswers{3000};
constexpr milliseconds kQuitLimit{3000};
constexpr milliseconds kDiesLimit{10'000};

}  // namespace

void Guest::hold(host::Process process) {
    process_.emplace(std::move(process));
    life_.spawn(follow_process());
}

Async<> Guest::shut_down(ShutdownStep step, std::function<void(std::string_view)> progress) {
    // Found by its status file alone, if a launch was cut off.
    if (!has_process() && !is_launching_) {
        CO_TRY(co_await end_leftover());
        co_return co_await become_off({}, false);
    }
    is_stopping_ = true;
    auto told = co_await set_state(model::VmState::stopping);
    bool is_off = false;
    if (!step.force) {
        is_off = *co_await ask_to_stop(std::chrono::seconds(step.timeout_seconds), progress);
        if (!is_off) {
            tell(fmt::format("vm {} did not shut down within {} s and is turned off", name(),
                             step.timeout_seconds));
        }
    }
    progress("QEMU is ended");
    auto ended = co_await end_process();
    is_stopping_ = false;
    if (!ended.ok()) co_return ended;
    tell(fmt::format("vm {} was {}", name(), is_off ? "shut down" : "turned off"));
    co_return co_await become_off({}, false);
}

Async<bool> Guest::ask_to_stop(milliseconds limit,
                               const std::function<void(std::string_view)>& progress) {
    const int64_t until_ns =
        services_.clock.monotonic_ns() + std::chrono::nanoseconds(limit).count();
    const auto left = [this, until_ns] {
        const int64_t ns = std::max<int64_t>(until_ns - services_.clock.monotonic_ns(), 0);
        return std::chrono::duration_cast<milliseconds>(std::chrono::nanoseconds(ns));
    };
    // One that is stopped hears nothing.
    if (const auto monitor = qmp(); monitor.ok() && run_state_ != qemu::RunState::shutdown) {
        static_cast<void>(co_await qemu::cont(**monitor));
    }
    if (const auto agent = this->agent(); agent.ok()) {
        progress("the guest agent is asked to shut down");
        const auto asked = co_await qemu::shutdown(**agent, qemu::Shutdown::power_off,
                                                   std::min(kAgentAnswers, left()));
        if (asked.ok()) {
            // Half of the time: a guest whose agent lies still has its power button.
            if (*co_await wait_off(left() / 2)) co_return true;
        }
    }
    progress("the guest's power button is pressed");
    while (left().count() > 0) {
        if (const auto monitor = qmp(); monitor.ok()) {
            static_cast<void>(co_await qemu::system_powerdown(**monitor));
        }
        // Pressed again: early in its boot a guest does not hear it.
        if (*co_await wait_off(std::min(left(), milliseconds(10'000)))) co_return true;
    }
    co_return false;
}

Async<bool> Guest::wait_off(milliseconds limit) {
    const int64_t until_ns =
        services_.clock.monotonic_ns() + std::chrono::nanoseconds(limit).count();
    while (has_process() && !has_turned_off_ && !closing_) {
        const int64_t left_ns = until_ns - services_.clock.monotonic_ns();
        if (left_ns <= 0) co_return false;
        co_await pause_for(std::min(milliseconds(100), std::chrono::duration_cast<milliseconds>(
                                                           std::chrono::nanoseconds(left_ns))));
    }
    if (closing_) co_return false;
    co_return true;
}

Async<> Guest::end_process() {
    if (!process_) co_return Result<void>();
    if (has_process() && has_turned_off_ && qmp_) {
        const auto monitor = qmp_;
        static_cast<void>(co_await within(kQuitLimit, "QEMU", qemu::quit(*monitor)));
        static_cast<void>(co_await wait_off(milliseconds(500)));
    }
    // SIGKILL by pidfd: a QEMU whose disks do not answer hears nothing else.
    if (has_process()) static_cast<void>(process_->kill());
    const int64_t until_ns =
        services_.clock.monotonic_ns() + std::chrono::nanoseconds(kDiesLimit).count();
    while (process_ && !closing_) {
        if (services_.clock.monotonic_ns() > until_ns) {
            co_return Error(
                ErrorCode::timeout,
                fmt::format("QEMU of vm {} (pid {}) does not end although it was killed: "
                            "the host's kernel waits for a device",
                            name(), process_->identity().pid));
        }
        co_await pause_for(milliseconds(10));
    }
    if (closing_) co_return Error(ErrorCode::cancelled, "stoad is being stopped");
    co_return Result<void>();
}

AsyncVoid Guest::pause_for(milliseconds time) {
    asio::steady_timer timer(services_.executor, time);
    co_await timer.async_wait(kAwait);
}

Async<> Guest::set_run_state(RunVerb verb) {
    CO_TRY_ASSIGN(const auto monitor, qmp());
    switch (verb) {
        case RunVerb::pause:
            CO_TRY(co_await qemu::stop(*monitor));
            co_return co_await set_state(model::VmState::paused);
        case RunVerb::resume:
            CO_TRY(co_await qemu::cont(*monitor));
            co_return co_await set_state(model::VmState::running);
        default:
            CO_TRY(co_await qemu::system_reset(*monitor));
            // A guest that had panicked or was stopped by its disks begins anew.
            CO_TRY(co_await qemu::cont(*monitor));
            co_return co_await set_state(model::VmState::running);
    }
}

Async<> Guest::grow_disk(std::string disk, uint64_t size_bytes) {
    if (!has_process()) co_return Result<void>();
    CO_TRY_ASSIGN(const auto monitor, qmp());
    co_return co_await qemu::block_resize(*monitor, disk, size_bytes);
}

}  // namespace stoa::machine
