// Regions on simulated disks: who gets which block, when a freed one may be taken again, and that
// the figures add up. With crashes and faults: tests/sim.
#include "dataplane/pool/regions.h"

#include <optional>
#include <set>

#include <gtest/gtest.h>

#include "dataplane/pool/block_io.h"
#include "dataplane/pool/test_parts.h"

namespace stoa::pool {
namespace {

constexpr uint32_t kUsable = TestDevices::kRegionBlocks - kRegionFixedBlocks;
constexpr uint64_t kReserve = 4 * TestDevices::kRegionBlocks;  // the least a pool gets
constexpr uint32_t kRegionsMax = 64;

class RegionsTest : public ::testing::Test {
protected:
    using Run = stoa::pool::Run;  // not gtest's

    void start(size_t devices, uint32_t regions_max = kRegionsMax) {
        parts_.emplace(devices);
        load({}, regions_max);
    }
    // As if the pool was opened with this table.
    void load(std::vector<RegionEntry> table, uint32_t regions_max = kRegionsMax) {
        blocks_.reset();
        regions_.emplace(parts_->simulator, parts_->devices, parts_->checksums,
                         TestDevices::kRegionBlocks, regions_max, kReserve);
        const Result<void> loaded = regions_->load_table(std::move(table), parts_->slots);
        ASSERT_TRUE(loaded.ok()) << loaded.error().message();
        blocks_.emplace(parts_->devices, *regions_, parts_->checksums);
        blocks_->set_writable(true);
        regions_->set_blocks(*blocks_);
    }
    bool refill(RegionClass wanted) {
        const Result<void> done = parts_->simulator.run(regions_->refill(wanted));
        EXPECT_TRUE(done.ok() || done.error().code() == ErrorCode::no_space)
            << done.error().message();
        return done.ok();
    }
    // Up to `want` blocks; fewer only when no more can be had.
    std::vector<Run> take(uint64_t want, RegionClass wanted = RegionClass::data) {
        std::vector<Run> runs;
        for (uint64_t left = want; left > 0;) {
            const Run run = regions_->try_allocate(wanted, left);
            if (run.count > 0) runs.push_back(run);
            else if (!refill(wanted)) break;
            left -= run.count;
        }
        return runs;
    }
    std::vector<Run> use(uint64_t want, RegionClass wanted = RegionClass::data) {
        std::vector<Run> runs = take(want, wanted);
        for (const Run& run : runs) regions_->commit_allocated(run);
        return runs;
    }
    void free(const std::vector<Run>& runs) {
        for (const Run& run : runs) regions_->free(run);
    }
    FrozenSpace freeze() {
        FrozenSpace frozen = regions_->freeze();
        const Result<void> written =
            parts_->simulator.run(regions_->write_bitmaps(frozen, *blocks_, 1));
        EXPECT_TRUE(written.ok()) << written.error().message();
        return frozen;
    }
    // The table that it makes durable.
    std::vector<RegionEntry> checkpoint() {
        FrozenSpace frozen = freeze();
        std::vector<RegionEntry> table = regions_->table_with(frozen);
        regions_->make_durable(frozen);
        regions_->release(frozen);
        return table;
    }
    void expect_figures_add_up() {
        const Regions::Figures f = regions_->figures();
        EXPECT_EQ(f.total, parts_->devices.list.size() * TestDevices::kDiskBytes / kBlockBytes);
        EXPECT_EQ(f.total, f.system + f.data + f.nodes + f.quarantine + f.bad + f.free + f.away);
    }
    static uint64_t count(const std::vector<Run>& runs) {
        uint64_t blocks = 0;
        for (const Run& run : runs) blocks += run.count;
        return blocks;
    }

    std::optional<TestDevices> parts_;
    std::optional<Regions> regions_;
    std::optional<BlockIo> blocks_;
};

constexpr uint64_t kAll = 1'000'000;

TEST_F(RegionsTest, hands_out_each_block_once_and_no_bitmap) {
    start(1);
    std::set<BlockAddress> seen;
    for (const Run& run : take(kAll)) {
        for (uint64_t i = 0; i < run.count; ++i) {
            EXPECT_TRUE(seen.insert(run.address + i).second);
            EXPECT_TRUE(regions_->is_plausible(run.address + i, RegionClass::data));
            EXPECT_FALSE(regions_->is_plausible(run.address + i, RegionClass::leaf));
        }
    }
    EXPECT_GT(seen.size(), 10 * kUsable);
    EXPECT_EQ(seen.size() % kUsable, 0U);
    expect_figures_add_up();
}

TEST_F(RegionsTest, a_run_is_contiguous_on_its_device) {
    start(1);
    const std::vector<Run> runs = take(20);
    ASSERT_EQ(runs.size(), 1U);
    EXPECT_EQ(runs[0].count, 20U);
    const Location first = regions_->locate(runs[0].address, 0);
    const Location last = regions_->locate(runs[0].address + 19, 0);
    EXPECT_EQ(last.block, first.block + 19);
    EXPECT_GE(first.block, DeviceLayout(parts_->label).data_start);
}

TEST_F(RegionsTest, data_leaves_the_reserve_to_nodes) {
    start(1);
    take(kAll);
    EXPECT_FALSE(refill(RegionClass::data));
    EXPECT_EQ(regions_->data_available(), 0U);
    EXPECT_GE(regions_->metadata_headroom(), kReserve);
    EXPECT_EQ(take(1, RegionClass::leaf).size(), 1U);
    EXPECT_EQ(take(1, RegionClass::meta).size(), 1U);
}

TEST_F(RegionsTest, leaves_leave_a_pair_of_places_to_interior_nodes) {
    start(1);
    take(kAll, RegionClass::leaf);
    EXPECT_EQ(take(1, RegionClass::meta).size(), 1U);
}

TEST_F(RegionsTest, both_copies_of_a_node_are_on_different_devices) {
    start(2);
    const BlockAddress node = *parts_->simulator.run(regions_->allocate_node(RegionClass::meta));
    ASSERT_EQ(regions_->places_of(node), 2U);
    EXPECT_NE(regions_->locate(node, 0).device, regions_->locate(node, 1).device);
}

TEST_F(RegionsTest, the_journal_hears_of_a_region_before_its_blocks) {
    start(1);
    std::vector<uint32_t> heard;
    regions_->on_assign([&](uint32_t region, const RegionEntry&) { heard.push_back(region); });
    take(kUsable + 1);
    take(1, RegionClass::leaf);  // names its blocks nowhere in the journal
    EXPECT_EQ(heard, (std::vector<uint32_t>{0, 1}));
}

TEST_F(RegionsTest, a_freed_block_rests_until_the_quarantine_ends) {
    start(1);
    const std::vector<Run> runs = use(kAll);
    checkpoint();
    const Run victim{runs[3].address + 7, 1};
    regions_->free(victim);
    EXPECT_EQ(regions_->quarantine(), 1U);
    EXPECT_TRUE(take(1).empty());
    FrozenSpace frozen = freeze();
    EXPECT_TRUE(take(1).empty());
    regions_->make_durable(frozen);
    EXPECT_TRUE(take(1).empty());  // a read may still want it
    regions_->release(frozen);
    EXPECT_EQ(regions_->quarantine(), 0U);
    const std::vector<Run> again = take(2);
    ASSERT_EQ(again.size(), 1U);
    EXPECT_EQ(again[0].address, victim.address);
    EXPECT_EQ(again[0].count, 1U);
}

TEST_F(RegionsTest, what_is_freed_after_the_freeze_waits_for_the_next_checkpoint) {
    start(1);
    const std::vector<Run> runs = use(kAll);
    checkpoint();
    FrozenSpace frozen = freeze();
    regions_->free({runs[0].address, 1});
    regions_->make_durable(frozen);
    regions_->release(frozen);
    EXPECT_TRUE(take(1).empty());
    checkpoint();
    EXPECT_EQ(count(take(kAll)), 1U);
}

TEST_F(RegionsTest, what_the_running_checkpoint_gave_up_is_freed_with_it) {
    start(1);
    const std::vector<Run> runs = use(kAll);
    checkpoint();
    FrozenSpace frozen = regions_->freeze();
    regions_->free({runs[0].address, 1}, &frozen);
    ASSERT_TRUE(parts_->simulator.run(regions_->write_bitmaps(frozen, *blocks_, 1)).ok());
    regions_->make_durable(frozen);
    regions_->release(frozen);
    EXPECT_EQ(count(take(kAll)), 1U);
}

TEST_F(RegionsTest, an_allocation_that_is_cancelled_rests_like_a_freed_block) {
    start(1);
    const std::vector<Run> runs = take(kAll);
    regions_->cancel_allocated({runs[0].address, 1});
    for (Run run : runs) {
        if (run.address == runs[0].address) ++run.address, --run.count;
        regions_->commit_allocated(run);
    }
    EXPECT_EQ(regions_->quarantine(), 1U);
    EXPECT_TRUE(take(1).empty());
    checkpoint();
    EXPECT_EQ(count(take(kAll)), 1U);
}

TEST_F(RegionsTest, a_bad_block_is_never_handed_out_again) {
    start(1);
    const std::vector<Run> runs = take(1);
    regions_->set_bad(runs[0].address);
    checkpoint();
    checkpoint();
    EXPECT_EQ(regions_->figures().bad, 1U);
    EXPECT_EQ(regions_->figures().data, 0U);
    for (const Run& run : take(kAll)) {
        EXPECT_FALSE(run.address <= runs[0].address && runs[0].address < run.address + run.count);
    }
}

TEST_F(RegionsTest, a_reservation_counts_as_free_and_can_be_given_back) {
    start(1);
    const uint64_t available = regions_->data_available();
    Stream stream;
    ASSERT_TRUE(refill(RegionClass::data));
    const Run first = regions_->try_allocate(stream, 4);
    EXPECT_EQ(first.count, 4U);
    regions_->commit_allocated(first);
    EXPECT_EQ(regions_->data_available(), available - 4);
    EXPECT_EQ(regions_->figures().data, 4U);
    regions_->give_back(stream);
    EXPECT_EQ(stream.run.count, 0U);
    EXPECT_EQ(regions_->figures().data, 4U);
    expect_figures_add_up();
    checkpoint();
    EXPECT_EQ(regions_->data_available(), available - 4);
}

TEST_F(RegionsTest, figures_add_up_at_every_step) {
    start(2);
    expect_figures_add_up();
    const std::vector<Run> data = use(100);
    const std::vector<Run> leaves = use(10, RegionClass::leaf);
    const std::vector<Run> nodes = use(3, RegionClass::meta);
    expect_figures_add_up();
    EXPECT_EQ(regions_->figures().data, 100U);
    EXPECT_EQ(regions_->figures().nodes, 10U + 2 * 3);
    free(data);
    free(nodes);
    expect_figures_add_up();
    EXPECT_EQ(regions_->figures().data, 0U);
    EXPECT_EQ(regions_->figures().quarantine, 100U + 2 * 3);
    checkpoint();
    expect_figures_add_up();
    EXPECT_EQ(regions_->figures().quarantine, 0U);
    EXPECT_EQ(regions_->figures().nodes, count(leaves));
}

TEST_F(RegionsTest, a_region_that_became_empty_is_there_for_any_use) {
    start(1);
    const size_t unassigned = regions_->unassigned_regions();
    const std::vector<Run> full = use(kUsable);
    use(1);  // elsewhere: the full region is no longer the one blocks are taken from
    checkpoint();
    ASSERT_EQ(regions_->unassigned_regions(), unassigned - 2);
    free(full);
    EXPECT_FALSE(checkpoint()[regions_->region_of(full[0].address)].in_use);
    EXPECT_EQ(regions_->unassigned_regions(), unassigned - 1);
    EXPECT_FALSE(regions_->is_plausible(full[0].address, RegionClass::data));
    expect_figures_add_up();
    const BlockAddress leaf = *parts_->simulator.run(regions_->allocate_node(RegionClass::leaf));
    EXPECT_EQ(regions_->region_of(leaf), regions_->region_of(full[0].address));
}

TEST_F(RegionsTest, blocks_in_flight_keep_their_region) {
    start(1);
    const std::vector<Run> used = use(kUsable - 1);
    const std::vector<Run> in_flight = take(1);
    use(1);
    checkpoint();
    free(used);
    EXPECT_TRUE(checkpoint()[regions_->region_of(in_flight[0].address)].in_use);
    regions_->commit_allocated(in_flight[0]);
    EXPECT_EQ(checkpoint()[regions_->region_of(in_flight[0].address)].free_blocks, kUsable - 1);
}

TEST_F(RegionsTest, a_pool_has_no_more_regions_than_its_table) {
    start(1, 3);
    EXPECT_EQ(count(take(kAll)), 3 * kUsable);
    EXPECT_FALSE(refill(RegionClass::data));
}

TEST_F(RegionsTest, the_bitmaps_say_after_reopening_what_is_in_use) {
    start(1);
    const std::vector<Run> kept = use(30);
    const std::vector<Run> given_up = use(5);
    checkpoint();
    free(given_up);
    const std::vector<RegionEntry> table = checkpoint();
    ASSERT_EQ(table.size(), 1U);
    EXPECT_EQ(table[0].free_blocks, kUsable - 30);
    load(table);
    EXPECT_EQ(regions_->figures().data, 30U);
    expect_figures_add_up();
    for (const Run& run : take(kAll)) {
        EXPECT_TRUE(run.address >= kept[0].address + 30 ||
                    run.address + run.count <= kept[0].address);
    }
    EXPECT_EQ(regions_->figures().data % kUsable, 0U);  // all of it
}

TEST_F(RegionsTest, one_readable_bitmap_copy_is_enough_and_without_any_nothing_is_taken) {
    start(1);
    use(30);
    const std::vector<RegionEntry> table = checkpoint();
    const uint64_t region = DeviceLayout(parts_->label).region_start(table[0].place[0].region);
    const uint64_t first = region + table[0].bitmap_slot;
    parts_->damage_block(0, first);
    load(table);
    EXPECT_EQ(regions_->region_of(take(1)[0].address), 0U);
    parts_->damage_block(0, first + TestDevices::kRegionBlocks - 2);
    load(table);
    EXPECT_EQ(regions_->region_of(take(1)[0].address), 1U);
    for (const Run& run : take(kAll)) EXPECT_NE(regions_->region_of(run.address), 0U);
    expect_figures_add_up();
}

TEST_F(RegionsTest, a_table_that_uses_a_place_twice_or_outside_is_corrupt) {
    start(1);
    RegionEntry entry;
    entry.in_use = true;
    entry.region_class = RegionClass::data;
    entry.places = 1;
    entry.free_blocks = kUsable;
    const auto code_of = [this](const std::vector<RegionEntry>& table) {
        Regions fresh(parts_->simulator, parts_->devices, parts_->checksums,
                      TestDevices::kRegionBlocks, kRegionsMax, kReserve);
        const Result<void> loaded = fresh.load_table(table, parts_->slots);
        return loaded.ok() ? std::optional<ErrorCode>() : loaded.error().code();
    };
    EXPECT_EQ(code_of({entry}), std::nullopt);
    EXPECT_EQ(code_of({entry, entry}), ErrorCode::corrupt);
    RegionEntry outside = entry;
    outside.place[0].region = parts_->slots[0].physical_regions;
    EXPECT_EQ(code_of({outside}), ErrorCode::corrupt);
    RegionEntry roomy = entry;
    roomy.free_blocks = kUsable + 1;
    EXPECT_EQ(code_of({roomy}), ErrorCode::corrupt);
}

TEST_F(RegionsTest, a_journal_that_takes_a_block_twice_is_corrupt) {
    start(1);
    const std::vector<Run> used = use(10);
    load(checkpoint());
    const auto replay = [this](const std::vector<Run>& allocated, const std::vector<Run>& freed) {
        return parts_->simulator.run(regions_->replay(allocated, freed)).ok();
    };
    EXPECT_FALSE(replay({{used[0].address + 9, 2}}, {}));
    load(checkpoint());
    EXPECT_TRUE(replay({{used[0].address + 10, 2}}, {{used[0].address, 1}}));
    EXPECT_EQ(regions_->figures().data, 11U);
    EXPECT_EQ(regions_->quarantine(), 1U);
}

TEST_F(RegionsTest, a_replay_tells_which_nodes_it_has_freed) {
    start(1);
    const std::vector<Run> data = use(2);
    const std::vector<Run> leaves = use(2, RegionClass::leaf);
    load(checkpoint());
    EXPECT_TRUE(
        parts_->simulator.run(regions_->replay({}, {{data[0].address, 1}, {leaves[0].address, 1}}))
            .ok());
    EXPECT_TRUE(regions_->freed_by_replay(leaves[0].address));
    EXPECT_FALSE(regions_->freed_by_replay(leaves[0].address + 1));
    EXPECT_FALSE(regions_->freed_by_replay(data[0].address));
}

TEST_F(RegionsTest, nothing_is_taken_from_a_missing_device_and_it_counts_as_away) {
    start(2);
    use(4 * kUsable);
    const std::vector<RegionEntry> table = checkpoint();
    parts_->devices.list[1].device = nullptr;
    load(table);
    expect_figures_add_up();
    EXPECT_GT(regions_->figures().away, 0U);
    for (const Run& run : take(kAll)) EXPECT_EQ(regions_->locate(run.address, 0).device, 0U);
}

TEST(ReaderErasTest, an_era_is_drained_when_its_own_readers_have_left) {
    ReaderEras eras;
    const uint64_t early = eras.enter();
    const uint64_t frozen = eras.advance();
    const uint64_t late = eras.enter();
    EXPECT_EQ(early, frozen);
    EXPECT_FALSE(eras.drained(frozen));
    eras.leave(early);
    EXPECT_TRUE(eras.drained(frozen));  // who came after the freeze does not count
    EXPECT_FALSE(eras.drained(late));
    eras.leave(late);
}

TEST(ReaderErasTest, a_reader_of_an_earlier_era_holds_all_that_follow) {
    ReaderEras eras;
    const uint64_t reader = eras.enter();
    for (int i = 0; i < 10; ++i) eras.advance();
    EXPECT_FALSE(eras.drained(reader + 9));
    eras.leave(reader);
    EXPECT_TRUE(eras.drained(reader + 9));
}

TEST(ReaderErasTest, a_reader_that_stays_keeps_its_era_from_being_used_again) {
    ReaderEras eras;
    const uint64_t reader = eras.enter();
    int advanced = 0;
    while (eras.can_advance() && advanced < 1000) {
        eras.advance();
        ++advanced;
    }
    EXPECT_GT(advanced, 10);
    EXPECT_LT(advanced, 1000);
    EXPECT_FALSE(eras.drained(reader));
    eras.leave(reader);
    EXPECT_TRUE(eras.can_advance());
}

}  // namespace
}  // namespace stoa::pool
