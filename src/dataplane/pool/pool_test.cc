// Pool, seen from outside, on simulated disks: what a user does, one behaviour each.
// Crashes and faults in all combinations: tests/sim/.
#include "dataplane/pool/pool.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "dataplane/io/sim/disk.h"
#include "dataplane/io/sim/shared_memory.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/io/sync.h"

namespace stoa::pool {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

std::vector<std::byte> filled(size_t bytes, int value) {
    std::vector<std::byte> data(bytes);
    for (size_t i = 0; i < bytes; ++i) {
        data[i] = static_cast<std::byte>(static_cast<size_t>(value) + i / 512);
    }
    return data;
}

class PoolTest : public ::testing::Test {
protected:
    PoolTest() : simulator_(7) { fresh_disk(io::sim::Medium(io::sim::Image(24 * kMiB))); }
    ~PoolTest() override {
        if (pool_) static_cast<void>(simulator_.run(pool_->close()));
    }

    void fresh_disk(io::sim::Medium medium) {
        io::sim::DiskOptions options;
        options.seed = ++seed_;
        disk_ = std::make_unique<io::sim::Disk>(simulator_, options, std::move(medium));
    }
    void create() {
        CreateOptions options;
        options.name = "fast";
        options.region_blocks = 64;
        options.journal_blocks = 64;
        const Result<void> made = simulator_.run(Pool::create(simulator_, {disk_.get()}, options));
        ASSERT_TRUE(made.ok()) << made.error().message();
        open();
    }
    void open() {
        OpenOptions options;
        options.cache_bytes = kMiB;
        options.events = [](const std::string& text) { GTEST_LOG_(INFO) << text; };
        Result<std::unique_ptr<Pool>> opened =
            simulator_.run(Pool::open(simulator_, {disk_.get()}, options));
        ASSERT_TRUE(opened.ok()) << opened.error().message();
        pool_ = *std::move(opened);
    }
    void close() {
        const Result<void> closed = simulator_.run(pool_->close());
        EXPECT_TRUE(closed.ok()) << closed.error().message();
        pool_.reset();
    }
    // Loses power: what was not flushed is gone.
    void lose_power() {
        io::sim::Image image = disk_->crash_image({});
        disk_->kill();
        static_cast<void>(simulator_.run(pool_->close()));
        pool_.reset();
        fresh_disk(io::sim::Medium(std::move(image)));
        open();
    }
    Uuid make_volume(const std::string& name, uint64_t bytes = 4 * kMiB) {
        VolumeSpec spec;
        spec.name = name;
        spec.size_bytes = bytes;
        Result<Uuid> made = simulator_.run(pool_->create_volume(spec));
        EXPECT_TRUE(made.ok()) << made.error().message();
        return *made;
    }
    block::Volume* attach(Uuid id, bool read_only = false) {
        Result<block::Volume*> handle = simulator_.run(pool_->attach(id, read_only));
        EXPECT_TRUE(handle.ok()) << handle.error().message();
        return *handle;
    }
    void write(block::Volume* volume, uint64_t offset, const std::vector<std::byte>& data) {
        const Result<void> done = simulator_.run(volume->write(offset, data, {}));
        EXPECT_TRUE(done.ok()) << done.error().message();
    }
    std::vector<std::byte> read(block::Volume* volume, uint64_t offset, size_t bytes) {
        std::vector<std::byte> data(bytes);
        const Result<void> done = simulator_.run(volume->read(offset, data));
        EXPECT_TRUE(done.ok()) << done.error().message();
        return data;
    }
    Uuid snapshot(Uuid volume, const std::string& name) {
        SnapshotSpec spec;
        spec.volume = volume;
        spec.name = name;
        Result<std::vector<Uuid>> made = simulator_.run(pool_->snapshot({spec}));
        EXPECT_TRUE(made.ok()) << made.error().message();
        return made->front();
    }

    io::sim::Simulator simulator_;
    uint64_t seed_ = 0;
    std::unique_ptr<io::sim::Disk> disk_;
    std::unique_ptr<Pool> pool_;
};

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
TEST_F(PoolTest, a_failed_commit_is_not_repeated) {
    create();
    block::Volume* volume = attach(make_volume("v"));
    write(volume, 0, filled(16384, 1));
    io::sim::Fault fault;
    fault.op = io::DeviceOp::flush;
    fault.count = 1;
    disk_->add_fault(fault);
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
    EXPECT_TRUE(pool_->info().read_only);
    // The process dies with it; the device keeps what it was given.
    io::sim::Medium medium = disk_->process_crash(1);
    disk_->kill();
    static_cast<void>(simulator_.run(pool_->close()));
    pool_.reset();
    fresh_disk(std::move(medium));
    open();
    ASSERT_TRUE(pool_);
    volume = attach(*pool_->find_volume("v"));
    EXPECT_EQ(read(volume, 0, 16384), filled(16384, 1));
}

}  // namespace
}  // namespace stoa::pool
