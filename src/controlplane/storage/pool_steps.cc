// Steps about pools.
#include <algorithm>
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include "controlplane/storage/reconcile.h"
#include "controlplane/storage/step_type.h"
#include "controlplane/storage/steps.h"
#include "controlplane/task/record_step.h"

namespace stoa::storage {

namespace {

using model::StorageState;

constexpr std::chrono::milliseconds kScrubPause{200};

// Whether all devices are files that are to be made, and none is there. Then what is found at their
// place later is what a creation left that was cut short, and may be overwritten.
bool are_all_to_be_made(const std::vector<PoolDevice>& devices) {
    return std::ranges::all_of(devices, [](const PoolDevice& device) {
        std::error_code error;
        const auto kind = std::filesystem::symlink_status(device.path, error).type();
        return device.create_bytes != 0 && kind == std::filesystem::file_type::not_found;
    });
}

bool has_device(const rpc::PoolStatus& pool, std::string_view path) {
    return std::ranges::find(pool.devices, path, &rpc::DeviceStatus::path) != pool.devices.end();
}

class PoolCreateType final : public TypedStep<PoolCreateStep> {
public:
    using TypedStep::TypedStep;
    [[nodiscard]] bool undoes_intent() const override { return true; }

protected:
    Async<bool> done(PoolCreateStep step, task::StepContext& /*context*/) override {
        CO_TRY_ASSIGN(const auto found, co_await blockd.pool_get(step.pool));
        co_return found&& has_state<model::Pool>(records, step.pool, StorageState::ready);
    }
    Async<> make(PoolCreateStep step, task::StepContext& /*context*/) override {
        CO_TRY(check_recorded<model::Pool>(records, step.pool));
        CO_TRY_ASSIGN(const auto found, co_await blockd.pool_get(step.pool));
        if (!found) {
            const bool may_repeat = are_all_to_be_made(step.devices);
            auto made = co_await create(step, step.force);
            const bool is_cut = !made.ok() && made.error().code() == ErrorCode::already_exists;
            if (is_cut && may_repeat) made = co_await create(step, true);
            if (!made.ok()) co_return made.take_error();
        }
        co_return co_await set_state<model::Pool>(records, step.pool, StorageState::ready, "");
    }
    Async<> take_back(PoolCreateStep step, task::StepContext& /*context*/) override {
        CO_TRY(co_await blockd.pool_close(step.pool));
        co_return co_await task::erase_record<model::Pool>(records, step.pool);
    }

private:
    Async<rpc::PoolStatus> create(const PoolCreateStep& step, bool force) {
        rpc::PoolCreate request;
        request.name = step.name;
        request.uuid = step.pool;
        request.force = force;
        request.capacity_max_bytes = step.capacity_max_bytes;
        for (const PoolDevice& device : step.devices) {
            request.devices.push_back({device.path, device.create_bytes});
        }
        co_return co_await blockd.pool_create(std::move(request));
    }
};

class PoolOpenType final : public TypedStep<PoolOpenStep> {
public:
    using TypedStep::TypedStep;

protected:
    Async<bool> done(PoolOpenStep step, task::StepContext& context) override {
        const auto found = records.find<model::Pool>(step.name);
        if (!found.ok() || (*found)->spec.devices != step.devices) co_return false;
        if ((*found)->status.state != StorageState::ready) co_return false;
        tell(context, (*found)->id);
        co_return true;
    }

    Async<> make(PoolOpenStep step, task::StepContext& context) override {
        CO_TRY_ASSIGN(auto pool, co_await open_one(step));
        if (!pool) {
            rpc::PoolOpen request;
            request.devices = step.devices;
            auto opened = co_await blockd.pool_open(std::move(request));
            // The answer to the first time may have been lost.
            const bool is_there =
                !opened.ok() && opened.error().code() == ErrorCode::already_exists;
            if (is_there) {
                CO_TRY_ASSIGN(pool, co_await open_one(step));
                if (!pool) co_return opened.take_error();
            } else if (!opened.ok()) {
                co_return opened.take_error();
            } else {
                pool = opened->uuid;
            }
        }
        CO_TRY(co_await make_record(step, *pool));
        CO_TRY_ASSIGN([[maybe_unused]] const size_t made,
                      co_await import_pool(records, blockd, *pool, step.host));
        tell(context, *pool);
        co_return co_await set_state<model::Pool>(records, *pool, StorageState::ready, "");
    }

    Async<> take_back(PoolOpenStep step, task::StepContext& /*context*/) override {
        CO_TRY_ASSIGN(const auto pool, co_await open_one(step));
        if (!pool) co_return Result<void>();
        const PoolRecord* record = records.get<model::Pool>(*pool);
        // One that was there before is another task's.
        if (record != nullptr && record->name != step.name) co_return Result<void>();
        CO_TRY(co_await blockd.pool_close(*pool));
        co_return co_await forget_pool(records, *pool);
    }

public:
    // Records of all that is in the pool, then its own.
    static Async<> forget_pool(records::Records& records, Uuid pool) {
        std::vector<Uuid> volumes;
        for (const auto& [id, volume] : records.all<model::Volume>()) {
            if (volume.spec.pool == pool) volumes.push_back(id);
        }
        std::vector<Uuid> snapshots;
        for (const auto& [id, snapshot] : records.all<model::Snapshot>()) {
            const auto is_of = [&volumes](const model::SnapshotPart& part) {
                return std::ranges::binary_search(volumes, part.volume);
            };
            if (std::ranges::all_of(snapshot.spec.parts, is_of)) snapshots.push_back(id);
        }
        for (const Uuid& id : snapshots) {
            CO_TRY(co_await task::erase_record<model::Snapshot>(records, id));
        }
        for (const Uuid& id : volumes) {
            CO_TRY(co_await task::erase_record<model::Volume>(records, id));
        }
        co_return co_await task::erase_record<model::Pool>(records, pool);
    }

private:
    static void tell(task::StepContext& context, const Uuid& pool) {
        if (!context.result().is_object()) context.result() = JsonObject();
        context.result().get_object()["pool"] = pool.to_string();
    }

    // The pool of blockd that has these devices.
    Async<std::optional<Uuid>> open_one(const PoolOpenStep& step) {
        CO_TRY_ASSIGN(const rpc::PoolList list, co_await blockd.pool_list());
        for (const rpc::PoolStatus& pool : list.pools) {
            const auto has = [&pool](const std::string& path) { return has_device(pool, path); };
            if (std::ranges::all_of(step.devices, has)) co_return std::optional<Uuid>(pool.uuid);
        }
        co_return std::optional<Uuid>();
    }

    Async<> make_record(const PoolOpenStep& step, Uuid id) {
        if (const PoolRecord* there = records.get<model::Pool>(id); there != nullptr) {
            if (there->name == step.name) co_return Result<void>();
            co_return Error(ErrorCode::already_exists,
                            fmt::format("the pool on {} is there already: {}", step.devices.front(),
                                        there->name));
        }
        PoolRecord record;
        record.id = id;
        record.name = step.name;
        record.labels = step.labels;
        record.created_ns = step.created_ns;
        record.spec.devices = step.devices;
        record.status.host = step.host;
        state::Txn txn;
        records::create(txn, record);
        const auto made = co_await records.commit(std::move(txn));
        if (!made.ok()) co_return made.error();
        co_return Result<void>();
    }
};

class PoolCloseType final : public TypedStep<PoolCloseStep> {
public:
    using TypedStep::TypedStep;

protected:
    Async<bool> done(PoolCloseStep step, task::StepContext& /*context*/) override {
        if (records.get<model::Pool>(step.pool) != nullptr) co_return false;
        CO_TRY_ASSIGN(const auto found, co_await blockd.pool_get(step.pool));
        co_return !found;
    }
    Async<> make(PoolCloseStep step, task::StepContext& /*context*/) override {
        CO_TRY(co_await blockd.pool_close(step.pool));
        co_return co_await PoolOpenType::forget_pool(records, step.pool);
    }
    // Opens it again, as long as it is not forgotten.
    Async<> take_back(PoolCloseStep step, task::StepContext& /*context*/) override {
        const PoolRecord* record = records.get<model::Pool>(step.pool);
        if (record == nullptr) co_return Result<void>();
        rpc::PoolOpen request;
        request.devices = record->spec.devices;
        const Uuid host = record->status.host.value_or(Uuid{});
        CO_TRY_ASSIGN(const auto found, co_await blockd.pool_get(step.pool));
        if (!found) {
            const auto opened = co_await blockd.pool_open(std::move(request));
            const bool is_there =
                !opened.ok() && opened.error().code() == ErrorCode::already_exists;
            if (!opened.ok() && !is_there) co_return opened.error();
        }
        CO_TRY_ASSIGN([[maybe_unused]] const size_t made,
                      co_await import_pool(records, blockd, step.pool, host));
        co_return Result<void>();
    }
};

class PoolAddDeviceType final : public TypedStep<PoolAddDeviceStep> {
public:
    using TypedStep::TypedStep;

protected:
    Async<bool> done(PoolAddDeviceStep step, task::StepContext& /*context*/) override {
        const PoolRecord* record = records.get<model::Pool>(step.pool);
        if (record == nullptr) co_return false;
        const auto& devices = record->spec.devices;
        if (std::ranges::find(devices, step.device.path) == devices.end()) co_return false;
        CO_TRY_ASSIGN(const auto found, co_await blockd.pool_get(step.pool));
        co_return found&& has_device(*found, step.device.path);
    }
    Async<> make(PoolAddDeviceStep step, task::StepContext& /*context*/) override {
        CO_TRY_ASSIGN(const auto found, co_await blockd.pool_get(step.pool));
        if (!found || !has_device(*found, step.device.path)) {
            const bool may_repeat = are_all_to_be_made({step.device});
            auto added = co_await add(step, step.force);
            if (!added.ok()) {
                // It may be the second time, with the first one's answer lost or cut short.
                CO_TRY_ASSIGN(const auto now, co_await blockd.pool_get(step.pool));
                const bool is_there = now && has_device(*now, step.device.path);
                if (!is_there && may_repeat && added.error().code() == ErrorCode::already_exists) {
                    added = co_await add(step, true);
                }
                if (!is_there && !added.ok()) co_return added.take_error();
            }
        }
        co_return co_await note(step);
    }
    // It cannot be taken out again.
    Async<> take_back(PoolAddDeviceStep step, task::StepContext& /*context*/) override {
        CO_TRY_ASSIGN(const auto found, co_await blockd.pool_get(step.pool));
        if (!found || !has_device(*found, step.device.path)) co_return Result<void>();
        co_return co_await note(step);
    }

private:
    Async<rpc::PoolStatus> add(const PoolAddDeviceStep& step, bool force) {
        co_return co_await blockd.pool_add_device(
            {step.pool.to_string(), {step.device.path, step.device.create_bytes}, force});
    }
    Async<> note(const PoolAddDeviceStep& step) {
        const std::string path = step.device.path;
        co_return co_await change_record<model::Pool>(records, step.pool, [&](PoolRecord& pool) {
            auto& devices = pool.spec.devices;
            if (std::ranges::find(devices, path) == devices.end()) devices.push_back(path);
        });
    }
};

class PoolScrubType final : public TypedStep<PoolScrubStep> {
public:
    using TypedStep::TypedStep;

protected:
    Async<bool> done(PoolScrubStep /*step*/, task::StepContext& context) override {
        co_return context.result().is_object() && context.result().get_object().contains("scrub");
    }
    Async<> make(PoolScrubStep step, task::StepContext& context) override {
        asio::steady_timer pause(co_await asio::this_coro::executor);
        std::optional<uint64_t> task;
        for (;;) {
            // The daemon forgets its tasks when it starts anew.
            if (!task) {
                CO_TRY_ASSIGN(
                    const rpc::TaskRef begun,
                    co_await blockd.pool_scrub({step.pool.to_string(), step.bytes_per_second}));
                task = begun.task;
            }
            CO_TRY_ASSIGN(const auto status, co_await blockd.task_get(*task));
            // The same number may be another one's then.
            if (!status || !status->what.starts_with("pool.scrub")) {
                task.reset();
                continue;
            }
            context.progress(status->done_bytes, status->total_bytes, "verified");
            if (status->state == rpc::TaskState::done) {
                if (!context.result().is_object()) context.result() = JsonObject();
                context.result().get_object()["scrub"] = status->result.value_or(JsonObject());
                co_return Result<void>();
            }
            if (status->state == rpc::TaskState::failed) {
                co_return Error(ErrorCode::io, status->error);
            }
            pause.expires_after(kScrubPause);
            const auto [stopped] = co_await pause.async_wait(kAwait);
            const bool is_over = status->state == rpc::TaskState::cancelled;
            if (!stopped && !is_over && !context.cancel_wanted()) continue;
            if (!is_over && context.cancel_wanted()) {
                CO_TRY(co_await blockd.task_cancel(*task));
            }
            co_return Error(ErrorCode::cancelled, "the scrub was cancelled");
        }
    }
    // It changed nothing but what it repaired.
    Async<> take_back(PoolScrubStep /*step*/, task::StepContext& /*context*/) override {
        co_return Result<void>();
    }
};

}  // namespace

void add_pool_steps(StepTypes& into, records::Records& records, Blockd& blockd) {
    into.push_back(std::make_unique<PoolCreateType>(records, blockd));
    into.push_back(std::make_unique<PoolOpenType>(records, blockd));
    into.push_back(std::make_unique<PoolCloseType>(records, blockd));
    into.push_back(std::make_unique<PoolAddDeviceType>(records, blockd));
    into.push_back(std::make_unique<PoolScrubType>(records, blockd));
}

}  // namespace stoa::storage
