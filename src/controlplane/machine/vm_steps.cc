// The step types of virtual machines: from the values in a plan (steps.h) to calls of guests.
#include <fmt/format.h>

#include "controlplane/host/files.h"
#include "controlplane/machine/guests.h"
#include "controlplane/machine/plan_parts.h"
#include "controlplane/machine/steps.h"
#include "controlplane/storage/plan_parts.h"
#include "controlplane/task/record_step.h"

namespace stoa::machine {

namespace {

// Reads the arguments and finds the guest; what differs is in is_done, run and undo.
template <class Arguments>
class VmStep : public task::StepType {
public:
    explicit VmStep(Guests& guests, const Services& services)
        : guests_(guests), services_(services) {}
    [[nodiscard]] std::string_view name() const override { return Arguments::kType; }
    Async<bool> is_done(task::StepContext& /*context*/) override { co_return false; }
    Async<> undo(task::StepContext& /*context*/) override { co_return Result<void>(); }

protected:
    struct Begun {
        Arguments arguments;
        Guest* guest = nullptr;
    };
    Result<Begun> begin(task::StepContext& context) const {
        TRY_ASSIGN(Arguments arguments, arguments_of<Arguments>(context.step()));
        TRY_ASSIGN(Guest * guest, guests_.find(arguments.vm));
        return Begun{std::move(arguments), guest};
    }
    Guests& guests_;
    const Services& services_;
};

class Finish final : public VmStep<FinishStep> {
public:
    using VmStep::VmStep;
    Async<> run(task::StepContext& context) override {
        CO_TRY_ASSIGN(const Begun begun, begin(context));
        const Uuid host = services_.settings.host;
        co_return co_await begun.guest->update([host](model::VmStatus& status) {
            if (status.state == model::VmState::creating) status.state = model::VmState::off;
            status.host = host;
        });
    }
};

class Launch final : public VmStep<LaunchStep> {
public:
    using VmStep::VmStep;
    Async<bool> is_done(task::StepContext& context) override {
        CO_TRY_ASSIGN(const Begun begun, begin(context));
        co_return begun.guest->is_launched(begun.arguments.epoch);
    }
    Async<> run(task::StepContext& context) override {
        CO_TRY_ASSIGN(const Begun begun, begin(context));
        // Once more, and this time nothing comes between: others were started since it was planned.
        task::Ids ids({services_.clock.wall_ns(), 0});
        const PlanContext now = services_.context(ids);
        CO_TRY_ASSIGN(const VmRecord vm, find_vm(now, begun.arguments.vm.to_string()));
        CO_TRY(admit(now, vm));
        co_return co_await begun.guest->launch(begun.arguments);
    }
    Async<> undo(task::StepContext& context) override {
        const auto begun = begin(context);
        if (!begun.ok()) co_return Result<void>();  // the record is gone, and all with it
        co_return co_await begun->guest->abandon(begun->arguments);
    }
};

class Shutdown final : public VmStep<ShutdownStep> {
public:
    using VmStep::VmStep;
    Async<> run(task::StepContext& context) override {
        CO_TRY_ASSIGN(const Begun begun, begin(context));
        co_return co_await begun.guest->shut_down(
            begun.arguments, [&context](std::string_view text) { context.progress(0, 0, text); });
    }
};

class RunState final : public VmStep<RunStateStep> {
public:
    using VmStep::VmStep;
    Async<> run(task::StepContext& context) override {
        CO_TRY_ASSIGN(const Begun begun, begin(context));
        co_return co_await begun.guest->set_run_state(begun.arguments.verb);
    }
};

class GrowDisk final : public VmStep<GrowDiskStep> {
public:
    using VmStep::VmStep;
    Async<> run(task::StepContext& context) override {
        CO_TRY_ASSIGN(const Begun begun, begin(context));
        co_return co_await begun.guest->grow_disk(begun.arguments.disk, begun.arguments.size_bytes);
    }
};

class Snapshot final : public VmStep<SnapshotStep> {
public:
    using VmStep::VmStep;
    Async<bool> is_done(task::StepContext& context) override {
        CO_TRY_ASSIGN(const Begun begun, begin(context));
        const auto* record = services_.records.get<model::Snapshot>(begun.arguments.record);
        co_return record != nullptr && record->status.state == model::StorageState::ready;
    }
    Async<> run(task::StepContext& context) override {
        CO_TRY_ASSIGN(const Begun begun, begin(context));
        const Uuid id = begun.arguments.record;
        const auto* record = services_.records.get<model::Snapshot>(id);
        if (record == nullptr) {
            co_return Error(ErrorCode::not_found,
                            fmt::format("snapshot {} does not exist any more", id.to_string()));
        }
        const std::string name = storage::pool_snapshot_name(*record);
        const std::vector<model::SnapshotPart> parts = record->spec.parts;
        model::SnapshotStatus status = record->status;
        // Taken by a run of this step that was cut off before it could say how well.
        CO_TRY_ASSIGN(const bool is_there, co_await services_.disks.has_snapshots(parts));
        if (is_there) {
            status.consistency = model::Consistency::crash;
            status.reason = "stoad ended while it was taken";
        } else {
            CO_TRY_ASSIGN(const auto taken,
                          co_await begun.guest->snapshot(begun.arguments, name, parts));
            status.consistency = taken.consistency;
            status.reason = taken.reason;
        }
        status.state = model::StorageState::ready;
        status.taken_ns = services_.clock.wall_ns();
        state::Txn txn;
        records::put_status<model::Snapshot>(txn, id, status);
        const auto committed = co_await services_.records.commit(std::move(txn));
        if (!committed.ok()) co_return committed.error();
        co_return Result<void>();
    }
    Async<> undo(task::StepContext& context) override {
        CO_TRY_ASSIGN(const auto arguments, arguments_of<SnapshotStep>(context.step()));
        const auto* record = services_.records.get<model::Snapshot>(arguments.record);
        if (record == nullptr) co_return Result<void>();
        co_return co_await services_.disks.drop_snapshots(record->spec.parts);
    }
};

class MarkDeleted final : public VmStep<MarkDeletedStep> {
public:
    using VmStep::VmStep;
    Async<> run(task::StepContext& context) override {
        CO_TRY_ASSIGN(const Begun begun, begin(context));
        const int64_t now_ns = services_.clock.wall_ns();
        co_return co_await begun.guest->update([now_ns](model::VmStatus& status) {
            if (status.state == model::VmState::deleted) return;
            status.state = model::VmState::deleted;
            status.deleted_ns = now_ns;
        });
    }
};

class Set final : public VmStep<SetStep> {
public:
    using VmStep::VmStep;
    Async<bool> is_done(task::StepContext& /*context*/) override { co_return true; }
    Async<> run(task::StepContext& /*context*/) override { co_return Result<void>(); }
    Async<> undo(task::StepContext& context) override {
        CO_TRY_ASSIGN(const auto arguments, arguments_of<SetStep>(context.step()));
        for (;;) {
            const VmRecord* found = services_.records.get<model::Vm>(arguments.vm);
            if (found == nullptr) co_return Result<void>();
            VmRecord after = *found;
            // Whether it is wanted on may have been decided meanwhile.
            const model::Power power = after.spec.power;
            after.spec = arguments.before;
            after.spec.power = power;
            state::Txn txn;
            records::replace(txn, *found, after);
            const auto done = co_await services_.records.commit(std::move(txn));
            if (done.ok()) co_return Result<void>();
            if (done.error().code() != ErrorCode::conflict) co_return done.error();
        }
    }
};

class Restore final : public VmStep<RestoreStep> {
public:
    using VmStep::VmStep;
    Async<> run(task::StepContext& context) override {
        CO_TRY_ASSIGN(const Begun begun, begin(context));
        co_return co_await begun.guest->update([](model::VmStatus& status) {
            if (status.state != model::VmState::deleted) return;
            status.state = model::VmState::off;
            status.deleted_ns = 0;
        });
    }
};

class Clean final : public VmStep<CleanStep> {
public:
    using VmStep::VmStep;
    Async<> run(task::StepContext& context) override {
        CO_TRY_ASSIGN(const auto arguments, arguments_of<CleanStep>(context.step()));
        const std::string state = state_directory(services_.settings, arguments.vm);
        const std::string runtime = run_directory(services_.settings, arguments.vm);
        CO_TRY(co_await services_.files.run([state] { return host::remove_tree(state); }));
        CO_TRY(host::remove_tree(runtime));
        static_cast<void>(services_.cgroups.get("vms/" + arguments.vm.to_string()).remove());
        co_return Result<void>();
    }
};

}  // namespace

std::vector<std::unique_ptr<task::StepType>> Guests::step_types() {
    std::vector<std::unique_ptr<task::StepType>> all;
    all.push_back(std::make_unique<task::RecordStep<model::Vm>>(services_.records));
    all.push_back(std::make_unique<task::ForgetStep<model::Vm>>(services_.records));
    all.push_back(std::make_unique<Finish>(*this, services_));
    all.push_back(std::make_unique<Launch>(*this, services_));
    all.push_back(std::make_unique<Shutdown>(*this, services_));
    all.push_back(std::make_unique<RunState>(*this, services_));
    all.push_back(std::make_unique<GrowDisk>(*this, services_));
    all.push_back(std::make_unique<Snapshot>(*this, services_));
    all.push_back(std::make_unique<MarkDeleted>(*this, services_));
    all.push_back(std::make_unique<Set>(*this, services_));
    all.push_back(std::make_unique<Restore>(*this, services_));
    all.push_back(std::make_unique<Clean>(*this, services_));
    return all;
}

}  // namespace stoa::machine
