// Steps about volumes.
#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "controlplane/storage/step_type.h"
#include "controlplane/storage/steps.h"
#include "controlplane/task/record_step.h"

namespace stoa::storage {

namespace {

using model::StorageState;

class VolumeCreateType final : public TypedStep<VolumeCreateStep> {
public:
    using TypedStep::TypedStep;
    [[nodiscard]] bool undoes_intent() const override { return true; }

protected:
    Async<bool> done(VolumeCreateStep step, task::StepContext& /*context*/) override {
        CO_TRY_ASSIGN(const auto found, co_await blockd.volume_get(step.pool, step.volume));
        co_return found&& has_state<model::Volume>(records, step.volume, StorageState::ready);
    }

    Async<> make(VolumeCreateStep step, task::StepContext& /*context*/) override {
        CO_TRY(check_recorded<model::Volume>(records, step.volume));
        CO_TRY_ASSIGN(auto found, co_await blockd.volume_get(step.pool, step.volume));
        if (!found) {
            auto made = step.source ? co_await clone(step) : co_await create(step);
            if (!made.ok()) co_return made.take_error();
            found = *std::move(made);
        }
        if (step.is_protected && !found->is_protected) {
            CO_TRY(co_await blockd.protect({step.pool.to_string(), step.volume.to_string(), true}));
        }
        const uint64_t size_bytes = found->size_bytes;
        CO_TRY(co_await change_record<model::Volume>(
            records, step.volume,
            [size_bytes](VolumeRecord& volume) { volume.spec.size_bytes = size_bytes; }));
        co_return co_await set_state<model::Volume>(records, step.volume, StorageState::ready, "");
    }

    Async<> take_back(VolumeCreateStep step, task::StepContext& /*context*/) override {
        CO_TRY_ASSIGN(const auto found, co_await blockd.volume_get(step.pool, step.volume));
        if (found && found->is_protected) {
            CO_TRY(
                co_await blockd.protect({step.pool.to_string(), step.volume.to_string(), false}));
        }
        if (found) CO_TRY(co_await blockd.volume_delete(step.pool, step.volume));
        co_return co_await task::erase_record<model::Volume>(records, step.volume);
    }

private:
    Async<rpc::VolumeStatus> create(const VolumeCreateStep& step) {
        rpc::VolumeCreate request;
        request.pool = step.pool.to_string();
        request.name = step.name;
        request.uuid = step.volume;
        request.size_bytes = step.size_bytes;
        request.tags = step.tags;
        co_return co_await blockd.volume_create(std::move(request));
    }
    Async<rpc::VolumeStatus> clone(const VolumeCreateStep& step) {
        rpc::SnapshotClone request;
        request.pool = step.pool.to_string();
        request.snapshot = step.source->to_string();
        request.name = step.name;
        request.uuid = step.volume;
        request.size_bytes = step.size_bytes;
        request.tags = step.tags;
        co_return co_await blockd.snapshot_clone(std::move(request));
    }
};

class VolumeIntentType final : public TypedStep<VolumeIntentStep> {
public:
    using TypedStep::TypedStep;
    [[nodiscard]] bool undoes_intent() const override { return true; }

protected:
    Async<bool> done(VolumeIntentStep /*step*/, task::StepContext& /*context*/) override {
        co_return true;
    }
    Async<> make(VolumeIntentStep /*step*/, task::StepContext& /*context*/) override {
        co_return Result<void>();
    }
    Async<> take_back(VolumeIntentStep step, task::StepContext& /*context*/) override {
        const auto restore = [&step](VolumeRecord& volume) {
            volume.labels = step.labels;
            volume.spec.size_bytes = step.size_bytes;
            volume.spec.is_protected = step.is_protected;
        };
        CO_TRY(co_await change_record<model::Volume>(records, step.volume, restore));
        const Result<void> named = co_await change_record<model::Volume>(
            records, step.volume, [&step](VolumeRecord& volume) { volume.name = step.name; });
        // Another one took the old name meanwhile: then it keeps the new one.
        const bool keeps = !named.ok() && named.error().code() == ErrorCode::already_exists;
        if (!named.ok() && !keeps) co_return named.error();
        co_return Result<void>();
    }
};

// Snapshots that are of this volume alone went with it.
Async<> erase_volume_records(records::Records& records, Uuid volume) {
    std::vector<Uuid> snapshots;
    for (const auto& [id, snapshot] : records.all<model::Snapshot>()) {
        const auto is_of = [&volume](const model::SnapshotPart& part) {
            return part.volume == volume;
        };
        if (std::ranges::all_of(snapshot.spec.parts, is_of)) snapshots.push_back(id);
    }
    for (const Uuid& id : snapshots) {
        CO_TRY(co_await task::erase_record<model::Snapshot>(records, id));
    }
    co_return co_await task::erase_record<model::Volume>(records, volume);
}

class VolumeDeleteType final : public TypedStep<VolumeDeleteStep> {
public:
    using TypedStep::TypedStep;

protected:
    Async<bool> done(VolumeDeleteStep step, task::StepContext& /*context*/) override {
        if (records.get<model::Volume>(step.volume) != nullptr) co_return false;
        CO_TRY_ASSIGN(const auto found, co_await blockd.volume_get(step.pool, step.volume));
        co_return !found;
    }
    Async<> make(VolumeDeleteStep step, task::StepContext& /*context*/) override {
        CO_TRY(co_await blockd.volume_delete(step.pool, step.volume));
        co_return co_await erase_volume_records(records, step.volume);
    }
    Async<> take_back(VolumeDeleteStep step, task::StepContext& /*context*/) override {
        CO_TRY_ASSIGN(const auto found, co_await blockd.volume_get(step.pool, step.volume));
        if (found) co_return Result<void>();
        co_return co_await erase_volume_records(records, step.volume);
    }
};

class VolumeResizeType final : public TypedStep<VolumeResizeStep> {
public:
    using TypedStep::TypedStep;
    [[nodiscard]] bool undoes_intent() const override { return true; }

protected:
    Async<bool> done(VolumeResizeStep step, task::StepContext& /*context*/) override {
        CO_TRY_ASSIGN(const auto found, co_await blockd.volume_get(step.pool, step.volume));
        co_return found && found->size_bytes == step.size_bytes;
    }
    Async<> make(VolumeResizeStep step, task::StepContext& /*context*/) override {
        co_return co_await resize(step, step.size_bytes);
    }
    Async<> take_back(VolumeResizeStep step, task::StepContext& /*context*/) override {
        CO_TRY_ASSIGN(const auto found, co_await blockd.volume_get(step.pool, step.volume));
        uint64_t size_bytes = step.before_bytes;
        if (found && found->size_bytes != size_bytes) {
            const Result<void> resized = co_await resize(step, size_bytes);
            // Somebody uses it: it stays larger, which harms nobody, and its record says so.
            const bool stays = !resized.ok() && resized.error().code() == ErrorCode::in_use;
            if (!resized.ok() && !stays) co_return resized.error();
            if (stays) size_bytes = found->size_bytes;
        }
        co_return co_await change_record<model::Volume>(
            records, step.volume,
            [size_bytes](VolumeRecord& volume) { volume.spec.size_bytes = size_bytes; });
    }

private:
    Async<> resize(const VolumeResizeStep& step, uint64_t size_bytes) {
        rpc::VolumeResize request;
        request.pool = step.pool.to_string();
        request.volume = step.volume.to_string();
        request.size_bytes = size_bytes;
        request.allow_shrink = true;
        const auto resized = co_await blockd.volume_resize(std::move(request));
        if (!resized.ok()) co_return resized.error();
        co_return Result<void>();
    }
};

class VolumeRenameType final : public TypedStep<VolumeRenameStep> {
public:
    using TypedStep::TypedStep;
    [[nodiscard]] bool undoes_intent() const override { return true; }

protected:
    Async<bool> done(VolumeRenameStep step, task::StepContext& /*context*/) override {
        CO_TRY_ASSIGN(const auto found, co_await blockd.volume_get(step.pool, step.volume));
        co_return found && found->name == step.name;
    }
    Async<> make(VolumeRenameStep step, task::StepContext& /*context*/) override {
        co_return co_await rename(step, step.name);
    }
    Async<> take_back(VolumeRenameStep step, task::StepContext& /*context*/) override {
        const std::string before = step.before;
        const Result<void> named = co_await change_record<model::Volume>(
            records, step.volume, [&before](VolumeRecord& volume) { volume.name = before; });
        // Another one took the old name meanwhile: then it keeps the new one.
        const bool keeps = !named.ok() && named.error().code() == ErrorCode::already_exists;
        if (!named.ok() && !keeps) co_return named.error();
        CO_TRY_ASSIGN(const auto found, co_await blockd.volume_get(step.pool, step.volume));
        if (!found) co_return Result<void>();
        co_return co_await rename(step, keeps ? step.name : step.before);
    }

private:
    Async<> rename(const VolumeRenameStep& step, std::string name) {
        const auto renamed = co_await blockd.volume_rename(
            {step.pool.to_string(), step.volume.to_string(), std::move(name)});
        if (!renamed.ok()) co_return renamed.error();
        co_return Result<void>();
    }
};

class VolumeProtectType final : public TypedStep<VolumeProtectStep> {
public:
    using TypedStep::TypedStep;
    [[nodiscard]] bool undoes_intent() const override { return true; }

protected:
    Async<bool> done(VolumeProtectStep step, task::StepContext& /*context*/) override {
        CO_TRY_ASSIGN(const auto found, co_await blockd.volume_get(step.pool, step.volume));
        co_return found && found->is_protected == step.on;
    }
    Async<> make(VolumeProtectStep step, task::StepContext& /*context*/) override {
        co_return co_await blockd.protect(
            {step.pool.to_string(), step.volume.to_string(), step.on});
    }
    Async<> take_back(VolumeProtectStep step, task::StepContext& /*context*/) override {
        CO_TRY_ASSIGN(const auto found, co_await blockd.volume_get(step.pool, step.volume));
        if (found && found->is_protected == step.on) {
            CO_TRY(co_await blockd.protect(
                {step.pool.to_string(), step.volume.to_string(), !step.on}));
        }
        co_return co_await change_record<model::Volume>(
            records, step.volume,
            [on = step.on](VolumeRecord& volume) { volume.spec.is_protected = !on; });
    }
};

// Nothing in the pool tells that it was rolled back and not written since; doing it again does no
// harm, because nobody can have written to it: the step fails while it is attached.
class VolumeRollbackType final : public TypedStep<VolumeRollbackStep> {
public:
    using TypedStep::TypedStep;

protected:
    Async<bool> done(VolumeRollbackStep /*step*/, task::StepContext& /*context*/) override {
        co_return false;
    }
    Async<> make(VolumeRollbackStep step, task::StepContext& /*context*/) override {
        co_return co_await roll_back(step, step.snapshot);
    }
    Async<> take_back(VolumeRollbackStep step, task::StepContext& /*context*/) override {
        if (!step.safety) co_return Result<void>();
        CO_TRY_ASSIGN(const auto safety, co_await blockd.snapshot_get(step.pool, *step.safety));
        if (!safety) co_return Result<void>();
        co_return co_await roll_back(step, *step.safety);
    }

private:
    Async<> roll_back(const VolumeRollbackStep& step, Uuid snapshot) {
        CO_TRY_ASSIGN(const rpc::VolumeStatus rolled,
                      co_await blockd.volume_rollback(
                          {step.pool.to_string(), step.volume.to_string(), snapshot.to_string()}));
        const uint64_t size_bytes = rolled.size_bytes;
        co_return co_await change_record<model::Volume>(
            records, step.volume,
            [size_bytes](VolumeRecord& volume) { volume.spec.size_bytes = size_bytes; });
    }
};

}  // namespace

void add_volume_steps(StepTypes& into, records::Records& records, Blockd& blockd) {
    into.push_back(std::make_unique<task::RecordStep<model::Volume>>(records));
    into.push_back(std::make_unique<VolumeIntentType>(records, blockd));
    into.push_back(std::make_unique<VolumeCreateType>(records, blockd));
    into.push_back(std::make_unique<VolumeDeleteType>(records, blockd));
    into.push_back(std::make_unique<VolumeResizeType>(records, blockd));
    into.push_back(std::make_unique<VolumeRenameType>(records, blockd));
    into.push_back(std::make_unique<VolumeProtectType>(records, blockd));
    into.push_back(std::make_unique<VolumeRollbackType>(records, blockd));
}

}  // namespace stoa::storage
