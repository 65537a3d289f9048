// The map of a volume in memory: looking up, copying on write, splitting and joining holes.
#include "dataplane/pool/tree.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "dataplane/pool/test_parts.h"

namespace stoa::pool {
namespace {

constexpr ObjectId kVolume = 1;
constexpr ObjectId kSnapshot = 2;
constexpr BlockIndex kBlock = 70'000;  // its own entry at levels 0, 1 and 2

Entry data(BlockAddress address, Epoch birth) {
    return Entry::make(EntryKind::data, address, birth, 0x1234);
}

class TreeTest : public ::testing::Test {
protected:
    TreeTest() {
        EXPECT_TRUE(regions_.load_table({}, parts_.slots).ok());
        ObjectRecord record;
        record.kind = ObjectKind::volume;
        record.id = kVolume;
        record.uuid = Uuid::from_random(1, 1);
        volume_ = &objects_.add(record);
    }
    // The leaf as a writer gets it; everything it needs is in memory.
    Node& leaf(BlockIndex block, Epoch birth) {
        Missing missing;
        Node* found = writer_.writable_leaf(*volume_, block, birth, missing);
        CHECK(found != nullptr);
        return *found;
    }
    void set(BlockIndex block, const Entry& entry, Epoch birth) {
        leaf(block, birth).entries[entry_index(block, 0)] = entry;
    }
    Entry look_up(const Entry& root, BlockIndex block) {
        const Found found = find_leaf(cache_, root, block);
        EXPECT_FALSE(found.missing.any());
        return found.entry(block);
    }
    Entry look_up(BlockIndex block) { return look_up(volume_->record.root, block); }
    // A snapshot of the volume as it is now: births up to `epoch` are shared.
    Entry take_snapshot(Epoch epoch) {
        ObjectRecord record;
        record.kind = ObjectKind::snapshot;
        record.id = kSnapshot;
        record.uuid = Uuid::from_random(2, 2);
        record.volume = kVolume;
        record.epoch = epoch;
        record.root = volume_->record.root;
        cache_.ref(record.root);
        objects_.add(record);
        objects_.set_parent(*volume_, kSnapshot);
        return record.root;
    }
    BlockAddress allocate(RegionClass wanted) {
        const Result<BlockAddress> taken = parts_.simulator.run(regions_.allocate_node(wanted));
        CHECK(taken.ok());
        regions_.commit_allocated({*taken, 1});
        return *taken;
    }
    // As a flush of nodes does, but for the content.
    BlockAddress write(Node& node) {
        const BlockAddress address =
            allocate(node.level == 0 ? RegionClass::leaf : RegionClass::meta);
        cache_.mark_written(node, address, 1);
        return address;
    }
    Node& node_at(int level, BlockIndex block) {
        Entry entry = volume_->record.root;
        for (int at = kRootLevel; at > level; --at) {
            entry = cache_.resident(entry)->entries[entry_index(block, at)];
        }
        return *cache_.resident(entry);
    }

    TestDevices parts_;
    Regions regions_{
        parts_.simulator, parts_.devices, parts_.checksums, TestDevices::kRegionBlocks, 64, 0};
    BlockIo blocks_{parts_.devices, regions_, parts_.checksums};
    const Epoch newest_ = 1;
    NodeCache cache_{parts_.simulator, blocks_, regions_, newest_, 64};
    Objects objects_;
    const ObjectId reclaiming_ = 0;
    Lineage lineage_{objects_, reclaiming_};
    TreeWriter writer_{cache_, regions_, lineage_};
    Object* volume_ = nullptr;
};

TEST_F(TreeTest, an_empty_tree_has_nothing_anywhere) {
    const Found found = find_leaf(cache_, Entry{}, kBlock);
    EXPECT_EQ(found.entry(kBlock).kind(), EntryKind::absent);
    EXPECT_EQ(found.end(kBlock), kBlocksPerTree);
}

TEST_F(TreeTest, finds_what_a_writer_set_and_nothing_beside) {
    set(kBlock, data(77, 5), 5);
    EXPECT_EQ(look_up(kBlock), data(77, 5));
    EXPECT_EQ(look_up(kBlock + 1), Entry{});
    EXPECT_EQ(look_up(0), Entry{});
    EXPECT_EQ(look_up(kBlocksPerTree - 1), Entry{});
    EXPECT_EQ(cache_.count(), size_t{kRootLevel} + 1);
}

TEST_F(TreeTest, what_was_found_ends_where_its_leaf_or_its_subtree_ends) {
    set(kBlock, data(77, 5), 5);
    const Found found = find_leaf(cache_, volume_->record.root, kBlock);
    EXPECT_EQ(found.end(kBlock), (kBlock / 256 + 1) * 256);
    // The first 65,536 blocks are one entry of the node of level 2.
    EXPECT_EQ(find_leaf(cache_, volume_->record.root, 5).end(5), 65'536U);
}

TEST_F(TreeTest, a_split_hole_keeps_its_birth) {
    volume_->record.root = Entry::hole(3);
    set(kBlock, data(77, 5), 5);
    for (const BlockIndex other : {kBlock - 1, kBlock + 256, kBlock + 65'536, BlockIndex{0}}) {
        EXPECT_EQ(look_up(other), Entry::hole(3)) << other;
    }
}

TEST_F(TreeTest, a_second_write_of_the_same_epoch_changes_in_place) {
    Node& first = leaf(kBlock, 5);
    const size_t nodes = cache_.count();
    EXPECT_EQ(&leaf(kBlock + 1, 5), &first);
    EXPECT_EQ(cache_.count(), nodes);
}

TEST_F(TreeTest, a_frozen_node_is_copied_before_it_changes) {
    set(kBlock, data(77, 5), 5);
    const Entry frozen = volume_->record.root;
    cache_.ref(frozen);  // as a checkpoint does
    writer_.set_frozen_epoch(5);
    set(kBlock, data(88, 6), 6);
    EXPECT_EQ(look_up(kBlock), data(88, 6));
    EXPECT_EQ(look_up(frozen, kBlock), data(77, 5));
    EXPECT_EQ(volume_->record.root.birth(), 6U);
}

TEST_F(TreeTest, writing_a_volume_leaves_its_snapshot_alone) {
    set(kBlock, data(77, 5), 5);
    set(0, data(78, 5), 5);
    const Entry snapshot = take_snapshot(5);
    set(kBlock, data(88, 6), 6);
    EXPECT_EQ(look_up(snapshot, kBlock), data(77, 5));
    EXPECT_EQ(look_up(kBlock), data(88, 6));
    EXPECT_EQ(look_up(0), data(78, 5));  // shared
}

TEST_F(TreeTest, the_leaf_beside_a_changed_one_is_shared_by_both_copies) {
    set(kBlock, data(77, 5), 5);
    set(kBlock + 256, data(78, 5), 5);
    const Node& beside = node_at(0, kBlock + 256);
    EXPECT_EQ(beside.refs, 1U);
    take_snapshot(5);
    set(kBlock, data(88, 6), 6);
    EXPECT_EQ(&node_at(0, kBlock + 256), &beside);
    EXPECT_EQ(beside.refs, 2U);
}

TEST_F(TreeTest, a_written_node_that_nobody_shares_goes_into_quarantine_when_copied) {
    set(kBlock, data(77, 5), 5);
    write(node_at(0, kBlock));
    writer_.set_frozen_epoch(5);
    ASSERT_EQ(regions_.quarantine(), 0U);
    set(kBlock, data(88, 6), 6);
    EXPECT_EQ(regions_.quarantine(), 1U);
}

TEST_F(TreeTest, a_written_node_of_a_snapshot_stays_when_the_volume_copies_it) {
    set(kBlock, data(77, 5), 5);
    write(node_at(0, kBlock));
    take_snapshot(5);
    set(kBlock, data(88, 6), 6);
    EXPECT_EQ(regions_.quarantine(), 0U);
}

TEST_F(TreeTest, a_node_that_is_not_in_memory_is_named_and_nothing_changes) {
    const Entry away = Entry::make(EntryKind::node, 1234, 4, 99);
    volume_->record.root = away;
    EXPECT_TRUE(find_leaf(cache_, away, kBlock).missing.any());
    Missing missing;
    EXPECT_EQ(writer_.writable_leaf(*volume_, kBlock, 5, missing), nullptr);
    EXPECT_EQ(missing.entry, away);
    EXPECT_EQ(missing.level, kRootLevel);
    EXPECT_EQ(volume_->record.root, away);
    EXPECT_EQ(cache_.count(), 0U);
}

TEST_F(TreeTest, a_leaf_that_is_not_in_memory_leaves_the_path_as_it_is) {
    set(kBlock, data(77, 5), 5);
    const Entry away = Entry::make(EntryKind::node, 1234, 4, 99);
    Node& parent = node_at(1, kBlock);
    parent.entries[entry_index(kBlock + 256, 1)] = away;
    writer_.set_frozen_epoch(5);
    const Entry root = volume_->record.root;
    Missing missing;
    EXPECT_EQ(writer_.writable_leaf(*volume_, kBlock + 256, 6, missing), nullptr);
    EXPECT_EQ(missing.entry, away);
    EXPECT_EQ(missing.level, 0);
    EXPECT_EQ(volume_->record.root, root);
    EXPECT_EQ(parent.pins, 0U);
}

TEST_F(TreeTest, a_leaf_of_one_hole_becomes_an_entry_of_its_parent) {
    set(kBlock + 256, data(77, 5), 5);
    std::fill_n(leaf(kBlock, 5).entries, kFanout, Entry::hole(5));
    writer_.collapse(*volume_, kBlock);
    const Found found = find_leaf(cache_, volume_->record.root, kBlock);
    EXPECT_EQ(found.leaf, nullptr);
    EXPECT_EQ(found.entry(kBlock), Entry::hole(5));
    EXPECT_EQ(found.level, 1);
    EXPECT_EQ(look_up(kBlock + 256), data(77, 5));
}

TEST_F(TreeTest, a_tree_of_one_hole_collapses_to_its_root) {
    volume_->record.root = Entry::hole(5);
    leaf(kBlock, 5);
    writer_.collapse(*volume_, kBlock);
    EXPECT_EQ(volume_->record.root, Entry::hole(5));
    EXPECT_EQ(cache_.count(), 0U);
}

TEST_F(TreeTest, holes_of_different_births_do_not_collapse) {
    volume_->record.root = Entry::hole(3);
    set(kBlock, Entry::hole(5), 5);
    writer_.collapse(*volume_, kBlock);
    EXPECT_EQ(look_up(kBlock), Entry::hole(5));
    EXPECT_EQ(look_up(kBlock + 1), Entry::hole(3));
}

TEST_F(TreeTest, a_frozen_leaf_does_not_collapse) {
    leaf(kBlock, 5);
    writer_.set_frozen_epoch(5);
    writer_.collapse(*volume_, kBlock);
    EXPECT_NE(find_leaf(cache_, volume_->record.root, kBlock).leaf, nullptr);
}

TEST_F(TreeTest, a_collapsed_leaf_that_was_written_goes_into_quarantine) {
    write(leaf(kBlock, 5));
    writer_.set_frozen_epoch(5);
    Node& copy = leaf(kBlock, 6);
    ASSERT_EQ(regions_.quarantine(), 1U);
    write(copy);  // clean again: not to be changed any more
    writer_.collapse(*volume_, kBlock);
    EXPECT_EQ(regions_.quarantine(), 1U);
    writer_.set_frozen_epoch(6);
    leaf(kBlock, 7);
    writer_.collapse(*volume_, kBlock);
    EXPECT_EQ(regions_.quarantine(), 2U);
    EXPECT_EQ(volume_->record.root, Entry{});
}

TEST_F(TreeTest, a_lost_leaf_becomes_damage_and_its_block_is_freed) {
    set(kBlock, data(77, 5), 5);
    const BlockAddress address = allocate(RegionClass::leaf);
    const BlockIndex lost = kBlock + 256;
    node_at(1, kBlock).entries[entry_index(lost, 1)] = Entry::make(EntryKind::node, address, 5, 99);
    ASSERT_TRUE(writer_.replace_lost_leaf(*volume_, lost, 6));
    EXPECT_EQ(look_up(lost).kind(), EntryKind::damaged);
    EXPECT_EQ(look_up(lost / 256 * 256 + 255).kind(), EntryKind::damaged);
    EXPECT_EQ(look_up(lost).birth(), 6U);
    EXPECT_EQ(look_up(kBlock), data(77, 5));
    EXPECT_EQ(regions_.quarantine(), 1U);
}

TEST_F(TreeTest, a_lost_leaf_of_a_snapshot_is_replaced_in_the_volume_alone) {
    set(kBlock, data(77, 5), 5);
    const BlockIndex lost = kBlock + 256;
    const Entry away = Entry::make(EntryKind::node, allocate(RegionClass::leaf), 5, 99);
    node_at(1, kBlock).entries[entry_index(lost, 1)] = away;
    const Entry snapshot = take_snapshot(5);
    ASSERT_TRUE(writer_.replace_lost_leaf(*volume_, lost, 6));
    EXPECT_EQ(look_up(lost).kind(), EntryKind::damaged);
    EXPECT_EQ(find_leaf(cache_, snapshot, lost).missing.entry, away);
    EXPECT_EQ(regions_.quarantine(), 0U);
}

TEST_F(TreeTest, a_leaf_below_a_lost_node_is_not_replaced) {
    volume_->record.root = Entry::make(EntryKind::node, 1234, 4, 99);
    EXPECT_FALSE(writer_.replace_lost_leaf(*volume_, kBlock, 6));
}

TEST_F(TreeTest, left_of_its_cursor_a_tree_under_reclaim_is_passed_over) {
    const auto add = [this](ObjectId id, Epoch epoch, ObjectId parent) -> Object& {
        ObjectRecord record;
        record.kind = ObjectKind::snapshot;
        record.id = id;
        record.uuid = Uuid::from_random(id, id);
        record.epoch = epoch;
        record.parent = parent;
        return objects_.add(record);
    };
    add(10, 4, 0);
    add(11, 8, 10).record.cursor = 512;
    objects_.set_parent(*volume_, 11);
    EXPECT_EQ(lineage_.inherited_epoch(*volume_, 512), 8U);
    const ObjectId reclaimed = 11;
    const Lineage during(objects_, reclaimed);
    EXPECT_EQ(during.inherited_epoch(*volume_, 512), 4U);
    EXPECT_EQ(during.inherited_epoch(*volume_, 768), 8U);
}

}  // namespace
}  // namespace stoa::pool
