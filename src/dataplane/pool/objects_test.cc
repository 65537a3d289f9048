// Objects in memory: names, slots, parents and what belongs to whom.
#include "dataplane/pool/objects.h"

#include <gtest/gtest.h>

namespace stoa::pool {
namespace {

class ObjectsTest : public ::testing::Test {
protected:
    ObjectRecord record(ObjectKind kind, ObjectId id, const std::string& name) {
        ObjectRecord made;
        made.kind = kind;
        made.id = id;
        made.uuid = Uuid::from_random(id, id);
        made.name = name;
        return made;
    }
    Object& add_volume(ObjectId id, const std::string& name, ObjectId parent = 0) {
        ObjectRecord made = record(ObjectKind::volume, id, name);
        made.parent = parent;
        return objects_.add(std::move(made));
    }
    Object& add_snapshot(ObjectId id, const std::string& name, ObjectId volume) {
        ObjectRecord made = record(ObjectKind::snapshot, id, name);
        made.volume = volume;
        return objects_.add(std::move(made));
    }
    static ObjectRecord damage_of(ObjectId id, ObjectId tree) {
        ObjectRecord made;
        made.kind = ObjectKind::damage;
        made.id = id;
        made.volume = tree;
        made.damage_blocks = 1;
        return made;
    }

    using Ids = std::vector<ObjectId>;

    Objects objects_;
};

TEST_F(ObjectsTest, are_found_by_id_uuid_and_name) {
    Object& volume = add_volume(1, "db");
    Object& monday = add_snapshot(2, "monday", 1);
    EXPECT_EQ(objects_.find(1), &volume);
    EXPECT_EQ(objects_.find(volume.record.uuid), &volume);
    EXPECT_EQ(objects_.find_volume("db"), &volume);
    EXPECT_EQ(objects_.find_snapshot(1, "monday"), &monday);
    EXPECT_EQ(objects_.find(3), nullptr);
    EXPECT_EQ(objects_.find_volume("monday"), nullptr);
    EXPECT_EQ(objects_.find_snapshot(2, "monday"), nullptr);
    EXPECT_EQ(objects_.ids(), (Ids{1, 2}));
    EXPECT_EQ(objects_.snapshots_of(1), std::set<ObjectId>{2});
    EXPECT_EQ(objects_.volume_count(), 1U);
    EXPECT_EQ(objects_.snapshot_count(), 1U);
}

TEST_F(ObjectsTest, a_rename_moves_the_name_and_keeps_the_root_in_memory) {
    Object& volume = add_volume(1, "db");
    volume.record.root = Entry::hole(7);  // as a handle would be: not what the journal says
    ObjectRecord renamed = volume.record;
    renamed.name = "sales";
    renamed.root = Entry{};
    objects_.update(volume, renamed);
    EXPECT_EQ(objects_.find_volume("db"), nullptr);
    EXPECT_EQ(objects_.find_volume("sales"), &volume);
    EXPECT_EQ(volume.record.root, Entry::hole(7));
}

TEST_F(ObjectsTest, the_name_of_what_is_deleted_may_be_used_again) {
    Object& old = add_volume(1, "db");
    ObjectRecord deleted = old.record;
    deleted.set(ObjectRecord::kDeleted, true);
    objects_.update(old, deleted);
    EXPECT_EQ(objects_.deleted(), std::set<ObjectId>{1});
    EXPECT_EQ(objects_.find_volume("db"), nullptr);
    Object& fresh = add_volume(2, "db");
    objects_.remove(1);
    EXPECT_EQ(objects_.find_volume("db"), &fresh);
    EXPECT_TRUE(objects_.deleted().empty());
}

TEST_F(ObjectsTest, a_deleted_snapshot_has_no_name_but_still_belongs_to_its_volume) {
    add_volume(1, "db");
    Object& monday = add_snapshot(2, "monday", 1);
    ObjectRecord deleted = monday.record;
    deleted.set(ObjectRecord::kDeleted, true);
    objects_.update(monday, deleted);
    EXPECT_EQ(objects_.find_snapshot(1, "monday"), nullptr);
    EXPECT_EQ(objects_.snapshots_of(1).size(), 1U);
    objects_.remove(2);
    EXPECT_TRUE(objects_.snapshots_of(1).empty());
    EXPECT_EQ(objects_.snapshot_count(), 0U);
}

TEST_F(ObjectsTest, the_lowest_free_slot_is_used_again) {
    for (ObjectId id = 1; id <= 3; ++id) add_volume(id, "v" + std::to_string(id));
    objects_.remove(3);
    objects_.remove(1);
    EXPECT_EQ(objects_.in_slot(0), nullptr);
    EXPECT_EQ(add_volume(4, "v4").slot, 0U);
    EXPECT_EQ(add_volume(5, "v5").slot, 2U);
    EXPECT_EQ(add_volume(6, "v6").slot, 3U);
    EXPECT_EQ(objects_.slot_count(), 4U);
}

TEST_F(ObjectsTest, a_checkpoint_is_told_each_slot_that_changed_once) {
    Object& volume = add_volume(1, "db");
    add_volume(2, "old");
    EXPECT_EQ(objects_.take_dirty_slots(), (std::set<uint32_t>{0, 1}));
    EXPECT_TRUE(objects_.take_dirty_slots().empty());
    objects_.mark_dirty(volume);
    objects_.mark_dirty(volume);
    objects_.remove(2);  // its slot becomes free on disk, too
    EXPECT_EQ(objects_.take_dirty_slots(), (std::set<uint32_t>{0, 1}));
    objects_.update(volume, volume.record);
    EXPECT_EQ(objects_.take_dirty_slots(), std::set<uint32_t>{0});
}

TEST_F(ObjectsTest, what_was_read_from_its_slot_is_not_dirty) {
    objects_.add_at(record(ObjectKind::volume, 1, "db"), 5);
    EXPECT_EQ(objects_.slot_count(), 6U);
    EXPECT_TRUE(objects_.take_dirty_slots().empty());
    EXPECT_EQ(add_volume(2, "next").slot, 0U);
}

TEST_F(ObjectsTest, children_follow_their_parent) {
    Object& monday = add_volume(1, "monday");
    Object& tuesday = add_volume(2, "tuesday");
    Object& child = add_volume(3, "db", 1);
    EXPECT_EQ(monday.children, Ids{3});
    objects_.set_parent(child, 2);
    EXPECT_TRUE(monday.children.empty());
    EXPECT_EQ(tuesday.children, Ids{3});
    objects_.remove(3);
    EXPECT_TRUE(tuesday.children.empty());
}

TEST_F(ObjectsTest, links_are_complete_whatever_the_order_of_the_slots) {
    objects_.add_at(damage_of(3, 1), 0);
    ObjectRecord child = record(ObjectKind::volume, 2, "db");
    child.parent = 1;
    objects_.add_at(child, 1);
    objects_.add_at(record(ObjectKind::snapshot, 1, "monday"), 2);
    objects_.link_children();
    EXPECT_EQ(objects_.find(1)->children, Ids{2});
    EXPECT_EQ(objects_.find(1)->damage_count, 1U);
}

TEST_F(ObjectsTest, damage_is_counted_with_its_tree_and_has_no_uuid) {
    Object& volume = add_volume(1, "db");
    objects_.add(damage_of(2, 1));
    objects_.add(damage_of(3, 1));
    EXPECT_EQ(volume.damage_count, 2U);
    EXPECT_EQ(objects_.find(Uuid{}), nullptr);
    objects_.remove(2);
    EXPECT_EQ(volume.damage_count, 1U);
}

}  // namespace
}  // namespace stoa::pool
