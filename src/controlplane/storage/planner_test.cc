// What planners refuse, and whom they name; what plans do: steps_test.cc.
#include "controlplane/storage/planner.h"

#include <gtest/gtest.h>

#include "controlplane/records/test_store.h"
#include "controlplane/storage/steps.h"
#include "controlplane/storage/tags.h"

namespace stoa::storage {
namespace {

constexpr uint64_t kMib = uint64_t{1} << 20;

class PlannerTest : public ::testing::Test {
protected:
    PlannerTest() : ids_({.now_ns = 1'700'000'000'000'000'000, .random = 5}) {}

    PlanContext context() { return {store_.records(), ids_, records::numbered(9)}; }
    template <class Kind>
    Uuid add(uint64_t number, const std::string& name, typename Kind::Spec spec,
             typename Kind::Status status = {}) {
        model::Record<Kind> record;
        record.id = records::numbered(number);
        record.name = name;
        record.spec = std::move(spec);
        record.status = std::move(status);
        state::Txn txn;
        records::create(txn, record);
        const auto done = store_.commit(std::move(txn));
        EXPECT_TRUE(done.ok()) << done.error().message();
        return record.id;
    }
    void add_pool(uint64_t number, const std::string& name) {
        model::PoolSpec spec;
        spec.devices = {"/dev/" + name};
        add<model::Pool>(number, name, spec);
    }
    void add_volume(uint64_t number, const std::string& name, uint64_t pool,
                    bool is_protected = false) {
        model::VolumeSpec spec;
        spec.pool = records::numbered(pool);
        spec.size_bytes = 8 * kMib;
        spec.is_protected = is_protected;
        add<model::Volume>(number, name, spec);
    }
    void add_snapshot(uint64_t number, const std::string& name, uint64_t volume) {
        model::SnapshotSpec spec;
        spec.parts = {{records::numbered(volume), records::numbered(number + 1000)}};
        model::SnapshotStatus status;
        status.state = model::StorageState::ready;
        add<model::Snapshot>(number, name, spec, status);
    }
    void add_vm(uint64_t number, const std::string& name, uint64_t volume) {
        model::VmSpec spec;
        spec.disks.resize(1);
        spec.disks[0].name = "root";
        spec.disks[0].volume = records::numbered(volume);
        spec.power = model::Power::on;
        add<model::Vm>(number, name, spec);
    }
    std::string refusal(const Result<task::Plan>& plan) {
        return plan.ok() ? "accepted" : plan.error().message();
    }
    void expect_in(const Result<task::Plan>& plan, std::string_view text) {
        EXPECT_NE(refusal(plan).find(text), std::string::npos) << refusal(plan);
    }
    Result<task::Plan> create_volume(const std::string& name, const std::string& pool = "") {
        model::VolumeCreate request;
        request.name = name;
        request.pool = pool;
        request.size_bytes = kMib;
        return plan_volume_create(context(), request);
    }

    records::TestStore store_;
    task::Ids ids_;
};

TEST_F(PlannerTest, a_volume_goes_to_the_only_pool) {
    expect_in(create_volume("db"), "there is none yet");
    add_pool(1, "fast");
    const auto plan = create_volume("db");
    ASSERT_TRUE(plan.ok()) << plan.error().message();
    EXPECT_EQ(plan->verb, "volume.create");
    ASSERT_EQ(plan->steps.size(), 2);
    EXPECT_EQ(plan->steps[0].type, "volume.record");
    EXPECT_EQ(plan->steps[1].text, "make volume fast/db of 1 MiB");
    EXPECT_EQ(plan->locks, std::vector<std::string>{plan->target});
    add_pool(2, "slow");
    EXPECT_EQ(refusal(create_volume("db")), "pool: must be one of fast, slow");
    EXPECT_EQ(refusal(create_volume("db", "slow")), "accepted");
    EXPECT_EQ(refusal(create_volume("db", "none")), "pool \"none\" does not exist");
}

TEST_F(PlannerTest, the_same_seed_gives_the_same_plan) {
    add_pool(1, "fast");
    const auto plan = [this] {
        ids_ = task::Ids({.now_ns = 5, .random = 6});
        return *create_volume("db");
    };
    EXPECT_EQ(to_json(plan().steps), to_json(plan().steps));
}

TEST_F(PlannerTest, what_is_used_is_not_deleted_and_its_users_are_named) {
    add_pool(1, "fast");
    add_volume(2, "db", 1);
    EXPECT_EQ(refusal(plan_volume_delete(context(), "fast/db")), "accepted");
    add_snapshot(3, "monday", 2);
    expect_in(plan_volume_delete(context(), "fast/db"), "fast/db/monday");
    add_vm(4, "web", 2);
    expect_in(plan_volume_delete(context(), "fast/db"), "disk root of vm web");
    expect_in(plan_pool_delete(context(), "fast"), "disk root of vm web");
    model::ImageSpec image;
    image.pool = records::numbered(1);
    image.snapshot = records::numbered(1003);
    add<model::Image>(5, "debian", image);
    expect_in(plan_snapshot_delete(context(), "fast/db/monday"), "image debian");
    expect_in(plan_pool_delete(context(), "fast"), "image debian");
    add_volume(6, "kept", 1, true);
    expect_in(plan_volume_delete(context(), "fast/kept"), "protected");
    expect_in(plan_volume_delete(context(), "fast/none"), "does not exist");
}

TEST_F(PlannerTest, shrinking_is_only_done_by_force_and_never_under_a_user) {
    add_pool(1, "fast");
    add_volume(2, "db", 1);
    model::VolumeSet set;
    set.size_bytes = kMib;
    expect_in(plan_volume_set(context(), "fast/db", set), "force it");
    set.force = true;
    EXPECT_EQ(refusal(plan_volume_set(context(), "fast/db", set)), "accepted");
    add_vm(4, "web", 2);
    expect_in(plan_volume_set(context(), "fast/db", set), "it can only grow");
    set.size_bytes = 513;
    expect_in(plan_volume_set(context(), "fast/db", set), "");
}

TEST_F(PlannerTest, what_is_so_already_has_no_steps) {
    add_pool(1, "fast");
    add_volume(2, "db", 1);
    model::VolumeSet set;
    set.size_bytes = 8 * kMib;
    set.name = "db";
    set.is_protected = false;
    const auto plan = plan_volume_set(context(), "fast/db", set);
    ASSERT_TRUE(plan.ok());
    EXPECT_TRUE(plan->steps.empty());
    EXPECT_TRUE(plan->intent.puts.empty());
}

TEST_F(PlannerTest, one_intent_carries_all_changes_of_a_volume) {
    add_pool(1, "fast");
    add_volume(2, "db", 1);
    model::VolumeSet set;
    set.size_bytes = 9 * kMib;
    set.name = "sales";
    set.is_protected = true;
    set.labels = model::Labels{{"a", "b"}};
    const auto plan = plan_volume_set(context(), "fast/db", set);
    ASSERT_TRUE(plan.ok()) << plan.error().message();
    ASSERT_EQ(plan->steps.size(), 4);
    EXPECT_EQ(plan->steps[0].type, "volume.intent");
    EXPECT_EQ(plan->steps[1].type, "volume.rename");
    EXPECT_EQ(plan->steps[2].type, "volume.resize");
    EXPECT_EQ(plan->steps[3].type, "volume.protect");
    ASSERT_TRUE(store_.commit(plan->intent).ok());
    const auto volume = store_.records().find<model::Volume>("fast/sales");
    ASSERT_TRUE(volume.ok());
    EXPECT_EQ((*volume)->spec.size_bytes, 9 * kMib);
}

TEST_F(PlannerTest, a_running_guest_is_not_rolled_back_under_its_feet) {
    add_pool(1, "fast");
    add_volume(2, "db", 1);
    add_snapshot(3, "monday", 2);
    const auto plan = plan_snapshot_rollback(context(), "fast/db/monday", {});
    ASSERT_TRUE(plan.ok()) << plan.error().message();
    ASSERT_EQ(plan->steps.size(), 3);
    EXPECT_EQ(plan->steps[0].type, "snapshot.record");
    EXPECT_EQ(plan->steps[1].type, "snapshot.create");
    EXPECT_EQ(plan->steps[2].type, "volume.rollback");
    add_vm(4, "web", 2);
    expect_in(plan_snapshot_rollback(context(), "fast/db/monday", {}), "vm web");
}

TEST_F(PlannerTest, a_snapshot_is_of_one_pool_and_of_each_volume_once) {
    add_pool(1, "fast");
    add_pool(2, "slow");
    add_volume(3, "db", 1);
    add_volume(4, "log", 2);
    const auto plan = [this](std::vector<std::string> volumes) {
        model::SnapshotCreate request;
        request.name = "monday";
        request.volumes = std::move(volumes);
        return plan_snapshot_create(context(), request);
    };
    EXPECT_EQ(refusal(plan({"fast/db"})), "accepted");
    expect_in(plan({"fast/db", "slow/log"}), "one pool");
    expect_in(plan({"fast/db", "fast/db"}), "twice");
    expect_in(plan({}), "volumes: 1 to 256");
}

TEST_F(PlannerTest, pools_name_what_is_wrong) {
    add_pool(1, "fast");
    model::PoolCreate request;
    request.name = "fast";
    request.devices = {{"/dev/a", 0}};
    EXPECT_EQ(refusal(plan_pool_create(context(), request)), "pool \"fast\" exists already");
    request.name = "a-name-of-more-than-31-bytes-is-too-long";
    expect_in(plan_pool_create(context(), request), "31 bytes");
    request.name = "other";
    EXPECT_EQ(refusal(plan_pool_create(context(), request)), "accepted");
    request.devices = {{"/dev/fast", 0}};
    expect_in(plan_pool_create(context(), request), "/dev/fast is a device of pool fast");
    request.devices = {{"relative", 0}};
    expect_in(plan_pool_create(context(), request), "devices[0].path");
    request.devices = {{"/a", 4097}};
    expect_in(plan_pool_create(context(), request), "devices[0].create_bytes");
    request.devices = {};
    expect_in(plan_pool_create(context(), request), "spec.devices");
    request.devices = {{"/a", 4096}};
    request.open = true;
    expect_in(plan_pool_create(context(), request), "devices[0].create_bytes");
}

TEST_F(PlannerTest, a_free_name_fits_and_is_free) {
    add_pool(1, "fast");
    add_volume(2, "db", 1);
    const Uuid pool = records::numbered(1);
    EXPECT_EQ(free_volume_name(store_.records(), pool, "log"), "log");
    EXPECT_EQ(free_volume_name(store_.records(), pool, "db"), "db-2");
    add_volume(3, "db-2", 1);
    EXPECT_EQ(free_volume_name(store_.records(), pool, "db"), "db-3");
    const std::string longest(80, 'n');
    EXPECT_EQ(free_volume_name(store_.records(), pool, longest), std::string(63, 'n'));
    add_volume(4, std::string(63, 'n'), 1);
    EXPECT_EQ(free_volume_name(store_.records(), pool, longest), std::string(61, 'n') + "-2");
}

TEST(Tags, carry_owners_there_and_back) {
    const std::string vm = records::numbered(1).to_string();
    const std::string image = records::numbered(2).to_string();
    const model::Labels labels{{std::string(kVmLabel), vm}, {std::string(kImageLabel), image}};
    EXPECT_EQ(tags_of(labels), "vm=" + vm + " image=" + image);
    EXPECT_EQ(labels_of(tags_of(labels)), labels);
    EXPECT_EQ(tags_of({{"tier", "front"}, {std::string(kVmLabel), "no id"}}), "");
    EXPECT_TRUE(labels_of("vm= =x vm=1  \xff").empty());
}

}  // namespace
}  // namespace stoa::storage
