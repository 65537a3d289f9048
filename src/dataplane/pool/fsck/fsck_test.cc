// What fsck says about a valid pool, and about each structure damaged in turn.
#include "dataplane/pool/fsck/fsck.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "dataplane/pool/fsck/test_fixture.h"

namespace stoa::fsck::test {
namespace {

// Builds a family with `change` applied to one block and expects a problem that says `part`.
void expect_tampered(What what, uint64_t index, const std::function<void(Block&)>& change,
                     std::string_view part) {
    TestPool pool;
    pool.tamper = [&](What at, uint64_t number, Block& block) {
        if (at == what && number == index) change(block);
    };
    const Family family = put_family(pool);
    pool.put_objects(family.objects, 9);
    pool.seal();
    expect_problem(pool.check(), part);
}

template <class T>
std::function<void(Block&)> set(size_t offset, T value) {
    return [=](Block& block) { store_le<T>(block.data() + offset, value); };
}

// Addresses in the order put_family allocates: region 0 holds levels 1, 2, 3 of both trees.
constexpr uint64_t kSnapshotLevel1 = 2;
constexpr uint64_t kSnapshotRoot = 4;
constexpr uint64_t kVolumeRoot = 7;
constexpr uint64_t kObjectBlock = 8;
constexpr uint64_t kSnapshotLeaf = 64 + 2;
constexpr uint64_t kVolumeLeaf = 64 + 3;

TEST(Fsck, empty_pool_is_clean) {
    TestPool pool;
    pool.seal();
    const Report report = pool.check();
    EXPECT_TRUE(report.clean()) << all(report);
    EXPECT_TRUE(report.is_pool);
    EXPECT_EQ(report.pool_name, "tank");
    EXPECT_EQ(report.generation, 4u);
    EXPECT_EQ(report.counts.regions, 4u);
}

TEST(Fsck, family_of_volumes_is_clean) {
    Fixture fixture;
    const Report report = fixture.check({.verify_data = true});
    EXPECT_TRUE(report.clean()) << all(report);
    EXPECT_EQ(report.counts.volumes, 2u);
    EXPECT_EQ(report.counts.snapshots, 1u);
    EXPECT_EQ(report.counts.damage_ranges, 1u);
    EXPECT_EQ(report.counts.data_blocks, 4u);
    EXPECT_EQ(report.counts.nodes, 12u);
    EXPECT_FALSE(report.journal_pending);
}

TEST(Fsck, pool_of_two_devices_is_clean_in_any_order) {
    Fixture fixture(2);
    EXPECT_TRUE(fixture.check().clean());
    std::swap(fixture.pool.devices[0].bytes, fixture.pool.devices[1].bytes);
    EXPECT_TRUE(fixture.pool.check().clean());
}

TEST(Fsck, zeros_are_not_a_pool) {
    MemorySource device("disk", 64);
    Source* sources[] = {&device};
    const Report report = check(sources, {});
    EXPECT_FALSE(report.is_pool);
    expect_problem(report, "device disk: not of a pool");
    EXPECT_FALSE(check({}, {}).is_pool);
}

// ---- both copies of everything

TEST(Fsck, one_bad_copy_is_repairable_and_two_are_a_problem) {
    struct Case {
        std::vector<uint64_t> first, second;
        std::string_view repairable, problem;
    };
    const auto at = [](uint64_t address, uint64_t place = 0) {
        return TestPool::position(address, place);
    };
    const Case cases[] = {
        {{45}, {0}, "label copy 1", "not of a pool"},
        {{0}, {45}, "label copy 0", "not of a pool"},
        {{1}, {43}, "superblock slot 0 copy 0", "no superblock"},
        {{39}, {3}, "index block 0: copy 1", "its root does not verify"},
        {{5}, {41}, "table block 0: copy 0", "its root does not verify"},
        {{at(0)}, {at(62), at(0, 1), at(62, 1)}, "region 0: the bitmap", "region 0: no copy"},
        {{at(128)}, {at(190)}, "region 2: the bitmap copy", "region 2: no copy"},
        {{at(kVolumeRoot)}, {at(kVolumeRoot, 1)}, "map node at address 7", "the node at address 7"},
        {{at(kObjectBlock, 1)}, {at(kObjectBlock)}, "object block", "the object block at address"},
    };
    for (const Case& one : cases) {
        Fixture fixture;
        ASSERT_TRUE(fixture.check().clean());
        for (const uint64_t block : one.first) fixture.pool.damage(0, block);
        expect_repairable(fixture.pool.check(), one.repairable);
        for (const uint64_t block : one.second) fixture.pool.damage(0, block);
        expect_problem(fixture.pool.check(), one.problem);
    }
}

TEST(Fsck, unreadable_blocks_are_like_damaged_ones) {
    Fixture fixture;
    ASSERT_TRUE(fixture.check().clean());
    auto& unreadable = fixture.pool.devices[0].unreadable;
    for (const uint64_t first : {uint64_t{0}, TestPool::kTables[1], TestPool::position(kVolumeRoot),
                                 TestPool::position(kObjectBlock, 1)}) {
        unreadable = {first};
        const Report report = fixture.pool.check();
        EXPECT_EQ(report.problem_count, 0u) << all(report);
        EXPECT_EQ(report.repairable_count, 1u) << all(report);
    }
    unreadable = {TestPool::position(fixture.family.volume_data)};
    EXPECT_EQ(fixture.pool.check({.verify_data = true}).problem_count, 1u);
    for (uint64_t block = 0; block < TestPool::kDeviceBlocks; ++block) unreadable.insert(block);
    EXPECT_FALSE(fixture.pool.check().is_pool);
}

TEST(Fsck, lost_bitmap_hides_neither_trees_nor_journal) {
    Fixture fixture;
    ASSERT_TRUE(fixture.check().clean());
    fixture.pool.damage(0, TestPool::position(2 * 64));
    fixture.pool.damage(0, TestPool::position(2 * 64 + 62));
    const Report report = fixture.pool.check({.verify_data = true});
    EXPECT_EQ(report.problem_count, 1u) << all(report);
    EXPECT_EQ(report.counts.data_blocks, 4u);
}

TEST(Fsck, damaged_leaf_is_a_problem) {
    Fixture fixture;
    ASSERT_TRUE(fixture.check().clean());
    fixture.pool.damage(0, TestPool::position(kVolumeLeaf));
    expect_problem(fixture.pool.check(), "volume \"web\" (id 2), block 0, level 0: the node");
}

TEST(Fsck, damaged_data_is_found_when_asked_for) {
    Fixture fixture;
    ASSERT_TRUE(fixture.check().clean());
    fixture.pool.damage(0, TestPool::position(fixture.family.volume_data));
    EXPECT_TRUE(fixture.pool.check().clean());
    expect_problem(fixture.pool.check({.verify_data = true}),
                   "volume \"web\" (id 2), block 0, level 0: the data");
}

// ---- labels, superblock, tables

TEST(Fsck, wrong_labels_and_devices_are_named) {
    expect_tampered(What::label, 0, set<uint32_t>(52, 96), "region_blocks is 96");
    expect_tampered(What::label, 0, set<uint64_t>(56, uint64_t{1} << 60), "journal_blocks is");
    expect_tampered(What::label, 0, set<uint32_t>(64, 2), "table_blocks is 2");
    expect_tampered(What::label, 0, set<uint64_t>(80, 32), "data_start is 32");
    expect_tampered(What::label, 0, set<uint64_t>(104, 1), "needs features 0x1");
    expect_tampered(What::label, 0, set<uint64_t>(32, 0xEE), "its uuid is");

    Fixture fixture(2);
    ASSERT_TRUE(fixture.check().clean());
    fixture.pool.devices.pop_back();
    expect_problem(fixture.pool.check(), "device 1 (");
    fixture.pool.devices.push_back(fixture.pool.devices[0]);
    expect_problem(fixture.pool.check(), "one is a copy of the other");

    TestPool foreign;
    foreign.uuid[0] = std::byte{1};
    foreign.seal();
    fixture.pool.devices[1] = foreign.devices[0];
    expect_problem(fixture.pool.check(), "belongs to pool");

    Fixture shrunk;
    ASSERT_TRUE(shrunk.check().clean());
    shrunk.pool.devices[0].bytes.resize((TestPool::kDeviceBlocks - 64) * 4096);
    expect_problem(shrunk.pool.check(),
                   "device disk0: is 262144 bytes shorter than its 8 regions need: it has 2097152 "
                   "bytes, 2359296 are needed; grow it back to that size");
}

TEST(Fsck, device_that_ends_before_its_regions_is_named_as_too_short) {
    Fixture fixture(2);
    ASSERT_TRUE(fixture.check().clean());
    fixture.pool.devices[1].bytes.resize(8192);
    const Report report = fixture.pool.check();
    EXPECT_TRUE(report.is_pool);
    EXPECT_EQ(report.generation, 4u);
    EXPECT_EQ(all(report),
              "problem: device disk1: is 253952 bytes shorter than its label says: it has 8192 "
              "bytes, the pool's own area takes 262144; grow it back to at least the size it had, "
              "or restore it from a backup\n");
    // Also if it is the only one, or the first: its label still says which pool this is.
    std::swap(fixture.pool.devices[0], fixture.pool.devices[1]);
    EXPECT_EQ(fixture.pool.check().problem_count, 1u);
    fixture.pool.devices.pop_back();
    const Report alone = fixture.pool.check();
    EXPECT_TRUE(alone.is_pool);
    EXPECT_EQ(alone.pool_name, "tank");
    expect_problem(alone, "device disk1: is 253952 bytes shorter");
}

TEST(Fsck, second_label_counts_on_a_device_that_is_too_short) {
    Fixture fixture;
    ASSERT_TRUE(fixture.check().clean());
    fixture.pool.damage(0, TestPool::kLabels[0]);
    fixture.pool.devices[0].bytes.resize((TestPool::kLabels[1] + 1) * 4096);
    const Report report = fixture.pool.check();
    EXPECT_TRUE(report.is_pool);
    expect_problem(report, "device disk0: is 73728 bytes shorter than its label says");
}

// The pool as it was, on device 1, beside one that has gone on to `generation` of `incarnation`.
Report check_with_older_twin(uint64_t generation, uint64_t incarnation) {
    Fixture fixture(2);
    EXPECT_TRUE(fixture.check().clean());
    const std::vector<std::byte> before = fixture.pool.devices[1].bytes;
    fixture.pool.tamper = [&](What what, uint64_t, Block& block) {
        if (what != What::superblock) return;
        store_le(block.data() + 32, generation);
        store_le(block.data() + 40, incarnation);
    };
    fixture.pool.seal();
    EXPECT_TRUE(fixture.pool.check().clean());
    fixture.pool.devices[1].bytes = before;
    return fixture.pool.check();
}

TEST(Fsck, older_copy_of_a_device_is_a_problem) {
    const Report report = check_with_older_twin(20, 4);
    EXPECT_EQ(report.generation, 20u);
    expect_problem(report,
                   "device disk1: is an older copy of device 1 of the pool: it has generation 4, "
                   "the pool 20; give the device as it is now");
    EXPECT_EQ(report.repairable_count, 0u) << all(report);
}

TEST(Fsck, device_that_lacks_what_crashes_take_is_repairable) {
    expect_repairable(check_with_older_twin(6, 3), "superblock slot 0 copy 0 is not generation 6");
    expect_problem(check_with_older_twin(6, 2), "is an older copy");
}

TEST(Fsck, wrong_superblocks_are_found) {
    expect_tampered(What::superblock, 0, set<uint64_t>(32, 5), "slot 0 copy 0 holds generation 5");
    expect_tampered(What::superblock, 0, set<uint64_t>(48, 7), "the tree allows 6");
    expect_tampered(What::superblock, 0, set<uint64_t>(80, 2), "flags are 0x2");
    expect_tampered(What::superblock, 0, set<uint64_t>(128, 3), "next object id is 3");
    expect_tampered(What::superblock, 0, set<uint16_t>(136, 4), "placement names device 4");
    expect_tampered(What::superblock, 0, set<uint16_t>(138, 4), "placement names device 4");
    expect_tampered(What::superblock, 0, set<uint16_t>(140, 2), "device_count is 2");
    expect_tampered(What::superblock, 0, set<uint32_t>(144, 3), "region 3: in use, but");
    expect_tampered(What::superblock, 0, set<uint32_t>(148, 3), "object_slots is 3");
    expect_tampered(What::superblock, 0, set<uint64_t>(256, 38), "no cut covers journal block 37");
    expect_tampered(What::superblock, 0, set<uint64_t>(264, 3), "a cut is of incarnation 3");
    expect_tampered(What::superblock, 0, set<uint64_t>(176, 1), "bad_blocks is 1");
    expect_tampered(What::superblock, 0, set<uint32_t>(1024 + 16, 4), "which has 4");
}

TEST(Fsck, wrong_region_tables_are_found) {
    expect_tampered(What::table, 0, set<uint8_t>(64 * 2, 7), "region 2: state is 7");
    expect_tampered(What::table, 0, set<uint8_t>(64 * 2 + 1, 4), "region 2: class is 4");
    expect_tampered(What::table, 0, set<uint8_t>(64 * 2 + 1, 2), "is of class 2, not 1");
    expect_tampered(What::table, 0, set<uint8_t>(64 * 2 + 2, 3), "region 2: class 1 with 3 places");
    expect_tampered(What::table, 0, set<uint8_t>(64 * 2 + 3, 2), "region 2: bitmap slot is 2");
    expect_tampered(What::table, 0, set<uint32_t>(64 * 2 + 8, 1), "counts 1 free blocks");
    expect_tampered(What::table, 0, set<uint16_t>(64 * 2 + 16, 9), "lies on device 9");
    expect_tampered(What::table, 0, set<uint32_t>(64 * 2 + 20, 4), "belongs to another one too");
    expect_tampered(What::table, 0, set<uint32_t>(64 * 2 + 20, 8), "physical region 8 of device 0");
    expect_tampered(What::table, 0, set<uint8_t>(64 * 2, 0), "region 2 is not in use");
    expect_tampered(What::index, 0, set<uint8_t>(4, 2), "no superblock is usable");
}

TEST(Fsck, bitmaps_agree_with_what_is_reached) {
    expect_tampered(What::bitmap, 2, set<uint8_t>(0, 0x37), "reachable, but free in its bitmap");
    expect_tampered(What::bitmap, 2, set<uint8_t>(0, 0x3E), "calls bitmap block 0 free");
    expect_tampered(What::bitmap, 2, set<uint8_t>(8, 1), "has bits beyond block 63");

    Fixture leaking;
    for (uint64_t address = 160; address < 163; ++address) leaking.pool.set_bit(address);
    const Report report = leaking.check();
    expect_problem(report, "3 blocks are allocated, but nothing refers to them");
    EXPECT_EQ(report.counts.leaked_blocks, 3u);

    Fixture bad;
    bad.pool.set_bit(160);
    bad.pool.bad_blocks = 1;
    const Report with_bad = bad.check();
    EXPECT_TRUE(with_bad.clean()) << all(with_bad);
    Fixture of_another_class;
    of_another_class.pool.set_bit(160);
    of_another_class.pool.bad_blocks = 1;
    of_another_class.pool.bad_leaves = 1;
    expect_problem(of_another_class.check(), "of the bad blocks 1 are of class 2");
}

// ---- trees

TEST(Fsck, illegal_entries_are_found) {
    const auto entry = [](size_t index, RawEntry value) {
        return [=](Block& block) {
            store_le(block.data() + 16 * index, value.low);
            store_le(block.data() + 16 * index + 8, value.high);
        };
    };
    const uint64_t leaf = kVolumeLeaf;
    expect_tampered(What::node, leaf, entry(9, make_entry(0, 1, 0, 5)), "has kind 5");
    expect_tampered(What::node, leaf, entry(9, make_entry(0, 1, 0, 64 + 1)), "kind byte 0x41");
    expect_tampered(What::node, leaf, entry(9, make_entry(0, 1, 0, 16 + 1)), "kind byte 0x11");
    expect_tampered(What::node, leaf, entry(9, make_entry(3, 1, 0, 1)), "HOLE with an address");
    expect_tampered(What::node, leaf, entry(9, make_entry(0, 1, 8, 4)), "DAMAGED with an address");
    expect_tampered(What::node, leaf, entry(9, make_entry(2, 1, 8, 3)), "is NODE in a leaf");
    expect_tampered(What::node, kVolumeRoot, entry(0, make_entry(130, 1, 8, 2)),
                    "is DATA above the leaves");
    expect_tampered(What::node, leaf, entry(9, make_entry(0, 10, 0, 1)), "born in epoch 10");
    expect_tampered(What::node, kSnapshotLeaf, entry(9, make_entry(0, 6, 0, 1)),
                    "born in epoch 6, the tree allows 5");
    expect_tampered(What::node, leaf, entry(9, make_entry(5000, 1, 8, 2)), "region 78 is not");
    expect_tampered(What::node, leaf, entry(9, make_entry(128, 1, 8, 2)), "it is a bitmap block");
    expect_tampered(What::node, leaf, entry(9, make_entry(190, 1, 8, 2)), "it is a bitmap block");
    expect_tampered(What::node, leaf, entry(9, make_entry(5, 1, 8, 2)), "is of class 3, not 1");
    expect_tampered(What::node, leaf, entry(9, make_entry(130, 3, 8, 2)),
                    "also referred to as something else");
    expect_tampered(What::node, leaf, entry(9, make_entry(140, 3, 8, 2)),
                    "says that 3 blocks are mapped, its tree has 4");
}

TEST(Fsck, cycles_and_crossed_levels_end) {
    // The root refers to itself, to the level below twice, and to the other tree's level 1.
    expect_tampered(What::node, kVolumeRoot, set<uint64_t>(16, kVolumeRoot),
                    "is ABSENT with an address");
    for (const uint64_t target : {kVolumeRoot, kVolumeRoot - 1, kSnapshotLevel1, kSnapshotRoot}) {
        const RawEntry loop = make_entry(target, 7, 0x1234, 3);
        expect_tampered(
            What::node, kVolumeRoot,
            [&](Block& block) {
                store_le(block.data() + 16, loop.low);
                store_le(block.data() + 24, loop.high);
            },
            "also referred to as something else");
    }
}

TEST(Fsck, blocks_past_the_end_are_found) {
    Fixture fixture;
    fixture.family.objects[2].size_bytes = 8192;
    expect_problem(fixture.check(), "block 2, level 0: DATA past the end at block 2");
    Fixture trimming;
    trimming.family.objects[1].size_bytes = 4096;
    trimming.family.objects[1].flags = 4;
    EXPECT_TRUE(trimming.check().clean());
}

TEST(Fsck, sharing_needs_every_tree_between) {
    // web and copy share blocks 1 and 2, but monday no longer holds them.
    Fixture fixture;
    fixture.family.objects[0].root = {};
    fixture.family.objects[0].mapped = 0;
    expect_problem(fixture.check(), "but not by every tree between them");

    Fixture strangers;
    strangers.family.objects[2].parent = 0;
    expect_problem(strangers.check(), "also referred to as something else");
}

TEST(Fsck, reclaimed_part_of_a_deleted_tree_is_not_looked_at) {
    // An orphan whose leaf was freed and is void now: nothing left of its cursor counts.
    Fixture fixture;
    TestPool& pool = fixture.pool;
    const RawEntry freed = make_entry(64 + 20, 6, 0x4321, 3);
    const RawEntry level_1 = pool.put_node(1, 6, {{0, freed}});
    const RawEntry level_2 = pool.put_node(2, 6, {{0, level_1}});
    const RawEntry root = pool.put_node(3, 6, {{0, level_2}});
    fixture.family.objects.push_back({3, 0, 5, 1, 8, 1 << 20, root, 2, 256, 17, "", 0, 0});
    Report report = fixture.check();
    EXPECT_TRUE(report.clean()) << all(report);

    Fixture unfinished;
    const RawEntry level_1b = unfinished.pool.put_node(1, 6, {{0, freed}});
    const RawEntry level_2b = unfinished.pool.put_node(2, 6, {{0, level_1b}});
    const RawEntry rootb = unfinished.pool.put_node(3, 6, {{0, level_2b}});
    unfinished.family.objects.push_back({3, 0, 5, 1, 8, 1 << 20, rootb, 2, 255, 17, "", 0, 0});
    expect_problem(unfinished.check(), "address 84 is reachable, but free");
}

TEST(Fsck, clones_share_a_tree_that_is_read_once) {
    TestPool pool;
    const Family family = put_family(pool);
    std::vector<RawObject> objects = family.objects;
    while (objects.size() < 300) {
        RawObject clone = objects[2];
        clone.id = 10 + objects.size();
        clone.name = "copy" + std::to_string(clone.id);
        objects.push_back(clone);
    }
    pool.next_object_id = 1000;
    pool.put_objects(objects, 9);
    pool.seal();
    const Report report = pool.check({.verify_data = true});
    EXPECT_TRUE(report.clean()) << all(report);
    EXPECT_EQ(report.counts.volumes, 298u);
    EXPECT_EQ(report.counts.nodes, 12u);
}

TEST(Fsck, older_superblock_counts_when_the_newest_is_torn) {
    Fixture fixture;
    ASSERT_TRUE(fixture.check().clean());
    // Generation 5 goes to slot 1; a torn one is as if it had not been written.
    fixture.pool.damage(0, TestPool::kSuperblocks[0] + 1);
    fixture.pool.damage(0, TestPool::kSuperblocks[1] + 1);
    const Report report = fixture.pool.check();
    EXPECT_TRUE(report.clean()) << all(report);
    EXPECT_EQ(report.generation, 4u);
}

// ---- objects

TEST(Fsck, wrong_objects_are_found) {
    const auto expect = [](const std::function<void(std::vector<RawObject>&)>& change,
                           std::string_view part) {
        Fixture fixture;
        change(fixture.family.objects);
        expect_problem(fixture.check(), part);
    };
    expect([](auto& o) { o[2].id = 2; }, "id 2 is used twice");
    expect([](auto& o) { o[2].name = "web"; }, "have the same name");
    expect([](auto& o) { o[2].name = ""; }, "has no name");
    expect([](auto& o) { o[2].name = "\xFF"; }, "is not UTF-8");
    expect([](auto& o) { o[2].parent = 77; }, "its parent 77 does not exist");
    expect([](auto& o) { o[2].parent = 2; }, "its parent 2 is not a snapshot");
    expect([](auto& o) { o[0].parent = 1; }, "is its own ancestor");
    expect([](auto& o) { o[0].volume = 9; }, "is of volume 9, which does not exist");
    expect([](auto& o) { o[1].size_bytes = 100; }, "size is 100 bytes");
    expect([](auto& o) { o[1].size_bytes = uint64_t{17} << 40; }, "size is 18691697672192 bytes");
    expect([](auto& o) { o[1].flags = 128; }, "flags are 0x80");
    expect([](auto& o) { o[1].flags = 8; }, "origin is");
    expect([](auto& o) { o[1].mapped = 2; }, "says that 2 blocks are mapped, its tree has 3");
    expect([](auto& o) { o[1].kind = 5; }, "has kind 5");
    expect([](auto& o) { o[1].epoch = 11; }, "epoch is 11");
    expect([](auto& o) { o[0].epoch = 4; }, "born in epoch 5, the tree allows 4");
    expect([](auto& o) { o[3].volume = 50; }, "is of object 50");
    expect([](auto& o) { o[3].damage_blocks = 0; }, "names 0 blocks");
    expect([](auto& o) { o[1].root.high = uint64_t{2} << 56; }, "its root is DATA");
}

}  // namespace
}  // namespace stoa::fsck::test
