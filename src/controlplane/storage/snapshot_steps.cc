// Steps about snapshots, and what steps of others do likewise.
#include <map>
#include <utility>

#include <fmt/format.h>

#include "controlplane/storage/step_type.h"
#include "controlplane/storage/steps.h"
#include "controlplane/task/record_step.h"

namespace stoa::storage {

namespace {

using model::StorageState;

// How many of the parts are there.
Async<size_t> count_snapshots(Blockd& blockd, std::vector<PlacedPart> parts) {
    size_t count = 0;
    for (const PlacedPart& part : parts) {
        CO_TRY_ASSIGN(const auto found, co_await blockd.snapshot_get(part.pool, part.snapshot));
        if (found) ++count;
    }
    co_return count;
}

// For all of them; those that are gone are passed over.
Async<> protect_parts(Blockd& blockd, std::vector<PlacedPart> parts, bool on) {
    for (const PlacedPart& part : parts) {
        CO_TRY_ASSIGN(const auto found, co_await blockd.snapshot_get(part.pool, part.snapshot));
        if (!found || found->is_protected == on) continue;
        CO_TRY(co_await blockd.protect({part.pool.to_string(), part.snapshot.to_string(), on}));
    }
    co_return Result<void>();
}

class SnapshotCreateType final : public TypedStep<SnapshotCreateStep> {
public:
    using TypedStep::TypedStep;
    [[nodiscard]] bool undoes_intent() const override { return true; }

protected:
    Async<bool> done(SnapshotCreateStep step, task::StepContext& /*context*/) override {
        if (!has_state<model::Snapshot>(records, step.snapshot, StorageState::ready)) {
            co_return false;
        }
        co_return co_await has_snapshots(blockd, step.parts);
    }
    Async<> make(SnapshotCreateStep step, task::StepContext& /*context*/) override {
        CO_TRY(check_recorded<model::Snapshot>(records, step.snapshot));
        CO_TRY(co_await take_snapshots(blockd, step.name, step.parts));
        if (step.is_protected) CO_TRY(co_await protect_parts(blockd, step.parts, true));
        const PlacedPart& first = step.parts.front();
        CO_TRY_ASSIGN(const auto taken, co_await blockd.snapshot_get(first.pool, first.snapshot));
        const int64_t taken_ns = taken ? static_cast<int64_t>(taken->created_ns) : 0;
        co_return co_await change_status<model::Snapshot>(
            records, step.snapshot, [taken_ns](model::SnapshotStatus& status) {
                status.state = StorageState::ready;
                status.taken_ns = taken_ns;
            });
    }
    Async<> take_back(SnapshotCreateStep step, task::StepContext& /*context*/) override {
        CO_TRY(co_await protect_parts(blockd, step.parts, false));
        CO_TRY(co_await drop_snapshots(blockd, step.parts));
        co_return co_await task::erase_record<model::Snapshot>(records, step.snapshot);
    }
};

class SnapshotDeleteType final : public TypedStep<SnapshotDeleteStep> {
public:
    using TypedStep::TypedStep;

protected:
    Async<bool> done(SnapshotDeleteStep step, task::StepContext& /*context*/) override {
        if (records.get<model::Snapshot>(step.snapshot) != nullptr) co_return false;
        CO_TRY_ASSIGN(const size_t there, co_await count_snapshots(blockd, step.parts));
        co_return there == 0;
    }
    Async<> make(SnapshotDeleteStep step, task::StepContext& /*context*/) override {
        CO_TRY(co_await drop_snapshots(blockd, step.parts));
        co_return co_await task::erase_record<model::Snapshot>(records, step.snapshot);
    }
    Async<> take_back(SnapshotDeleteStep step, task::StepContext& /*context*/) override {
        CO_TRY_ASSIGN(const size_t there, co_await count_snapshots(blockd, step.parts));
        if (there == step.parts.size()) co_return Result<void>();
        if (there == 0) {
            co_return co_await task::erase_record<model::Snapshot>(records, step.snapshot);
        }
        co_return co_await set_state<model::Snapshot>(
            records, step.snapshot, StorageState::failed,
            fmt::format("its deletion stopped: {} of {} parts are left", there, step.parts.size()));
    }
};

class SnapshotProtectType final : public TypedStep<SnapshotProtectStep> {
public:
    using TypedStep::TypedStep;
    [[nodiscard]] bool undoes_intent() const override { return true; }

protected:
    Async<bool> done(SnapshotProtectStep step, task::StepContext& /*context*/) override {
        for (const PlacedPart& part : step.parts) {
            CO_TRY_ASSIGN(const auto found, co_await blockd.snapshot_get(part.pool, part.snapshot));
            if (!found || found->is_protected != step.on) co_return false;
        }
        co_return true;
    }
    Async<> make(SnapshotProtectStep step, task::StepContext& /*context*/) override {
        co_return co_await protect_parts(blockd, step.parts, step.on);
    }
    Async<> take_back(SnapshotProtectStep step, task::StepContext& /*context*/) override {
        CO_TRY(co_await protect_parts(blockd, step.parts, !step.on));
        co_return co_await change_record<model::Snapshot>(
            records, step.snapshot,
            [on = step.on](SnapshotRecord& snapshot) { snapshot.spec.is_protected = !on; });
    }
};

}  // namespace

std::vector<PlacedPart> place(const records::Records& records,
                              const std::vector<model::SnapshotPart>& parts) {
    std::vector<PlacedPart> placed;
    for (const model::SnapshotPart& part : parts) {
        const auto* volume = records.get<model::Volume>(part.volume);
        if (volume != nullptr) placed.push_back({volume->spec.pool, part.volume, part.snapshot});
    }
    return placed;
}

Async<> take_snapshots(Blockd& blockd, std::string name, std::vector<PlacedPart> parts) {
    std::map<Uuid, std::vector<PlacedPart>> pools;
    for (const PlacedPart& part : parts) pools[part.pool].push_back(part);
    for (const auto& [pool, group] : pools) {
        // The data plane takes a group whole or not at all.
        CO_TRY_ASSIGN(const size_t there, co_await count_snapshots(blockd, group));
        if (there == group.size()) continue;
        rpc::SnapshotCreate request;
        request.pool = pool.to_string();
        for (const PlacedPart& part : group) {
            request.snapshots.push_back({part.volume.to_string(), name, part.snapshot});
        }
        const auto taken = co_await blockd.snapshot_create(std::move(request));
        if (!taken.ok()) co_return taken.error();
    }
    co_return Result<void>();
}

Async<bool> has_snapshots(Blockd& blockd, std::vector<PlacedPart> parts) {
    const size_t wanted = parts.size();
    CO_TRY_ASSIGN(const size_t there, co_await count_snapshots(blockd, std::move(parts)));
    co_return there == wanted;
}

Async<> drop_snapshots(Blockd& blockd, std::vector<PlacedPart> parts) {
    for (const PlacedPart& part : parts) {
        CO_TRY(co_await blockd.snapshot_delete(part.pool, part.snapshot));
    }
    co_return Result<void>();
}

void add_snapshot_steps(StepTypes& into, records::Records& records, Blockd& blockd) {
    into.push_back(std::make_unique<task::RecordStep<model::Snapshot>>(records));
    into.push_back(std::make_unique<SnapshotCreateType>(records, blockd));
    into.push_back(std::make_unique<SnapshotDeleteType>(records, blockd));
    into.push_back(std::make_unique<SnapshotProtectType>(records, blockd));
}

std::vector<std::unique_ptr<task::StepType>> make_steps(records::Records& records, Blockd& blockd) {
    StepTypes types;
    add_pool_steps(types, records, blockd);
    add_volume_steps(types, records, blockd);
    add_snapshot_steps(types, records, blockd);
    return types;
}

}  // namespace stoa::storage
