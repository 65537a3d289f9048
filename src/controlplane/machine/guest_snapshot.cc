// A snapshot of all disks of a guest at one instant.
//
// That file systems are frozen is committed before they are: whoever finds it after a crash thaws
// them first. They are thawed whatever becomes of the snapshot.
#include <utility>

#include <fmt/format.h>

#include "controlplane/async/deadline.h"
#include "controlplane/machine/guest.h"
#include "controlplane/qemu/agent_commands.h"

namespace stoa::machine {

Async<> Guest::freeze(uint32_t seconds) {
    CO_TRY_ASSIGN(const auto agent, this->agent());
    CO_TRY(co_await update([](model::VmStatus& status) { status.frozen = true; }));
    auto frozen = co_await qemu::freeze(*agent, std::chrono::seconds(seconds));
    if (frozen.ok()) co_return Result<void>();
    // It may be frozen, or about to be.
    static_cast<void>(co_await thaw());
    co_return frozen.take_error();
}

Async<Guest::Snapshotted> Guest::snapshot(SnapshotStep step, std::string name,
                                          std::vector<model::SnapshotPart> parts) {
    Snapshotted result;
    const bool runs = has_process();
    bool is_frozen = false;
    if (!runs) {
        result.consistency = model::Consistency::stopped;
    } else if (step.crash_consistent) {
        result.reason = "as it was asked for";
    } else {
        const auto frozen = co_await freeze(step.freeze_seconds);
        is_frozen = frozen.ok();
        if (is_frozen) result.consistency = model::Consistency::file_system;
        else result.reason = "its file systems were not frozen: " + frozen.error().message();
    }
    // Pools have no common instant: the guest must not write between one and the next.
    const bool must_stop =
        runs && services_.disks.pools_of(parts) > 1 && run_state_ == qemu::RunState::running;
    Result<void> done;
    if (must_stop) {
        const auto monitor = qmp();
        if (monitor.ok()) done = co_await qemu::stop(**monitor);
        else done = monitor.error();
    }
    const int64_t begin_ns = services_.clock.monotonic_ns();
    if (done.ok())
        done = co_await services_.disks.take_snapshots(std::move(name), std::move(parts));
    if (must_stop) {
        if (const auto monitor = qmp(); monitor.ok()) {
            static_cast<void>(co_await qemu::cont(**monitor));
        }
    }
    if (is_frozen) static_cast<void>(co_await thaw());
    if (!done.ok()) co_return done.error();
    // A guest that would not stay frozen so long was thawed by its own watchdog, or by nobody.
    const int64_t took_ns = services_.clock.monotonic_ns() - begin_ns;
    if (is_frozen && took_ns > int64_t{step.freeze_seconds} * 1'000'000'000) {
        result.consistency = model::Consistency::crash;
        result.reason = fmt::format("it took {:.1f} s, longer than file systems may be frozen",
                                    static_cast<double>(took_ns) / 1e9);
    }
    co_return result;
}

}  // namespace stoa::machine
