#include "controlplane/storage/reconcile.h"

#include "controlplane/storage/test_storage.h"

namespace stoa::storage {
namespace {

class ReconcileTest : public StorageTest {
protected:
    ReconcileReport look() {
        auto report = await(reconcile(records(), blockd()));
        EXPECT_TRUE(report.ok()) << report.error().message();
        return report.ok() ? *std::move(report) : ReconcileReport{};
    }
    void make_unrecorded(const std::string& name, const std::string& tags = "") {
        rpc::VolumeCreate request;
        request.pool = "fast";
        request.name = name;
        request.size_bytes = kMib;
        request.tags = tags;
        ASSERT_TRUE(await(blockd().volume_create(request)).ok());
    }
    void delete_in_pool(const std::string& name) {
        ASSERT_TRUE(await(blockd().volume_delete(pool().id, in_pool(name)->uuid)).ok());
    }
};

TEST_F(ReconcileTest, what_is_as_it_should_be_changes_nothing) {
    make_pool();
    make_volume("db");
    make_snapshot("monday", {"fast/db"});
    const state::Revision before = records().revision();
    const ReconcileReport report = look();
    EXPECT_TRUE(report.changes.empty()) << report.changes.front();
    EXPECT_TRUE(report.unknown.empty());
    EXPECT_TRUE(report.is_whole);
    EXPECT_EQ(records().revision(), before);
}

TEST_F(ReconcileTest, what_is_gone_is_missing_and_says_so_once) {
    make_pool();
    make_volume("db");
    make_snapshot("monday", {"fast/db"});
    delete_in_pool("db");
    const ReconcileReport report = look();
    EXPECT_EQ(volume("fast/db")->status.state, model::StorageState::missing);
    EXPECT_EQ(snapshot("fast/db/monday")->status.state, model::StorageState::missing);
    ASSERT_EQ(report.changes.size(), 2);
    EXPECT_EQ(report.changes[0], "volume fast/db is missing: its pool does not have it");
    EXPECT_TRUE(look().changes.empty());
}

TEST_F(ReconcileTest, a_pool_that_is_not_known_any_more_is_missing_with_all_it_held) {
    make_pool();
    make_volume("db");
    make_snapshot("monday", {"fast/db"});
    const Uuid id = pool().id;
    ASSERT_TRUE(await(blockd().pool_close(id)).ok());
    look();
    EXPECT_EQ(pool().status.state, model::StorageState::missing);
    EXPECT_EQ(volume("fast/db")->status.state, model::StorageState::missing);
    EXPECT_EQ(snapshot("fast/db/monday")->status.state, model::StorageState::missing);
    rpc::PoolOpen request;
    request.devices = {daemon_.file("fast.img")};
    ASSERT_TRUE(await(blockd().pool_open(request)).ok());
    look();
    EXPECT_EQ(pool().status.state, model::StorageState::ready);
    EXPECT_EQ(volume("fast/db")->status.state, model::StorageState::ready);
    EXPECT_EQ(snapshot("fast/db/monday")->status.state, model::StorageState::ready);
}

TEST_F(ReconcileTest, the_record_follows_the_size_and_the_pool_the_name) {
    make_pool();
    make_volume("db");
    const std::string id = volume("fast/db")->id.to_string();
    ASSERT_TRUE(await(blockd().volume_resize({"fast", id, 9 * kMib, false})).ok());
    ASSERT_TRUE(await(blockd().volume_rename({"fast", id, "other"})).ok());
    ASSERT_TRUE(await(blockd().protect({"fast", id, true})).ok());
    const ReconcileReport report = look();
    EXPECT_EQ(report.changes.size(), 3);
    EXPECT_EQ(volume("fast/db")->spec.size_bytes, 9 * kMib);
    ASSERT_TRUE(in_pool("db"));
    EXPECT_FALSE(in_pool("db")->is_protected);
    EXPECT_TRUE(look().changes.empty());
}

TEST_F(ReconcileTest, what_no_record_knows_is_told_and_left) {
    make_pool();
    make_unrecorded("stray");
    make_volume("db");
    const auto pool_id = pool().id;
    rpc::SnapshotCreate request;
    request.pool = "fast";
    request.snapshots = {{"db", "tuesday", std::nullopt}};
    ASSERT_TRUE(await(blockd().snapshot_create(request)).ok());
    rpc::PoolCreate other;
    other.name = "foreign";
    other.devices = {{daemon_.file("foreign.img"), 128 * kMib}};
    ASSERT_TRUE(await(blockd().pool_create(other)).ok());
    const ReconcileReport report = look();
    std::vector<std::string> names;
    for (const Unknown& one : report.unknown) names.push_back(one.name);
    std::ranges::sort(names);
    EXPECT_EQ(names, (std::vector<std::string>{"foreign", "stray", "tuesday"}));
    EXPECT_TRUE(in_pool("stray"));
    const auto made = await(import_pool(records(), blockd(), pool_id, records::numbered(9)));
    ASSERT_TRUE(made.ok()) << made.error().message();
    EXPECT_EQ(*made, 2);
    EXPECT_NE(volume("fast/stray"), nullptr);
    EXPECT_NE(snapshot("fast/db/tuesday"), nullptr);
    EXPECT_EQ(*await(import_pool(records(), blockd(), pool_id, records::numbered(9))), 0);
    EXPECT_EQ(look().unknown.size(), 1);
}

TEST_F(ReconcileTest, what_a_task_changes_is_left_to_it) {
    make_pool();
    make_volume("db");
    model::Record<model::Task> task;
    task.id = records::numbered(50);
    task.name = "t";
    task.spec.locks = {"volume/" + volume("fast/db")->id.to_string()};
    task.status.state = model::TaskState::running;
    state::Txn txn;
    records::create(txn, task);
    ASSERT_TRUE(store_.commit(txn).ok());
    delete_in_pool("db");
    look();
    EXPECT_EQ(volume("fast/db")->status.state, model::StorageState::ready);
    txn = {};
    task.status.state = model::TaskState::failed;
    records::put_status<model::Task>(txn, task.id, task.status);
    ASSERT_TRUE(store_.commit(txn).ok());
    look();
    EXPECT_EQ(volume("fast/db")->status.state, model::StorageState::missing);
}

TEST_F(ReconcileTest, names_and_owners_of_what_is_imported_come_from_the_pool) {
    make_pool();
    model::Record<model::Vm> vm;
    vm.id = records::numbered(60);
    vm.name = "web";
    state::Txn txn;
    records::create(txn, vm);
    ASSERT_TRUE(store_.commit(txn).ok());
    make_unrecorded("Root Disk", "vm=" + vm.id.to_string() + " nonsense");
    make_unrecorded("root-disk", "vm=" + vm.id.to_string());
    make_unrecorded("\xc3\xbc", "");
    rpc::SnapshotCreate request;
    request.pool = "fast";
    request.snapshots = {{"Root Disk", "vm.monday", std::nullopt},
                         {"root-disk", "vm.monday", std::nullopt},
                         {"\xc3\xbc", "vm.monday", std::nullopt}};
    ASSERT_TRUE(await(blockd().snapshot_create(request)).ok());
    const auto made = await(import_pool(records(), blockd(), pool().id, records::numbered(9)));
    ASSERT_TRUE(made.ok()) << made.error().message();
    EXPECT_EQ(*made, 5);
    ASSERT_NE(volume("fast/root-disk"), nullptr);
    EXPECT_NE(volume("fast/root-disk-2"), nullptr);
    EXPECT_EQ(volume("fast/root-disk")->labels.at(std::string(kVmLabel)), vm.id.to_string());
    EXPECT_NE(volume("fast/volume"), nullptr);
    ASSERT_NE(snapshot("web/monday"), nullptr);
    EXPECT_EQ(snapshot("web/monday")->spec.parts.size(), 2);
    EXPECT_NE(snapshot("fast/volume/vm-monday"), nullptr);
    // The pool takes the names of the records.
    look();
    EXPECT_TRUE(in_pool("root-disk"));
    EXPECT_TRUE(in_pool("volume"));
}

TEST_F(ReconcileTest, it_looks_again_whenever_the_daemon_comes_back) {
    make_pool();
    make_volume("db");
    size_t reports = 0;
    size_t whole = 0;
    asio::co_spawn(store_.loop(),
                   keep_reconciled(
                       records(), blockd(),
                       [&](const ReconcileReport& report) {
                           ++reports;
                           if (report.is_whole) ++whole;
                       },
                       [](const rpc::Event&) {}),
                   asio::detached);
    while (whole < 1 && store_.loop().run_one() > 0) {
    }
    daemon_.kill();
    daemon_.start();
    while (whole < 2 && store_.loop().run_one() > 0) {
    }
    EXPECT_EQ(volume("fast/db")->status.state, model::StorageState::ready);
}

}  // namespace
}  // namespace stoa::storage
