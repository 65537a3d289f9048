// Pool, seen from outside, on simulated disks: what a user does, one behaviour each.
// Crashes and faults in all combinations: tests/sim/.
#include "dataplane/io/sync.h"
#include "dataplane/pool/test_fixture.h"
#include "dataplane/pool/test_hostile_image.h"

namespace stoa::pool {
namespace {

TEST_F(PoolTest, reads_back_what_was_written) {
    create();
    block::Volume* volume = attach(make_volume("db"));
    write(volume, 4096, filled(8192, 3));
    EXPECT_EQ(read(volume, 4096, 8192), filled(8192, 3));
    EXPECT_EQ(read(volume, 0, 4096), std::vector<std::byte>(4096));
}

TEST_F(PoolTest, half_a_kibibyte_changes_only_itself) {
    create();
    block::Volume* volume = attach(make_volume("db"));
    write(volume, 0, filled(4096, 3));
    write(volume, 512, filled(512, 90));
    std::vector<std::byte> expected = filled(4096, 3);
    std::ranges::copy(filled(512, 90), expected.begin() + 512);
    EXPECT_EQ(read(volume, 0, 4096), expected);
}

TEST_F(PoolTest, a_clean_close_keeps_everything) {
    create();
    const Uuid id = make_volume("db");
    write(attach(id), 0, filled(kMiB + 4096, 5));
    close();
    open();
    EXPECT_EQ(read(attach(id), 0, kMiB + 4096), filled(kMiB + 4096, 5));
}

TEST_F(PoolTest, flushed_data_survives_loss_of_power) {
    create();
    const Uuid id = make_volume("db");
    block::Volume* volume = attach(id);
    write(volume, 0, filled(12288, 5));
    ASSERT_TRUE(simulator_.run(volume->flush()).ok());
    lose_power();
    EXPECT_EQ(read(attach(id), 0, 12288), filled(12288, 5));
}

TEST_F(PoolTest, a_snapshot_keeps_the_old_content) {
    create();
    const Uuid id = make_volume("db");
    block::Volume* volume = attach(id);
    write(volume, 0, filled(8192, 1));
    const Uuid monday = snapshot(id, "monday");
    write(volume, 4096, filled(4096, 50));
    EXPECT_EQ(read(attach(monday, true), 0, 8192), filled(8192, 1));
    lose_power();
    EXPECT_EQ(read(attach(monday, true), 0, 8192), filled(8192, 1));
}

TEST_F(PoolTest, a_clone_goes_its_own_way) {
    create();
    const Uuid id = make_volume("db");
    write(attach(id), 0, filled(8192, 1));
    const Uuid monday = snapshot(id, "monday");
    VolumeSpec spec;
    spec.name = "copy";
    Result<Uuid> clone = simulator_.run(pool_->clone(monday, spec));
    ASSERT_TRUE(clone.ok());
    write(attach(*clone), 0, filled(4096, 77));
    EXPECT_EQ(read(attach(monday, true), 0, 8192), filled(8192, 1));
    EXPECT_EQ(read(attach(*clone, true), 0, 4096), filled(4096, 77));
}

TEST_F(PoolTest, deleting_everything_gives_all_space_back) {
    create();
    const Uuid id = make_volume("db");
    block::Volume* volume = attach(id);
    write(volume, 0, filled(kMiB, 1));
    const Uuid monday = snapshot(id, "monday");
    write(volume, 0, filled(kMiB / 2, 9));
    simulator_.run(pool_->detach(volume));
    ASSERT_TRUE(simulator_.run(pool_->delete_snapshot(monday)).ok());
    ASSERT_TRUE(simulator_.run(pool_->settle()).ok());
    ASSERT_TRUE(simulator_.run(pool_->checkpoint()).ok());
    EXPECT_EQ(pool_->info().space.data, kMiB / 4096);
    ASSERT_TRUE(simulator_.run(pool_->delete_volume(id)).ok());
    ASSERT_TRUE(simulator_.run(pool_->settle()).ok());
    ASSERT_TRUE(simulator_.run(pool_->checkpoint()).ok());
    EXPECT_EQ(pool_->info().space.data, 0U);
}

TEST_F(PoolTest, diff_names_what_changed) {
    create();
    const Uuid id = make_volume("db");
    block::Volume* volume = attach(id);
    write(volume, 0, filled(kMiB, 1));
    const Uuid monday = snapshot(id, "monday");
    write(volume, 8192, filled(4096, 9));
    Result<DiffPage> page = simulator_.run(pool_->diff(monday, id, 0, 10));
    ASSERT_TRUE(page.ok()) << page.error().message();
    ASSERT_EQ(page->ranges.size(), 1U);
    EXPECT_EQ(page->ranges[0].offset_bytes, 8192U);
    EXPECT_EQ(page->ranges[0].length_bytes, 4096U);
    EXPECT_TRUE(page->finished);
}

TEST_F(PoolTest, rollback_brings_the_snapshot_back) {
    create();
    const Uuid id = make_volume("db");
    block::Volume* volume = attach(id);
    write(volume, 0, filled(8192, 1));
    const Uuid monday = snapshot(id, "monday");
    write(volume, 0, filled(8192, 60));
    simulator_.run(pool_->detach(volume));
    ASSERT_TRUE(simulator_.run(pool_->rollback(id, monday)).ok());
    EXPECT_EQ(read(attach(id), 0, 8192), filled(8192, 1));
}

TEST_F(PoolTest, a_full_pool_holds_writes_until_space_appears) {
    create();
    const Uuid big = make_volume("big", 64 * kMiB);
    const Uuid other = make_volume("other", 64 * kMiB);
    block::Volume* volume = attach(big);
    block::Volume* second = attach(other);
    write(second, 0, filled(4 * kMiB, 1));
    simulator_.run(pool_->detach(second));
    bool done = false;
    io::TaskGroup group(simulator_);
    struct Fill {
        static io::Task<void> run(block::Volume& to, bool& finished) {
            const std::vector<std::byte> data = filled(kMiB, 1);
            for (uint64_t i = 0; i < 17; ++i) {
                const Result<void> result = co_await to.write(i * kMiB, data, {});
                EXPECT_TRUE(result.ok()) << result.error().message();
            }
            finished = true;
        }
    };
    group.spawn(Fill::run(*volume, done));
    simulator_.run_for(60'000'000'000);
    EXPECT_FALSE(done);
    EXPECT_GT(pool_->counters().held_writes, 0U);
    ASSERT_TRUE(simulator_.run(pool_->delete_volume(other)).ok());
    simulator_.run_for(60'000'000'000);
    const SpaceInfo space = pool_->info().space;
    EXPECT_TRUE(done) << "free " << space.free << " data " << space.data << " nodes " << space.nodes
                      << " quarantine " << space.quarantine << " reserve " << space.reserve
                      << " system " << space.system << " total " << space.total;
    simulator_.run(group.join());
}

// A checkpoint waits while a commit fails: it must not put the same records into the journal again,
// or the next recovery finds every block allocated twice and refuses the pool.
class FailedCommitTest : public PoolTest {
protected:
    void is_not_repeated_after(const io::sim::Fault& fault) {
        block::Volume* volume = attach(make_volume("v"));
        write(volume, 0, filled(16384, 1));
        const io::sim::FaultId id = disk_->add_fault(fault);
        struct Step {
            static io::Task<void> run(io::Task<Result<void>> task) {
                const Result<void> result = co_await std::move(task);
                EXPECT_FALSE(result.ok());
            }
        };
        io::TaskGroup group(simulator_);
        group.spawn(Step::run(volume->flush()));
        group.spawn(Step::run(pool_->checkpoint()));
        simulator_.run(group.join());
        simulator_.run_for(1'000'000'000);
        EXPECT_EQ(disk_->struck(id), 1U);
        EXPECT_TRUE(pool_->info().read_only);
        // The process dies with it; the device keeps what it was given.
        io::sim::Medium medium = disk_->process_crash(1);
        disk_->kill();
        static_cast<void>(simulator_.run(pool_->close()));
        pool_.reset();
        fresh_disk(std::move(medium));
        open();
        ASSERT_TRUE(pool_);
        EXPECT_FALSE(pool_->info().read_only);
        volume = attach(*pool_->find_volume("v"));
        EXPECT_EQ(read(volume, 0, 16384), filled(16384, 1));
    }
};

TEST_F(FailedCommitTest, is_not_repeated_when_its_flush_failed) {
    create();
    io::sim::Fault fault;
    fault.op = io::DeviceOp::flush;
    fault.count = 1;
    is_not_repeated_after(fault);
}

// The other copy was written.
TEST_F(FailedCommitTest, is_not_repeated_when_one_copy_could_not_be_written) {
    create();
    const hostile::HostileImage image(disk_->image());
    io::sim::Fault fault;
    fault.op = io::DeviceOp::write;
    fault.offset_bytes = image.journal_places(0)[1] * kBlockBytes;
    fault.length_bytes = 64 * kBlockBytes;
    fault.count = 1;
    is_not_repeated_after(fault);
}

TEST_F(PoolTest, a_whole_write_of_zeros_goes_through_in_a_full_pool) {
    create();
    block::Volume* big = attach(make_volume("big", 64 * kMiB));
    io::TaskGroup group(simulator_);
    uint64_t written = 0;
    struct Fill {
        static io::Task<void> run(block::Volume& to, uint64_t& count) {
            const std::vector<std::byte> data = filled(kMiB, 1);
            for (uint64_t i = 0; i < 24; ++i) {
                const Result<void> result = co_await to.write(i * kMiB, data, {});
                EXPECT_TRUE(result.ok()) << result.error().message();
                ++count;
            }
        }
    };
    group.spawn(Fill::run(*big, written));
    simulator_.run_for(60'000'000'000);
    ASSERT_LT(written, 24U);
    struct Zero {
        static io::Task<void> run(block::Volume& to, uint64_t offset, bool& finished) {
            const std::vector<std::byte> zeros(kMiB);
            EXPECT_TRUE((co_await to.write(offset, zeros, {})).ok());
            finished = true;
        }
    };
    bool zeroed = false;
    group.spawn(Zero::run(*big, 0, zeroed));
    simulator_.run_for(60'000'000'000);
    EXPECT_TRUE(zeroed);
    EXPECT_EQ(read(big, 0, kMiB), std::vector<std::byte>(kMiB));
    // What they gave back lets the held write go on.
    bool more = false;
    for (uint64_t i = 1; i < 8; ++i) group.spawn(Zero::run(*big, i * kMiB, more));
    simulator_.run(group.join());
    EXPECT_EQ(written, 24U);
}

class DamageTest : public PoolTest {
protected:
    // Blocks 0 to 2 of a volume that cannot be read, and are on the list.
    block::Volume* damaged_volume() {
        create();
        const Uuid id = make_volume("db");
        block::Volume* volume = attach(id);
        write(volume, 0, filled(12288, 1));
        for (uint64_t block = 0; block < 3; ++block) {
            const auto where = simulator_.run(pool_->explain(id, block * 4096));
            disk_->flip_bit(where->device_offset_bytes, 0);
            std::vector<std::byte> data(4096);
            EXPECT_FALSE(simulator_.run(volume->read(block * 4096, data)).ok());
        }
        EXPECT_EQ(damaged_blocks(), 3U);
        return volume;
    }
    uint64_t damaged_blocks() {
        uint64_t bytes = 0;
        for (const DamageRange& range : pool_->damage()) bytes += range.length_bytes;
        return bytes / 4096;
    }
};

TEST_F(DamageTest, a_discard_ends_it) {
    block::Volume* volume = damaged_volume();
    ASSERT_TRUE(simulator_.run(volume->discard(4096, 4096)).ok());
    EXPECT_EQ(damaged_blocks(), 2U);
    ASSERT_TRUE(simulator_.run(volume->discard(0, kMiB)).ok());
    EXPECT_EQ(damaged_blocks(), 0U);
}

TEST_F(DamageTest, zeroing_ends_it) {
    block::Volume* volume = damaged_volume();
    ASSERT_TRUE(simulator_.run(volume->write_zeroes(0, 8192, {})).ok());
    EXPECT_EQ(damaged_blocks(), 1U);
}

TEST_F(DamageTest, a_shrink_ends_what_lay_beyond) {
    block::Volume* volume = damaged_volume();
    simulator_.run(pool_->detach(volume));
    const Uuid id = *pool_->find_volume("db");
    ASSERT_TRUE(simulator_.run(pool_->resize_volume(id, 4096, true)).ok());
    EXPECT_EQ(damaged_blocks(), 1U);
}

// A node is tried elsewhere; its place is not taken again.
TEST_F(PoolTest, a_place_that_takes_no_node_is_set_aside) {
    create();
    block::Volume* volume = attach(make_volume("db"));
    write(volume, 0, filled(4096, 1));
    uint64_t seen = 0;
    disk_->add_observer([&seen](const io::sim::DiskEvent& event) {
        if (event.kind == io::sim::DiskEventKind::write_completed && event.error != 0) ++seen;
    });
    ASSERT_TRUE(simulator_.run(pool_->checkpoint()).ok());
    // All nodes of the next checkpoints would begin here.
    const uint64_t nodes_before = pool_->info().space.nodes;
    io::sim::Fault fault;
    fault.op = io::DeviceOp::write;
    fault.offset_bytes = kMiB;
    fault.count = 3;
    fault.skip = 0;
    ASSERT_TRUE(simulator_.run(volume->write(0, std::vector<std::byte>(4096), {})).ok());
    const io::sim::FaultId id = disk_->add_fault(fault);
    ASSERT_TRUE(simulator_.run(pool_->checkpoint()).ok());
    EXPECT_EQ(disk_->struck(id), 3U);
    const SpaceInfo space = pool_->info().space;
    EXPECT_GE(space.bad, 2U);
    EXPECT_LE(space.nodes, nodes_before + 8);
    EXPECT_FALSE(pool_->info().read_only);
    close();
    open();
    EXPECT_EQ(pool_->info().space.bad, space.bad);
}

// A checkpoint waits for those who read: not for a whole walk.
TEST_F(PoolTest, a_checkpoint_goes_on_while_two_trees_are_compared) {
    create();
    const Uuid id = make_volume("db", 64 * kMiB);
    block::Volume* volume = attach(id);
    for (uint64_t i = 0; i < 20; ++i) write(volume, i * 3 * kMiB, filled(4096, 1));
    const Uuid monday = snapshot(id, "monday");
    for (uint64_t i = 0; i < 20; ++i) write(volume, i * 3 * kMiB, filled(4096, 2));
    close();
    open();
    volume = attach(id);
    write(volume, 0, filled(4096, 3));
    io::sim::Fault slow;
    slow.kind = io::sim::FaultKind::delay;
    slow.op = io::DeviceOp::read;
    slow.offset_bytes = kMiB;
    slow.delay_ns = 1'000'000'000;
    disk_->add_fault(slow);
    struct Step {
        static io::Task<void> diff(Pool& pool, Uuid from, Uuid to, bool& finished) {
            const Result<DiffPage> page = co_await pool.diff(from, to, 0, 1000);
            EXPECT_TRUE(page.ok());
            EXPECT_EQ(page->ranges.size(), 20U);
            finished = true;
        }
        static io::Task<void> count(Pool& pool, Uuid tree, bool& finished) {
            EXPECT_TRUE((co_await pool.exclusive_bytes(tree)).ok());
            finished = true;
        }
    };
    bool compared = false;
    bool counted = false;
    io::TaskGroup group(simulator_);
    group.spawn(Step::diff(*pool_, monday, id, compared));
    group.spawn(Step::count(*pool_, monday, counted));
    ASSERT_TRUE(simulator_.run(pool_->checkpoint()).ok());
    EXPECT_FALSE(compared);
    EXPECT_FALSE(counted);
    simulator_.run(group.join());
}

// Each names the object and says what to do.
TEST_F(PoolTest, messages_name_what_they_are_about) {
    create();
    const Uuid id = make_volume("db");
    const Uuid monday = snapshot(id, "monday");
    block::Volume* reader = attach(monday, true);
    const auto message = [](const auto& result) {
        return result.ok() ? std::string("none") : result.error().message();
    };
    EXPECT_EQ(message(simulator_.run(pool_->delete_snapshot(monday))),
              "snapshot db@monday is attached (1 times); detach it to delete it");
    EXPECT_EQ(message(simulator_.run(pool_->attach(monday, false))),
              "snapshot db@monday can only be attached read-only; clone it to write");
    std::vector<std::byte> odd(100);
    EXPECT_EQ(message(simulator_.run(reader->read(0, odd))),
              "offset 0 or length 100 in monday is not a multiple of 512");
    VolumeSpec spec;
    spec.name = "copy";
    spec.size_bytes = 512;
    EXPECT_EQ(message(simulator_.run(pool_->clone(monday, spec))),
              "a clone copy of 512 bytes is not possible: snapshot db@monday has 4194304, and "
              "sizes are multiples of 512 up to 16 TiB");
    spec.size_bytes = 100;
    EXPECT_EQ(
        message(simulator_.run(pool_->create_volume(spec))),
        "volume copy of 100 bytes is not possible: sizes are multiples of 512, from 512 bytes "
        "to 16 TiB");
}

// A clone is made independent while its deleted parent is being reclaimed: one waits for the other.
TEST_F(PoolTest, flattening_and_the_reclaim_of_the_parent_do_not_meet) {
    for (uint64_t delay_ms = 0; delay_ms < 40; delay_ms += 4) {
        fresh_disk(io::sim::Medium(io::sim::Image(24 * kMiB)));
        create();
        const Uuid id = make_volume("db", 16 * kMiB);
        block::Volume* volume = attach(id);
        constexpr uint64_t kBlocks = 1500;
        for (uint64_t i = kBlocks; i > 0; --i) write(volume, (i - 1) * 8192, filled(4096, 1));
        simulator_.run(pool_->detach(volume));
        const Uuid monday = snapshot(id, "monday");
        VolumeSpec spec;
        spec.name = "copy";
        const Uuid copy = *simulator_.run(pool_->clone(monday, spec));
        volume = attach(copy);
        for (uint64_t i = 0; i < kBlocks; i += 3) {
            ASSERT_TRUE(simulator_.run(volume->discard(i * 8192, 8192)).ok());
        }
        ASSERT_TRUE(simulator_.run(pool_->delete_volume(id)).ok());
        simulator_.run_for(delay_ms * 1'000'000);
        const Result<void> flat = simulator_.run(pool_->flatten(copy));
        EXPECT_TRUE(flat.ok()) << flat.error().message();
        EXPECT_TRUE(simulator_.run(pool_->settle()).ok());
        EXPECT_TRUE(pool_->snapshots({}).empty());
        EXPECT_TRUE(simulator_.run(pool_->checkpoint()).ok());
        for (uint64_t i = 0; i < kBlocks; ++i) {
            const auto expected = i % 3 == 0 ? std::vector<std::byte>(4096) : filled(4096, 1);
            ASSERT_EQ(read(volume, i * 8192, 4096), expected) << i;
        }
        EXPECT_EQ(pool_->info().space.data, kBlocks / 3 * 2);
        close();
    }
}

}  // namespace
}  // namespace stoa::pool
