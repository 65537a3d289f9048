#include "controlplane/records/records.h"

#include <gtest/gtest.h>
#include <boost/asio/detached.hpp>

#include "controlplane/records/test_store.h"

namespace stoa::records {
namespace {

template <class Kind>
model::Record<Kind> make(uint64_t number, std::string name, typename Kind::Spec spec = {}) {
    model::Record<Kind> record;
    record.id = numbered(number);
    record.name = std::move(name);
    record.created_ns = 1;
    record.spec = std::move(spec);
    return record;
}

model::VmStatus vm_status(model::VmState state) {
    model::VmStatus status;
    status.state = state;
    return status;
}
model::VolumeSpec volume_in(const Uuid& pool) {
    model::VolumeSpec spec;
    spec.pool = pool;
    return spec;
}

class RecordsTest : public ::testing::Test {
protected:
    template <class Kind>
    Result<state::Revision> add(const model::Record<Kind>& record) {
        state::Txn txn;
        create(txn, record);
        return store_.commit(std::move(txn));
    }
    Result<state::Revision> put(const std::string& key, const std::string& value) {
        return store_.commit({.compares = {}, .puts = {{key, value}}, .deletes = {}});
    }
    template <class Kind>
    ErrorCode find_error(std::string_view text) {
        const auto found = store_.records().find<Kind>(text);
        return found.ok() ? ErrorCode::unsupported : found.error().code();
    }
    Records& records() { return store_.records(); }

    TestStore store_;
};

TEST_F(RecordsTest, what_was_committed_is_seen_when_commit_has_answered) {
    ASSERT_TRUE(add(make<model::Vm>(7, "web1")).ok());
    const auto found = records().find<model::Vm>("web1");
    ASSERT_TRUE(found.ok()) << found.error().message();
    EXPECT_EQ((*found)->id, numbered(7));
    EXPECT_EQ(*records().find<model::Vm>(numbered(7).to_string()), *found);
    EXPECT_EQ(records().get<model::Vm>(numbered(7)), *found);
    EXPECT_EQ(records().all<model::Vm>().size(), 1);
    EXPECT_EQ(records().get<model::Vm>(numbered(8)), nullptr);
    EXPECT_TRUE(records().all<model::Network>().empty());
}

TEST_F(RecordsTest, records_are_there_after_a_restart) {
    auto vm = make<model::Vm>(7, "web1");
    vm.labels = {{"tier", "front"}};
    vm.spec.cpus = 3;
    vm.status.state = model::VmState::running;
    ASSERT_TRUE(add(vm).ok());
    const std::string revision = (*records().find<model::Vm>("web1"))->revision;
    store_.open_again();
    const auto found = records().find<model::Vm>("web1");
    ASSERT_TRUE(found.ok());
    EXPECT_EQ((*found)->spec.cpus, 3);
    EXPECT_EQ((*found)->labels, vm.labels);
    EXPECT_EQ((*found)->status.state, model::VmState::running);
    EXPECT_EQ((*found)->revision, revision);
}

TEST_F(RecordsTest, a_name_is_given_once) {
    ASSERT_TRUE(add(make<model::Vm>(7, "web1")).ok());
    const auto again = add(make<model::Vm>(8, "web1"));
    ASSERT_FALSE(again.ok());
    EXPECT_EQ(again.error().code(), ErrorCode::already_exists);
    EXPECT_EQ(again.error().message(), "vm \"web1\" exists already");
    EXPECT_TRUE(add(make<model::Network>(8, "web1")).ok());
    const auto same_id = add(make<model::Vm>(7, "web2"));
    EXPECT_EQ(same_id.error().message(), "vm \"web1\" exists already");
}

TEST_F(RecordsTest, a_record_changed_meanwhile_is_not_replaced) {
    ASSERT_TRUE(add(make<model::Vm>(7, "web1")).ok());
    const model::Record<model::Vm> read = **records().find<model::Vm>("web1");
    auto mine = read;
    mine.spec.cpus = 2;
    auto theirs = read;
    theirs.spec.cpus = 4;
    state::Txn first;
    replace(first, read, theirs);
    ASSERT_TRUE(store_.commit(first).ok());
    state::Txn second;
    replace(second, read, mine);
    const auto refused = store_.commit(second);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), ErrorCode::conflict);
    EXPECT_EQ(refused.error().message(),
              "vm \"web1\" was changed meanwhile: look again and repeat");
    EXPECT_EQ((*records().find<model::Vm>("web1"))->spec.cpus, 4);
    state::Txn gone;
    erase(gone, **records().find<model::Vm>("web1"));
    ASSERT_TRUE(store_.commit(gone).ok());
    EXPECT_EQ(store_.commit(second).error().code(), ErrorCode::conflict);
}

TEST_F(RecordsTest, a_status_changes_without_changing_the_revision) {
    ASSERT_TRUE(add(make<model::Vm>(7, "web1")).ok());
    const std::string revision = (*records().find<model::Vm>("web1"))->revision;
    state::Txn txn;
    put_status<model::Vm>(txn, numbered(7), vm_status(model::VmState::paused));
    ASSERT_TRUE(store_.commit(txn).ok());
    EXPECT_EQ((*records().find<model::Vm>("web1"))->status.state, model::VmState::paused);
    EXPECT_EQ((*records().find<model::Vm>("web1"))->revision, revision);
}

TEST_F(RecordsTest, renaming_frees_the_old_name_and_takes_the_new_one) {
    ASSERT_TRUE(add(make<model::Vm>(7, "web1")).ok());
    ASSERT_TRUE(add(make<model::Vm>(8, "web2")).ok());
    const model::Record<model::Vm> before = **records().find<model::Vm>("web1");
    auto after = before;
    after.name = "web2";
    state::Txn taken;
    replace(taken, before, after);
    EXPECT_EQ(store_.commit(taken).error().code(), ErrorCode::already_exists);
    after.name = "web3";
    state::Txn free;
    replace(free, before, after);
    ASSERT_TRUE(store_.commit(free).ok());
    EXPECT_EQ(find_error<model::Vm>("web1"), ErrorCode::not_found);
    EXPECT_EQ((*records().find<model::Vm>("web3"))->id, numbered(7));
    EXPECT_TRUE(add(make<model::Vm>(9, "web1")).ok());
}

TEST_F(RecordsTest, what_was_erased_is_nowhere) {
    ASSERT_TRUE(add(make<model::Vm>(7, "web1")).ok());
    state::Txn txn;
    erase(txn, **records().find<model::Vm>("web1"));
    ASSERT_TRUE(store_.commit(txn).ok());
    EXPECT_EQ(find_error<model::Vm>("web1"), ErrorCode::not_found);
    EXPECT_EQ(find_error<model::Vm>(numbered(7).to_string()), ErrorCode::not_found);
    EXPECT_TRUE(records().all<model::Vm>().empty());
    EXPECT_TRUE(store_.await(store_.store().list("/", "", 10))->entries.empty());
    EXPECT_TRUE(add(make<model::Vm>(7, "web1")).ok());
}

TEST_F(RecordsTest, a_volume_is_called_by_its_pool) {
    ASSERT_TRUE(add(make<model::Pool>(1, "fast")).ok());
    ASSERT_TRUE(add(make<model::Pool>(2, "slow")).ok());
    ASSERT_TRUE(add(make<model::Volume>(3, "db", volume_in(numbered(1)))).ok());
    ASSERT_TRUE(add(make<model::Volume>(4, "db", volume_in(numbered(2)))).ok());
    const auto again = add(make<model::Volume>(5, "db", volume_in(numbered(2))));
    EXPECT_EQ(again.error().message(), "volume \"slow/db\" exists already");
    for (const char* name : {"fast/db", "fast~db", "fast@db"}) {
        const auto found = records().find<model::Volume>(name);
        ASSERT_TRUE(found.ok()) << name;
        EXPECT_EQ((*found)->id, numbered(3));
    }
    EXPECT_EQ((*records().find<model::Volume>(numbered(2).to_string() + "/db"))->id, numbered(4));
    EXPECT_EQ(find_error<model::Volume>("db"), ErrorCode::not_found);
    EXPECT_EQ(find_error<model::Volume>("none/db"), ErrorCode::not_found);
    EXPECT_EQ(records().full_name(*records().get<model::Volume>(numbered(4))), "slow/db");
}

TEST_F(RecordsTest, a_snapshot_is_called_by_its_vm_or_volume) {
    ASSERT_TRUE(add(make<model::Pool>(1, "fast")).ok());
    ASSERT_TRUE(add(make<model::Volume>(2, "db", volume_in(numbered(1)))).ok());
    ASSERT_TRUE(add(make<model::Vm>(3, "web")).ok());
    model::SnapshotSpec of_volume;
    of_volume.parts = {{numbered(2), numbered(20)}};
    model::SnapshotSpec of_vm = of_volume;
    of_vm.vm = numbered(3);
    ASSERT_TRUE(add(make<model::Snapshot>(4, "monday", of_volume)).ok());
    ASSERT_TRUE(add(make<model::Snapshot>(5, "monday", of_vm)).ok());
    const auto twice = add(make<model::Snapshot>(6, "monday", of_vm));
    EXPECT_EQ(twice.error().message(), "snapshot \"web/monday\" exists already");
    EXPECT_EQ((*records().find<model::Snapshot>("fast/db/monday"))->id, numbered(4));
    EXPECT_EQ((*records().find<model::Snapshot>("fast~db~monday"))->id, numbered(4));
    EXPECT_EQ((*records().find<model::Snapshot>("web@monday"))->id, numbered(5));
    EXPECT_EQ(records().full_name(*records().get<model::Snapshot>(numbered(4))), "fast/db/monday");
    EXPECT_EQ(records().full_name(*records().get<model::Snapshot>(numbered(5))), "web/monday");
}

TEST_F(RecordsTest, a_damaged_record_is_named_and_all_else_works) {
    ASSERT_TRUE(add(make<model::Vm>(7, "web1")).ok());
    ASSERT_TRUE(add(make<model::Vm>(8, "web2")).ok());
    const std::string key = model::status_key("vm", numbered(7));
    ASSERT_TRUE(put(key, R"({"state":"flying"})").ok());
    ASSERT_TRUE(put("/vm/spec/nonsense", "{}").ok());
    for (int round = 0; round < 2; ++round) {
        EXPECT_EQ(find_error<model::Vm>("web1"), ErrorCode::corrupt);
        const auto message = records().find<model::Vm>("web1").error().message();
        EXPECT_NE(message.find(key), std::string::npos) << message;
        EXPECT_TRUE(records().find<model::Vm>("web2").ok());
        EXPECT_EQ(records().all<model::Vm>().size(), 1);
        ASSERT_EQ(records().damaged().size(), 2);
        EXPECT_EQ(records().damaged()[0].key, "/vm/spec/nonsense");
        EXPECT_EQ(records().damaged()[1].key, key);
        EXPECT_EQ(add(make<model::Vm>(9, "web1")).error().code(), ErrorCode::already_exists);
        store_.open_again();
    }
    const auto kept = store_.await(store_.store().get(key));
    EXPECT_EQ((*kept)->value, R"({"state":"flying"})");
    // It is back when its status is written anew.
    state::Txn txn;
    put_status<model::Vm>(txn, numbered(7), vm_status(model::VmState::off));
    ASSERT_TRUE(store_.commit(txn).ok());
    EXPECT_TRUE(records().find<model::Vm>("web1").ok());
    EXPECT_EQ(records().damaged().size(), 1);
}

TEST_F(RecordsTest, a_damaged_spec_keeps_its_status_for_when_it_is_mended) {
    auto vm = make<model::Vm>(7, "web1");
    vm.status.state = model::VmState::running;
    ASSERT_TRUE(add(vm).ok());
    const std::string key = model::spec_key("vm", numbered(7));
    const std::string good = (*store_.await(store_.store().get(key)))->value;
    ASSERT_TRUE(put(key, good.substr(1)).ok());
    EXPECT_EQ(find_error<model::Vm>("web1"), ErrorCode::corrupt);
    ASSERT_TRUE(put(key, good).ok());
    ASSERT_TRUE(records().find<model::Vm>("web1").ok());
    EXPECT_EQ((*records().find<model::Vm>("web1"))->status.state, model::VmState::running);
    EXPECT_TRUE(records().damaged().empty());
}

TEST_F(RecordsTest, a_status_without_a_record_is_removed_at_the_next_start) {
    const std::string orphan = model::status_key("vm", numbered(7));
    ASSERT_TRUE(put(orphan, R"({"state":"off"})").ok());
    ASSERT_TRUE(add(make<model::Vm>(8, "web2")).ok());
    EXPECT_EQ(find_error<model::Vm>(numbered(7).to_string()), ErrorCode::not_found);
    store_.open_again();
    EXPECT_FALSE(store_.await(store_.store().get(orphan))->has_value());
    EXPECT_TRUE(records().find<model::Vm>("web2").ok());
}

TEST_F(RecordsTest, many_pages_are_read) {
    for (uint64_t i = 0; i < 900; i += 30) {
        state::Txn txn;
        for (uint64_t n = i; n < i + 30; ++n) {
            create(txn, make<model::Network>(100 + n, "net" + std::to_string(n)));
        }
        ASSERT_TRUE(store_.commit(txn).ok());
    }
    store_.open_again();
    EXPECT_EQ(records().all<model::Network>().size(), 900);
    EXPECT_TRUE(records().find<model::Network>("net899").ok());
}

TEST_F(RecordsTest, changes_are_told_once_in_their_order) {
    const state::Revision start = records().revision();
    ASSERT_TRUE(add(make<model::Vm>(7, "web1")).ok());
    const state::Revision made = records().revision();
    state::Txn txn;
    put_status<model::Vm>(txn, numbered(7), vm_status(model::VmState::paused));
    ASSERT_TRUE(store_.commit(txn).ok());
    txn = {};
    erase(txn, **records().find<model::Vm>("web1"));
    ASSERT_TRUE(store_.commit(txn).ok());
    ASSERT_TRUE(put("/other/thing", "1").ok());
    const auto all = records().changes_since(start);
    ASSERT_TRUE(all.ok());
    ASSERT_EQ(all->size(), 3);
    EXPECT_EQ((*all)[0].what, ChangeOf::spec);
    EXPECT_EQ((*all)[0].revision, made);
    EXPECT_EQ((*all)[1].what, ChangeOf::status);
    EXPECT_EQ((*all)[2].what, ChangeOf::erased);
    EXPECT_EQ((*all)[2].id, numbered(7));
    EXPECT_EQ(records().changes_since(made)->size(), 2);
    EXPECT_TRUE(records().changes_since(records().revision())->empty());
    const state::Revision future{records().revision().number + 1};
    EXPECT_EQ(records().changes_since(future).error().code(), ErrorCode::gone);
    store_.open_again();
    EXPECT_EQ(records().changes_since(start).error().code(), ErrorCode::gone);
}

AsyncVoid create_one(state::Store& store, uint64_t number, size_t& done) {
    state::Txn txn;
    create(txn, make<model::Vm>(number, "vm" + std::to_string(number)));
    const auto result = co_await store.txn(std::move(txn));
    EXPECT_TRUE(result.ok());
    ++done;
}

TEST(RecordsRelist, all_is_read_again_when_the_store_forgot_changes) {
    TestStore store;
    store.close();
    store.changes_kept = 5;
    store.open();
    const state::Revision before = store.records().revision();
    // Transactions that are committed together are more than the watch keeps.
    size_t done = 0;
    for (uint64_t i = 0; i < 40; ++i) {
        asio::co_spawn(store.loop(), create_one(store.store(), 100 + i, done), asio::detached);
    }
    state::Txn last;
    create(last, make<model::Vm>(7, "last"));
    ASSERT_TRUE(store.commit(last).ok());
    EXPECT_TRUE(store.records().find<model::Vm>("last").ok());
    EXPECT_EQ(done, 40);
    EXPECT_EQ(store.records().all<model::Vm>().size(), 41);
    EXPECT_EQ(store.records().changes_since(before).error().code(), ErrorCode::gone);
}

TEST(RecordsKeys, a_revision_of_another_epoch_is_another_text) {
    const std::string one = revision_text(numbered(1), {5});
    EXPECT_NE(one, revision_text(numbered(2), {5}));
    EXPECT_EQ(parse_revision(one).number, 5);
    EXPECT_EQ(parse_revision("").number, -1);
    EXPECT_EQ(parse_revision("abc.").number, -1);
    EXPECT_EQ(parse_revision("abc.5x").number, -1);
}

}  // namespace
}  // namespace stoa::records
