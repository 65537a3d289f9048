// A sparse pool file whose file system is full (ENOSPC): like a full pool. Writes are held, nothing
// is damaged or set aside, and all goes on when the host has space again.
#include <algorithm>
#include <cerrno>

#include <gtest/gtest.h>

#include "dataplane/io/sim/disk.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/io/sync.h"
#include "dataplane/pool/pool.h"

namespace stoa::pool {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kMinuteNs = 60'000'000'000;
constexpr uint64_t kSystemBytes = kMiB;  // more than labels, rings and tables take

std::vector<std::byte> filled(size_t bytes, int value) {
    return std::vector<std::byte>(bytes, static_cast<std::byte>(value));
}

class HostFullTest : public ::testing::Test {
protected:
    HostFullTest() {
        disk_ = std::make_unique<io::sim::Disk>(simulator_, io::sim::DiskOptions{},
                                                io::sim::Medium(io::sim::Image(24 * kMiB)));
        CreateOptions options;
        options.name = "fast";
        options.region_blocks = 64;
        options.journal_blocks = 64;
        EXPECT_TRUE(simulator_.run(Pool::create(simulator_, {disk_.get()}, options)).ok());
        open();
        VolumeSpec spec;
        spec.name = "db";
        spec.size_bytes = 8 * kMiB;
        id_ = *simulator_.run(pool_->create_volume(spec));
        volume_ = *simulator_.run(pool_->attach(id_, false));
        EXPECT_TRUE(simulator_.run(volume_->write(0, filled(kMiB, 1), {})).ok());
        EXPECT_TRUE(simulator_.run(pool_->checkpoint()).ok());
    }
    ~HostFullTest() override {
        if (pool_) static_cast<void>(simulator_.run(pool_->close()));
    }

    void open() {
        OpenOptions options;
        options.cache_bytes = kMiB;
        options.events = [this](const std::string& text) { events_.push_back(text); };
        auto opened = simulator_.run(Pool::open(simulator_, {disk_.get()}, options));
        ASSERT_TRUE(opened.ok()) << opened.error().message();
        pool_ = *std::move(opened);
    }
    // Writes to what lies from `from_bytes` on find no space.
    void fill_host(uint64_t from_bytes) {
        io::sim::Fault fault;
        fault.op = io::DeviceOp::write;
        fault.offset_bytes = from_bytes;
        fault.error = ENOSPC;
        disk_->add_fault(fault);
    }
    void start(io::Task<Result<void>> task) { group_.spawn(wait_for(std::move(task))); }
    io::Task<void> wait_for(io::Task<Result<void>> task) {
        outcome_ = co_await std::move(task);
        done_ = true;
    }
    std::byte first_byte(uint64_t offset) {
        std::vector<std::byte> data(4096);
        const Result<void> read = simulator_.run(volume_->read(offset, data));
        EXPECT_TRUE(read.ok()) << read.error().message();
        return data[0];
    }
    void expect_unharmed() {
        EXPECT_FALSE(pool_->info().read_only) << pool_->info().read_only_reason;
        EXPECT_EQ(pool_->info().space.bad, 0U);
        EXPECT_TRUE(pool_->damage().empty());
        EXPECT_EQ(first_byte(kMiB / 2), std::byte{1});
    }

    io::sim::Simulator simulator_{11};
    std::unique_ptr<io::sim::Disk> disk_;
    std::unique_ptr<Pool> pool_;
    io::TaskGroup group_{simulator_};
    Uuid id_;
    block::Volume* volume_ = nullptr;
    std::vector<std::string> events_;
    Result<void> outcome_;
    bool done_ = false;
};

TEST_F(HostFullTest, a_write_is_held_until_the_host_has_space) {
    fill_host(kSystemBytes);
    const auto data = filled(kMiB, 2);
    start(volume_->write(2 * kMiB, data, {}));
    simulator_.run_for(kMinuteNs);
    EXPECT_FALSE(done_);
    EXPECT_TRUE(pool_->info().devices[0].host_full);
    ASSERT_EQ(events_.size(), 1U);
    EXPECT_NE(events_[0].find("device disk of pool fast is full"), std::string::npos) << events_[0];
    expect_unharmed();
    disk_->clear_faults();
    simulator_.run(group_.join());
    EXPECT_TRUE(outcome_.ok()) << outcome_.error().message();
    EXPECT_EQ(first_byte(2 * kMiB), std::byte{2});
    simulator_.run_for(kMinuteNs);  // a checkpoint had begun and waited, too
    EXPECT_FALSE(pool_->info().devices[0].host_full);
    expect_unharmed();
}

TEST_F(HostFullTest, later_writes_are_held_before_they_reach_the_device) {
    fill_host(kSystemBytes);
    const auto data = filled(4096, 2);
    start(volume_->write(2 * kMiB, data, {}));
    simulator_.run_for(kMinuteNs);
    start(volume_->write(3 * kMiB, data, {}));
    simulator_.run_for(kMinuteNs);
    EXPECT_EQ(pool_->counters().held_writes, 1U);
    disk_->clear_faults();
    simulator_.run(group_.join());
    EXPECT_EQ(first_byte(3 * kMiB), std::byte{2});
}

TEST_F(HostFullTest, a_flush_and_a_checkpoint_wait_and_go_on) {
    const auto data = filled(kMiB, 2);
    EXPECT_TRUE(simulator_.run(volume_->write(2 * kMiB, data, {})).ok());
    fill_host(0);
    start(volume_->flush());
    start(pool_->checkpoint());
    simulator_.run_for(kMinuteNs);
    EXPECT_FALSE(done_);
    expect_unharmed();
    disk_->clear_faults();
    simulator_.run(group_.join());
    EXPECT_TRUE(outcome_.ok()) << outcome_.error().message();
    EXPECT_TRUE(simulator_.run(pool_->checkpoint()).ok());
    expect_unharmed();
    EXPECT_TRUE(simulator_.run(pool_->close()).ok());
    open();
    volume_ = *simulator_.run(pool_->attach(id_, false));
    EXPECT_EQ(first_byte(2 * kMiB), std::byte{2});
    expect_unharmed();
}

TEST_F(HostFullTest, a_detach_drops_what_is_held) {
    fill_host(0);
    const auto data = filled(4096, 2);
    start(volume_->write(2 * kMiB, data, {}));
    simulator_.run_for(kMinuteNs);
    simulator_.run(pool_->detach(volume_));
    simulator_.run(group_.join());
    ASSERT_FALSE(outcome_.ok());
    EXPECT_EQ(outcome_.error().code(), ErrorCode::cancelled);
    disk_->clear_faults();
    volume_ = *simulator_.run(pool_->attach(id_, false));
    EXPECT_EQ(first_byte(2 * kMiB), std::byte{0});
    expect_unharmed();
}

TEST_F(HostFullTest, a_detach_ends_a_flush_that_waits) {
    const auto data = filled(4096, 2);
    EXPECT_TRUE(simulator_.run(volume_->write(2 * kMiB, data, {})).ok());
    fill_host(0);
    start(volume_->flush());
    simulator_.run_for(kMinuteNs);
    simulator_.run(pool_->detach(volume_));
    simulator_.run(group_.join());
    EXPECT_EQ(outcome_.error().code(), ErrorCode::cancelled);
    disk_->clear_faults();
    volume_ = *simulator_.run(pool_->attach(id_, false));
    EXPECT_EQ(first_byte(2 * kMiB), std::byte{2});
}

// What was acknowledged and not flushed lives in shared memory, which a close does not empty.
TEST_F(HostFullTest, a_close_does_not_wait_and_the_next_opening_finds_what_was_flushed) {
    const auto data = filled(kMiB, 2);
    EXPECT_TRUE(simulator_.run(volume_->write(2 * kMiB, data, {})).ok());
    EXPECT_TRUE(simulator_.run(volume_->flush()).ok());
    fill_host(0);
    const Result<void> closed = simulator_.run(pool_->close());
    EXPECT_FALSE(closed.ok());
    pool_.reset();
    disk_->clear_faults();
    open();
    volume_ = *simulator_.run(pool_->attach(id_, false));
    EXPECT_EQ(first_byte(2 * kMiB), std::byte{2});
    expect_unharmed();
}

TEST_F(HostFullTest, what_serves_nobody_is_refused) {
    const auto data = filled(4096, 2);
    EXPECT_TRUE(simulator_.run(volume_->write(4096, data, {})).ok());
    simulator_.run(pool_->detach(volume_));
    fill_host(kSystemBytes);
    // The new end lies within a block, whose rest must become zero.
    const Result<void> cut = simulator_.run(pool_->resize_volume(id_, kMiB / 2 + 512, true));
    EXPECT_TRUE(cut.ok()) << cut.error().message();
    const Result<void> settled = simulator_.run(pool_->settle());
    ASSERT_FALSE(settled.ok());
    EXPECT_EQ(settled.error().code(), ErrorCode::no_space) << settled.error().message();
    disk_->clear_faults();
    EXPECT_TRUE(simulator_.run(pool_->settle()).ok());
    EXPECT_EQ(pool_->info().space.bad, 0U);
}

}  // namespace
}  // namespace stoa::pool
