// StorageTest: records on a real store beside a real stoa-blockd with one pool, and the planners
// and steps between them; for tests.
#pragma once

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <boost/asio/detached.hpp>
#include <boost/asio/steady_timer.hpp>

#include "controlplane/records/test_store.h"
#include "controlplane/storage/blockd.h"
#include "controlplane/storage/planner.h"
#include "controlplane/storage/reconcile.h"
#include "controlplane/storage/steps.h"
#include "controlplane/storage/test_blockd.h"

namespace stoa::storage {

constexpr uint64_t kMib = uint64_t{1} << 20;

class TestContext final : public task::StepContext {
public:
    explicit TestContext(model::Step step) : step_(std::move(step)) {}
    [[nodiscard]] const Uuid& task() const override { return task_; }
    [[nodiscard]] const model::Step& step() const override { return step_; }
    [[nodiscard]] Json& result() override { return result_; }
    void progress(uint64_t /*done*/, uint64_t /*total*/, std::string_view /*text*/) override {}
    [[nodiscard]] bool cancel_wanted() const override { return cancel; }
    bool cancel = false;

private:
    Uuid task_ = records::numbered(77);
    model::Step step_;
    Json result_ = JsonObject();
};

class StorageTest : public ::testing::Test {
protected:
    StorageTest() : ids_({.now_ns = 1'700'000'000'000'000'000, .random = 5}) {
        BlockdClientOptions options;
        options.socket_path = daemon_.socket_path();
        options.reconnect_pause = std::chrono::milliseconds(5);
        options.reconnect_pause_max = std::chrono::milliseconds(20);
        client_ = BlockdClient::create(store_.loop().get_executor(), options);
        blockd_.emplace(*client_, BlockdLimits{std::chrono::seconds(20), std::chrono::seconds(20)});
        types_ = make_steps(records(), *blockd_);
    }
    ~StorageTest() override {
        daemon_.kill();
        await(client_->close());
    }

    records::Records& records() { return store_.records(); }
    Blockd& blockd() { return *blockd_; }
    PlanContext context() { return {records(), ids_, records::numbered(9)}; }
    template <class T>
    T await(asio::awaitable<T> task) {
        return store_.await(std::move(task));
    }
    void await(AsyncVoid task) { store_.await(std::move(task)); }

    // The process dies and comes again while `task` runs.
    template <class T>
    T await_with_kill(asio::awaitable<T> task, std::chrono::microseconds after) {
        asio::co_spawn(store_.loop(), kill_later(after), asio::detached);
        T result = await(std::move(task));
        while (killing_ && store_.loop().run_one() > 0) {
        }
        return result;
    }

    task::StepType& type_of(const model::Step& step) {
        const auto at = std::ranges::find_if(
            types_, [&step](const auto& type) { return type->name() == step.type; });
        EXPECT_NE(at, types_.end()) << step.type;
        return **at;
    }
    void commit_intent(const task::Plan& plan) {
        if (plan.intent.puts.empty() && plan.intent.deletes.empty()) return;
        const auto done = store_.commit(plan.intent);
        EXPECT_TRUE(done.ok()) << done.error().message();
    }
    Result<void> run(const model::Step& step) {
        TestContext context(step);
        return await(type_of(step).run(context));
    }
    bool is_done(const model::Step& step) {
        TestContext context(step);
        const auto done = await(type_of(step).is_done(context));
        EXPECT_TRUE(done.ok()) << step.type << ": " << done.error().message();
        return done.ok() && *done;
    }
    Result<void> undo(const model::Step& step) {
        TestContext context(step);
        return await(type_of(step).undo(context));
    }
    // As the engine does it when all goes well.
    void execute(const Result<task::Plan>& plan) {
        ASSERT_TRUE(plan.ok()) << plan.error().message();
        commit_intent(*plan);
        for (const model::Step& step : plan->steps) {
            const Result<void> ran = run(step);
            ASSERT_TRUE(ran.ok()) << step.type << ": " << ran.error().message();
        }
    }

    model::PoolCreate pool_request(const std::string& name) {
        model::PoolCreate request;
        request.name = name;
        request.devices = {{daemon_.file(name + ".img"), 128 * kMib}};
        request.capacity_max_bytes = 512 * kMib;
        return request;
    }
    void make_pool() { execute(plan_pool_create(context(), pool_request("fast"))); }
    model::VolumeCreate volume_request(const std::string& name) {
        model::VolumeCreate request;
        request.name = name;
        request.size_bytes = 8 * kMib;
        return request;
    }
    void make_volume(const std::string& name) {
        execute(plan_volume_create(context(), volume_request(name)));
    }
    void make_snapshot(const std::string& name, std::vector<std::string> volumes) {
        model::SnapshotCreate request;
        request.name = name;
        request.volumes = std::move(volumes);
        execute(plan_snapshot_create(context(), request));
    }
    const PoolRecord& pool(const std::string& name = "fast") {
        return **records().find<model::Pool>(name);
    }
    const VolumeRecord* volume(const std::string& name) {
        const auto found = records().find<model::Volume>(name);
        return found.ok() ? *found : nullptr;
    }
    const SnapshotRecord* snapshot(const std::string& name) {
        const auto found = records().find<model::Snapshot>(name);
        return found.ok() ? *found : nullptr;
    }
    // What the pool says of a volume of that name there.
    std::optional<rpc::VolumeStatus> in_pool(const std::string& name) {
        const auto list = await(blockd().volume_list(pool().id));
        EXPECT_TRUE(list.ok()) << list.error().message();
        if (!list.ok()) return std::nullopt;
        for (const rpc::VolumeStatus& one : list->volumes) {
            if (one.name == name && !one.deleting) return one;
        }
        return std::nullopt;
    }
    size_t snapshots_in_pool() {
        const auto list = await(blockd().snapshot_list(pool().id));
        EXPECT_TRUE(list.ok()) << list.error().message();
        return static_cast<size_t>(
            std::ranges::count_if(list->snapshots, [](const auto& one) { return !one.deleting; }));
    }

    records::TestStore store_;
    TestBlockd daemon_;
    task::Ids ids_;
    std::unique_ptr<BlockdClient> client_;
    std::optional<Blockd> blockd_;
    std::vector<std::unique_ptr<task::StepType>> types_;

private:
    AsyncVoid kill_later(std::chrono::microseconds after) {
        killing_ = true;
        asio::steady_timer timer(store_.loop(), after);
        co_await timer.async_wait(kAwait);
        daemon_.kill();
        daemon_.start();
        killing_ = false;
    }
    bool killing_ = false;
};

}  // namespace stoa::storage
