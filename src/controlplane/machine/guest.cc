#include "controlplane/machine/guest.h"

#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "controlplane/async/deadline.h"
#include "controlplane/host/files.h"
#include "controlplane/machine/restart_policy.h"

namespace stoa::machine {

namespace {

constexpr std::chrono::seconds kDetachLimit{10};

}  // namespace

Guest::Guest(const Services& services, const VmRecord& record, std::function<void(Uuid)> on_crash)
    : services_(services), vm_(record.id), on_crash_(std::move(on_crash)), status_(record.status),
      life_(services.executor), changed_(services.executor) {}

Guest::~Guest() { CHECK(closing_ && !qmp_ && !agent_ && !watchers_); }

AsyncVoid Guest::close() {
    closing_ = true;
    changed_.notify_all();
    co_await life_.close();
    if (watchers_) co_await watchers_->close();
    watchers_.reset();
    co_await drop_connections();
    process_.reset();
}

AsyncVoid Guest::drop_connections() {
    // Taken out first: whoever asks meanwhile finds none.
    if (const auto qmp = std::exchange(qmp_, nullptr)) co_await qmp->close();
    if (const auto agent = std::exchange(agent_, nullptr)) co_await agent->close();
}

Result<VmRecord> Guest::record() const {
    const VmRecord* found = services_.records.get<model::Vm>(vm_);
    if (found != nullptr) return *found;
    return Error(ErrorCode::not_found,
                 fmt::format("vm {} does not exist any more", vm_.to_string()));
}

std::string Guest::name() const {
    const VmRecord* found = services_.records.get<model::Vm>(vm_);
    return found == nullptr ? vm_.to_string() : found->name;
}

void Guest::tell(std::string text, Json data) const {
    services_.journal.event("vm/" + vm_.to_string(), std::move(text), std::move(data));
}

Async<> Guest::update(std::function<void(model::VmStatus&)> change) {
    CO_TRY(record());
    change(status_);
    changed_.notify_all();
    state::Txn txn;
    records::put_status<model::Vm>(txn, vm_, status_);
    const auto done = co_await services_.records.commit(std::move(txn));
    status_is_ahead_ = !done.ok();
    if (!done.ok()) co_return done.error();
    co_return Result<void>();
}

Async<> Guest::set_state(model::VmState state, std::string reason) {
    if (status_.state == state && status_.reason == reason && !status_is_ahead_) {
        co_return Result<void>();
    }
    co_return co_await update([state, &reason](model::VmStatus& status) {
        status.state = state;
        status.reason = std::move(reason);
    });
}

Async<> Guest::become_off(std::string reason, bool wanted_off) {
    co_await release();
    CO_TRY(co_await update([&reason](model::VmStatus& status) {
        status.state = model::VmState::off;
        status.reason = reason;
        status.frozen = false;
    }));
    // The spec is everybody's: tried again when somebody else was quicker.
    while (wanted_off) {
        CO_TRY_ASSIGN(const VmRecord before, record());
        if (before.spec.power == model::Power::off) break;
        VmRecord after = before;
        after.spec.power = model::Power::off;
        state::Txn txn;
        records::replace(txn, before, after);
        const auto done = co_await services_.records.commit(std::move(txn));
        if (done.ok()) break;
        if (done.error().code() != ErrorCode::conflict) co_return done.error();
    }
    co_return Result<void>();
}

Async<> Guest::become_crashed(std::string reason) {
    co_await release();
    CO_TRY_ASSIGN(const VmRecord vm, record());
    const int64_t now_ns = services_.clock.wall_ns();
    const int64_t ran_ns = status_.launch ? now_ns - status_.launch->started_ns : 0;
    tell(fmt::format("vm {} crashed: {}", vm.name, reason));
    const auto done = co_await update([&](model::VmStatus& status) {
        status.state = model::VmState::crashed;
        status.reason = reason;
        status.frozen = false;
        count_crash(status, vm.spec.restart, now_ns, ran_ns);
    });
    on_crash_(vm_);
    co_return done;
}

AsyncVoid Guest::release() {
    if (!status_.launch) co_return;
    const model::Launch launch = *status_.launch;
    const auto detached = co_await within(
        kDetachLimit, "stoa-blockd", services_.disks.detach(vm_, launch.epoch, launch.spec.disks));
    if (!detached.ok()) {
        // Nobody is harmed: the next launch's epoch cuts these off.
        tell(fmt::format("disks of vm {} could not be detached: {}", name(),
                         detached.error().message()));
    }
    static_cast<void>(host::remove_tree(run_directory(services_.settings, vm_)));
    static_cast<void>(services_.cgroups.get("vms/" + vm_.to_string()).remove());
}

uint32_t Guest::gid_of(uint32_t uid) const {
    const Settings& settings = services_.settings;
    if (!settings.is_root) return settings.own_gid;
    const bool uses_kvm = settings.accelerator == qemu::Accelerator::kvm;
    return uses_kvm && settings.kvm_gid != 0 ? settings.kvm_gid : uid;
}

Result<std::shared_ptr<qemu::Agent>> Guest::agent() const {
    if (agent_ && has_process()) return agent_;
    return Error(ErrorCode::in_use, fmt::format("vm {} does not run: start it first", name()));
}

Result<std::shared_ptr<qemu::Qmp>> Guest::qmp() const {
    if (!has_process()) {
        return Error(ErrorCode::in_use, fmt::format("vm {} does not run: start it first", name()));
    }
    if (qmp_) return qmp_;
    return Error(ErrorCode::timeout,
                 fmt::format("vm {}: its QEMU does not answer at the moment", name()));
}

}  // namespace stoa::machine
