#include "controlplane/machine/guests.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/steady_timer.hpp>

#include "base/check.h"
#include "controlplane/host/files.h"
#include "controlplane/machine/autostart.h"
#include "controlplane/machine/plan_parts.h"
#include "controlplane/machine/restart_policy.h"

namespace stoa::machine {

namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
constexpr int64_t kPurgeEveryNs = 30 * kSecondNs;
constexpr std::string_view kPrincipal = "system";

std::string_view word(model::VmState state) {
    static constexpr auto kNames = enum_names(model::VmState{});
    return kNames.at(static_cast<size_t>(state));
}

}  // namespace

Guests::Guests(const Services& services) : services_(services), scope_(services.executor) {}

Guests::~Guests() { CHECK(closing_ && guests_.empty()); }

Result<Guest*> Guests::find(const Uuid& vm) {
    const auto at = guests_.find(vm);
    if (at != guests_.end()) return at->second.get();
    const VmRecord* record = services_.records.get<model::Vm>(vm);
    if (record == nullptr || closing_) {
        return Error(ErrorCode::not_found, fmt::format("vm {} does not exist", vm.to_string()));
    }
    auto guest =
        std::make_unique<Guest>(services_, *record, [this](const Uuid& which) { crashed(which); });
    return guests_.emplace(vm, std::move(guest)).first->second.get();
}

AsyncVoid Guests::close() {
    closing_ = true;
    co_await scope_.close();
    while (!guests_.empty()) {
        const auto guest = std::move(guests_.begin()->second);
        guests_.erase(guests_.begin());
        co_await guest->close();
    }
}

AsyncVoid Guests::adopt() {
    Scope all(services_.executor);
    std::vector<Uuid> ids;
    for (const auto& [id, vm] : services_.records.all<model::Vm>()) {
        if (vm.status.launch) ids.push_back(id);
    }
    for (const Uuid& id : ids) all.spawn(adopt_one(id));
    co_await all.join();
    co_await remove_leftovers();
}

AsyncVoid Guests::adopt_one(Uuid vm) {
    const auto guest = find(vm);
    if (!guest.ok()) co_return;
    const bool is_of_this_boot = (*guest)->status().launch->boot_id == services_.settings.boot_id;
    const auto done =
        is_of_this_boot ? co_await (*guest)->adopt() : co_await (*guest)->forget_process();
    if (!done.ok()) {
        services_.journal.event("vm/" + vm.to_string(),
                                fmt::format("could not be adopted: {}", done.error().message()));
    }
}

// Directories and control groups that bear this instance's mark, of VMs that no record knows, or
// that have no process.
AsyncVoid Guests::remove_leftovers() {
    const auto owned = [this](const std::string& name) {
        const auto id = Uuid::parse(name);
        if (!id.ok()) return true;  // not ours to judge
        const auto at = guests_.find(*id);
        return at != guests_.end() && at->second->has_process();
    };
    const auto directories = host::list_directory(services_.settings.runtime + "/vm");
    if (directories.ok()) {
        for (const std::string& name : *directories) {
            if (owned(name)) continue;
            const auto gone = host::remove_tree(services_.settings.runtime + "/vm/" + name);
            services_.journal.event(
                "vm/" + name, gone.ok() ? "removed the sockets that a dead QEMU left"
                                        : "left over and not removable: " + gone.error().message());
        }
    }
    for (const std::string& name : services_.cgroups.list("vms")) {
        if (owned(name)) continue;
        const host::Cgroup group = services_.cgroups.get("vms/" + name);
        if (!group.pids().empty()) {
            services_.journal.event("vm/" + name, "ended what a VM without a record left running");
            static_cast<void>(co_await group.kill_all());
        }
        static_cast<void>(group.remove());
    }
}

void Guests::start(task::Engine& engine, bool boot_is_new) {
    engine_ = &engine;
    if (boot_is_new) scope_.spawn(start_all());
    for (const auto& [id, vm] : services_.records.all<model::Vm>()) {
        if (vm.status.state == model::VmState::crashed) crashed(id);
    }
    scope_.spawn(purge_deleted());
    scope_.spawn(forget_removed());
}

void Guests::crashed(const Uuid& vm) {
    // Before start() nobody restarts; start() looks for all that have crashed.
    if (engine_ != nullptr && !closing_) scope_.spawn(restart_later(vm));
}

AsyncVoid Guests::pause_ns(int64_t time_ns) {
    asio::steady_timer timer(services_.executor,
                             std::chrono::nanoseconds(std::max<int64_t>(time_ns, 0)));
    co_await timer.async_wait(kAwait);
}

Async<> Guests::submit(Result<task::Plan> plan) {
    if (!plan.ok()) co_return plan.take_error();
    if (plan->steps.empty() && plan->intent.puts.empty()) co_return Result<void>();
    CO_TRY_ASSIGN(const auto task,
                  co_await engine_->submit(*std::move(plan), std::string(kPrincipal)));
    if (!task) co_return Result<void>();
    const auto done = co_await engine_->wait(*task);
    if (!done.ok()) co_return done.error();
    co_return Result<void>();
}

AsyncVoid Guests::restart_later(Uuid vm) {
    const VmRecord* record = services_.records.get<model::Vm>(vm);
    if (record == nullptr || record->spec.power != model::Power::on) co_return;
    const auto at_ns = restart_at_ns(record->status, record->spec.restart);
    const uint32_t crashes = record->status.crashes;
    const std::string name = record->name;
    const std::string subject = "vm/" + vm.to_string();
    if (!at_ns) {
        services_.journal.decision(subject,
                                   fmt::format("vm {} stays off after {} crashes", name, crashes),
                                   JsonObject{{"crashes", crashes}});
        co_return;
    }
    const int64_t pause = *at_ns - services_.clock.wall_ns();
    services_.journal.decision(subject,
                               fmt::format("vm {} is started again in {} s, after crash {}", name,
                                           std::max<int64_t>(pause / kSecondNs, 0), crashes),
                               JsonObject{{"crashes", crashes}, {"at_ns", *at_ns}});
    // A clock that was set back must not make it wait longer than the longest pause.
    co_await pause_ns(std::min(pause, 300 * kSecondNs));
    if (closing_) co_return;
    const VmRecord* now = services_.records.get<model::Vm>(vm);
    if (now == nullptr || now->status.state != model::VmState::crashed ||
        now->status.crashes != crashes) {
        co_return;
    }
    task::Ids ids({services_.clock.wall_ns(), services_.random.next()});
    const auto done = co_await submit(plan_crash_restart(services_.context(ids), vm.to_string()));
    if (!done.ok()) {
        services_.journal.event(subject, fmt::format("vm {} could not be started again: {}", name,
                                                     done.error().message()));
    }
}

AsyncVoid Guests::start_all() {
    const auto groups =
        autostart_groups(services_.records.all<model::Vm>(), services_.settings.host);
    for (const AutostartGroup& group : groups) {
        for (const Uuid& vm : group.vms) {
            task::Ids ids({services_.clock.wall_ns(), services_.random.next()});
            auto plan = plan_start(services_.context(ids), vm.to_string());
            // Wanted on by its spec and off by its status: as plan_start() finds it.
            const auto done = co_await submit(std::move(plan));
            if (!done.ok()) {
                services_.journal.event("vm/" + vm.to_string(),
                                        "autostart failed: " + done.error().message());
            }
            if (closing_) co_return;
        }
        co_await pause_ns(int64_t{group.delay_seconds} * kSecondNs);
        if (closing_) co_return;
    }
}

AsyncVoid Guests::purge_deleted() {
    while (!closing_) {
        const auto* host = services_.records.get<model::Host>(services_.settings.host);
        const int64_t grace_ns =
            int64_t{host == nullptr ? model::HostSpec{}.grace_seconds : host->spec.grace_seconds} *
            kSecondNs;
        std::vector<Uuid> over;
        for (const auto& [id, vm] : services_.records.all<model::Vm>()) {
            if (vm.status.state == model::VmState::deleted &&
                vm.status.deleted_ns + grace_ns <= services_.clock.wall_ns()) {
                over.push_back(id);
            }
        }
        for (const Uuid& vm : over) {
            task::Ids ids({services_.clock.wall_ns(), services_.random.next()});
            const auto done = co_await submit(plan_purge(services_.context(ids), vm.to_string()));
            if (!done.ok() && !closing_) {
                services_.journal.event("vm/" + vm.to_string(),
                                        "could not be purged: " + done.error().message());
            }
            if (closing_) co_return;
        }
        co_await pause_ns(kPurgeEveryNs);
    }
}

// Guests whose record was erased.
AsyncVoid Guests::forget_removed() {
    while (!closing_) {
        for (auto at = guests_.begin(); at != guests_.end();) {
            if (services_.records.get<model::Vm>(at->first) != nullptr ||
                at->second->has_process()) {
                ++at;
                continue;
            }
            const auto guest = std::move(at->second);
            guests_.erase(at);
            co_await guest->close();
            at = guests_.begin();
        }
        co_await pause_ns(kPurgeEveryNs);
    }
}

std::map<std::string, size_t> Guests::count_by_state() const {
    std::map<std::string, size_t> counts;
    for (const auto& [id, vm] : services_.records.all<model::Vm>()) {
        ++counts[std::string(word(vm.status.state))];
    }
    return counts;
}

}  // namespace stoa::machine
