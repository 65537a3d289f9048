#include "dataplane/io/sim/disk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <set>

#include "dataplane/io/sync.h"

namespace stoa::io::sim {
namespace {

constexpr uint64_t kDiskBytes = 256 * kPageBytes;
constexpr Latency kInOrder{.in_order = true};

// What one operation does, run to its end.
Task<int> write_page(Disk& disk, uint64_t page, unsigned value, uint64_t count = 1) {
    AlignedBuffer buffer(count * kPageBytes);
    std::ranges::fill(buffer.bytes(), static_cast<std::byte>(value));
    co_return co_await disk.write(page * kPageBytes, buffer.bytes());
}

Task<int> flush(Disk& disk) { co_return co_await disk.flush(); }

Task<int> discard(Disk& disk, uint64_t page, uint64_t count) {
    co_return co_await disk.discard(page * kPageBytes, count * kPageBytes);
}

// The first byte of the page, or minus the errno.
Task<int> read_page(Disk& disk, uint64_t page) {
    AlignedBuffer buffer(kPageBytes);
    const int error = co_await disk.read(page * kPageBytes, buffer.bytes());
    if (error != 0) co_return -error;
    co_return std::to_integer<int>(buffer.bytes()[0]);
}

Task<void> store(Task<int> task, int& result) { result = co_await std::move(task); }

// How many bits of the page differ from a page full of `value`.
Task<int> count_flipped(Disk& disk, uint64_t page, unsigned value) {
    AlignedBuffer buffer(kPageBytes);
    EXPECT_EQ(co_await disk.read(page * kPageBytes, buffer.bytes()), 0);
    int flipped = 0;
    for (const std::byte b : buffer.bytes()) {
        flipped += std::popcount(std::to_integer<unsigned>(b) ^ value);
    }
    co_return flipped;
}

int byte_at(const Image& image, uint64_t page, uint64_t within = 0) {
    std::byte value{};
    image.read(page * kPageBytes + within, {&value, 1});
    return std::to_integer<int>(value);
}

class DiskTest : public testing::Test {
protected:
    DiskTest() : simulator(11), disk(simulator, {.latency = kInOrder}, Image(kDiskBytes)) {}

    int write(uint64_t page, unsigned value) {
        return simulator.run(write_page(disk, page, value));
    }
    int read(uint64_t page) { return simulator.run(read_page(disk, page)); }
    int flush_all() { return simulator.run(flush(disk)); }
    Image crash(CrashKeep keep) { return disk.crash_image({.keep = keep}); }

    Simulator simulator;
    Disk disk;
};

TEST_F(DiskTest, a_completed_write_is_visible_and_lost_without_a_flush) {
    EXPECT_EQ(write(3, 7), 0);
    EXPECT_EQ(read(3), 7);
    EXPECT_EQ(byte_at(crash(CrashKeep::none), 3), 0);
    EXPECT_EQ(byte_at(crash(CrashKeep::all), 3), 7);
    EXPECT_EQ(flush_all(), 0);
    EXPECT_EQ(byte_at(crash(CrashKeep::none), 3), 7);
    EXPECT_EQ(disk.medium().unflushed_count(), 0U);
    EXPECT_EQ(disk.counters().writes, 1U);
    EXPECT_EQ(disk.counters().reads, 1U);
    EXPECT_EQ(disk.counters().flushes, 1U);
}

TEST_F(DiskTest, a_flush_submitted_before_a_write_completed_does_not_cover_it) {
    TaskGroup group(simulator);
    int written = -1;
    int flushed = -1;
    group.spawn(store(write_page(disk, 3, 7), written));
    group.spawn(store(flush(disk), flushed));
    simulator.run(group.join());
    EXPECT_EQ(written, 0);
    EXPECT_EQ(flushed, 0);
    EXPECT_EQ(byte_at(crash(CrashKeep::none), 3), 0);
    EXPECT_EQ(flush_all(), 0);
    EXPECT_EQ(byte_at(crash(CrashKeep::none), 3), 7);
}

TEST_F(DiskTest, writes_in_flight_may_or_may_not_survive) {
    EXPECT_EQ(write(1, 1), 0);
    TaskGroup group(simulator);
    int first = -1;
    int second = -1;
    group.spawn(store(write_page(disk, 2, 2), first));
    group.spawn(store(write_page(disk, 3, 3), second));
    EXPECT_EQ(disk.in_flight_count(), 2U);
    EXPECT_EQ(byte_at(disk.image(), 2), 0);
    const Image all = crash(CrashKeep::all);
    EXPECT_EQ(byte_at(all, 2), 2);
    EXPECT_EQ(byte_at(all, 3), 3);
    const Image but_last = crash(CrashKeep::all_but_last);
    EXPECT_EQ(byte_at(but_last, 1), 1);
    EXPECT_EQ(byte_at(but_last, 2), 2);
    EXPECT_EQ(byte_at(but_last, 3), 0);
    EXPECT_EQ(byte_at(crash(CrashKeep::none), 1), 0);
    simulator.run(group.join());
}

TEST_F(DiskTest, a_random_crash_leaves_every_subset_and_follows_its_seed) {
    for (uint64_t page = 0; page < 3; ++page) EXPECT_EQ(write(page, 5), 0);
    std::set<int> subsets;
    for (uint64_t seed = 0; seed < 200; ++seed) {
        const CrashPolicy policy{.keep = CrashKeep::random, .seed = seed};
        const Image image = disk.crash_image(policy);
        EXPECT_EQ(image.hash(), disk.crash_image(policy).hash());
        int subset = 0;
        for (uint64_t page = 0; page < 3; ++page) {
            if (byte_at(image, page) == 5) subset |= 1 << page;
        }
        subsets.insert(subset);
    }
    EXPECT_EQ(subsets.size(), 8U);
}

TEST_F(DiskTest, a_torn_write_keeps_whole_sectors_of_old_and_new) {
    EXPECT_EQ(write(2, 1), 0);
    EXPECT_EQ(flush_all(), 0);
    EXPECT_EQ(write(2, 2), 0);
    int mixed = 0;
    for (uint64_t seed = 0; seed < 100; ++seed) {
        const Image image = disk.crash_image({.keep = CrashKeep::all, .seed = seed, .tear = true});
        int fresh = 0;
        for (uint64_t sector = 0; sector < 8; ++sector) {
            const int value = byte_at(image, 2, sector * kSectorBytes);
            EXPECT_TRUE(value == 1 || value == 2);
            EXPECT_EQ(value, byte_at(image, 2, sector * kSectorBytes + 511));
            fresh += value == 2 ? 1 : 0;
        }
        mixed += fresh > 0 && fresh < 8 ? 1 : 0;
    }
    EXPECT_GT(mixed, 20);
}

TEST_F(DiskTest, overlapping_writes_land_in_order_unless_reordering_is_asked_for) {
    EXPECT_EQ(write(2, 1), 0);
    EXPECT_EQ(write(2, 2), 0);
    EXPECT_EQ(byte_at(crash(CrashKeep::all), 2), 2);
    std::set<int> values;
    for (uint64_t seed = 0; seed < 50; ++seed) {
        values.insert(
            byte_at(disk.crash_image({.keep = CrashKeep::all, .seed = seed, .reorder = true}), 2));
    }
    EXPECT_EQ(values, (std::set<int>{1, 2}));
}

TEST_F(DiskTest, kill_ends_all_requests_and_changes_nothing_more) {
    TaskGroup group(simulator);
    int written = -1;
    int flushed = -1;
    group.spawn(store(write_page(disk, 2, 2), written));
    group.spawn(store(flush(disk), flushed));
    const uint64_t before = disk.image().hash();
    disk.kill();
    EXPECT_EQ(written, -1);
    simulator.run(group.join());
    EXPECT_EQ(written, ENODEV);
    EXPECT_EQ(flushed, ENODEV);
    EXPECT_EQ(write(1, 1), ENODEV);
    EXPECT_EQ(disk.image().hash(), before);
    EXPECT_TRUE(simulator.is_idle());
    EXPECT_FALSE(disk.refresh_size().ok());
}

TEST_F(DiskTest, a_process_crash_keeps_completed_writes_which_a_later_power_loss_can_take) {
    EXPECT_EQ(write(1, 1), 0);
    TaskGroup group(simulator);
    int ignored = -1;
    group.spawn(store(write_page(disk, 2, 2), ignored));
    std::set<int> in_flight;
    for (uint64_t seed = 0; seed < 50; ++seed) {
        const Medium after = disk.process_crash(seed);
        EXPECT_EQ(byte_at(after.visible(), 1), 1);
        in_flight.insert(byte_at(after.visible(), 2));
    }
    EXPECT_EQ(in_flight, (std::set<int>{0, 2}));
    Disk next(simulator, {.latency = kInOrder}, disk.process_crash(1));
    disk.kill();
    simulator.run(group.join());
    EXPECT_EQ(simulator.run(read_page(next, 1)), 1);
    EXPECT_EQ(byte_at(next.crash_image({}), 1), 0);
    EXPECT_EQ(simulator.run(flush(next)), 0);
    EXPECT_EQ(byte_at(next.crash_image({}), 1), 1);
}

TEST_F(DiskTest, a_vanished_device_comes_back_with_older_content) {
    EXPECT_EQ(write(1, 1), 0);
    const Image old = disk.image();
    EXPECT_EQ(write(1, 2), 0);
    disk.kill();
    EXPECT_EQ(read(1), -ENODEV);
    disk.come_back(old);
    EXPECT_EQ(read(1), 1);
    disk.kill();
    disk.come_back();
    EXPECT_EQ(read(1), 1);
}

TEST_F(DiskTest, errors_strike_by_range_by_count_and_by_chance) {
    EXPECT_EQ(write(5, 5), 0);
    const FaultId sector = disk.add_fault(
        {.offset_bytes = 5 * kPageBytes + 512, .length_bytes = 512, .healed_by_write = true});
    EXPECT_EQ(read(4), 0);
    EXPECT_EQ(read(5), -EIO);
    EXPECT_EQ(read(6), 0);
    EXPECT_EQ(write(5, 6), 0);
    EXPECT_EQ(read(5), 6);
    EXPECT_EQ(disk.struck(sector), 1U);

    disk.add_fault({.op = DeviceOp::flush, .skip = 1, .count = 1, .error = ENOSPC});
    EXPECT_EQ(flush_all(), 0);
    EXPECT_EQ(flush_all(), ENOSPC);
    EXPECT_EQ(flush_all(), 0);
    disk.clear_faults();

    const FaultId rare = disk.add_fault({.chance = 0.25});
    for (int i = 0; i < 1000; ++i) read(1);
    EXPECT_NEAR(static_cast<double>(disk.struck(rare)), 250, 80);
    disk.remove_fault(rare);
    EXPECT_EQ(read(1), 0);
}

TEST_F(DiskTest, a_failed_write_leaves_old_or_new_sectors) {
    EXPECT_EQ(write(2, 1), 0);
    disk.add_fault({.op = DeviceOp::write});
    std::set<int> values;
    for (int i = 0; i < 50; ++i) {
        EXPECT_EQ(write(2, 2), EIO);
        for (uint64_t sector = 0; sector < 8; ++sector) {
            values.insert(byte_at(disk.image(), 2, sector * kSectorBytes));
        }
        disk.damage(2 * kPageBytes, std::vector<std::byte>(kPageBytes, std::byte{1}));
    }
    EXPECT_EQ(values, (std::set<int>{1, 2}));
}

TEST_F(DiskTest, after_a_failed_flush_a_good_one_does_not_make_it_durable) {
    for (uint64_t page = 0; page < 64; ++page) EXPECT_EQ(write(page, 1), 0);
    disk.add_fault({.op = DeviceOp::flush, .count = 1});
    EXPECT_EQ(flush_all(), EIO);
    EXPECT_EQ(flush_all(), 0);
    const Image image = crash(CrashKeep::all);
    int kept = 0;
    for (uint64_t page = 0; page < 64; ++page) {
        EXPECT_EQ(read(page), 1);
        kept += byte_at(image, page);
    }
    EXPECT_GT(kept, 0);
    EXPECT_LT(kept, 64);
}

TEST_F(DiskTest, bits_flip_in_transit_or_at_rest) {
    EXPECT_EQ(write(2, 0x55), 0);
    disk.add_fault({.kind = FaultKind::bit_flip, .count = 1});
    EXPECT_EQ(simulator.run(count_flipped(disk, 2, 0x55)), 1);
    EXPECT_EQ(simulator.run(count_flipped(disk, 2, 0x55)), 0);
    EXPECT_EQ(flush_all(), 0);
    disk.flip_bit(2 * kPageBytes + 17, 3);
    EXPECT_EQ(simulator.run(count_flipped(disk, 2, 0x55)), 1);
    EXPECT_EQ(byte_at(crash(CrashKeep::none), 2, 17), 0x55 ^ 8);
    disk.add_fault({.kind = FaultKind::bit_flip, .op = DeviceOp::write, .count = 1});
    EXPECT_EQ(write(3, 0x55), 0);
    EXPECT_EQ(simulator.run(count_flipped(disk, 3, 0x55)), 1);
    EXPECT_FALSE(disk.violation());
}

TEST_F(DiskTest, lost_writes_and_flushes_are_acknowledged_and_not_done) {
    disk.add_fault({.kind = FaultKind::lost, .op = DeviceOp::write, .count = 1});
    EXPECT_EQ(write(2, 2), 0);
    EXPECT_EQ(read(2), 0);
    EXPECT_EQ(byte_at(crash(CrashKeep::all), 2), 0);
    EXPECT_EQ(write(3, 3), 0);
    disk.add_fault({.kind = FaultKind::lost, .op = DeviceOp::flush, .count = 1});
    EXPECT_EQ(flush_all(), 0);
    EXPECT_EQ(byte_at(crash(CrashKeep::none), 3), 0);
    EXPECT_EQ(flush_all(), 0);
    EXPECT_EQ(byte_at(crash(CrashKeep::none), 3), 3);
}

TEST_F(DiskTest, misdirected_writes_and_reads_go_elsewhere) {
    EXPECT_EQ(write(1, 1), 0);
    disk.add_fault({.kind = FaultKind::misdirected,
                    .op = DeviceOp::write,
                    .count = 1,
                    .target_bytes = 9 * kPageBytes});
    EXPECT_EQ(write(1, 2), 0);
    EXPECT_EQ(read(1), 1);
    EXPECT_EQ(read(9), 2);
    disk.add_fault({.kind = FaultKind::misdirected, .count = 1, .target_bytes = 9 * kPageBytes});
    EXPECT_EQ(read(1), 2);
    EXPECT_EQ(read(1), 1);
    disk.add_fault({.kind = FaultKind::misdirected, .op = DeviceOp::write, .count = 100});
    for (int i = 0; i < 100; ++i) EXPECT_EQ(write(200, 3), 0);
    EXPECT_EQ(byte_at(disk.image(), 200), 0);
}

TEST_F(DiskTest, a_stale_read_returns_what_stood_there_earlier) {
    EXPECT_EQ(write(1, 1), 0);
    disk.keep_stale(disk.image());
    EXPECT_EQ(write(1, 2), 0);
    disk.add_fault({.kind = FaultKind::stale, .count = 1});
    EXPECT_EQ(read(1), 1);
    EXPECT_EQ(read(1), 2);
}

TEST_F(DiskTest, a_delayed_operation_holds_up_no_other) {
    disk.add_fault({.kind = FaultKind::delay, .op = DeviceOp::write, .count = 1});
    TaskGroup group(simulator);
    int delayed = -1;
    group.spawn(store(write_page(disk, 1, 1), delayed));
    EXPECT_EQ(write(2, 2), 0);
    EXPECT_EQ(flush_all(), 0);
    EXPECT_EQ(delayed, -1);
    EXPECT_LT(simulator.now_ns(), Simulator::kStartNs + 1'000'000);
    simulator.run(group.join());
    EXPECT_EQ(delayed, 0);
    EXPECT_GT(simulator.now_ns(), Simulator::kStartNs + 30'000'000'000);
}

TEST_F(DiskTest, requests_beyond_the_end_fail_until_the_disk_has_grown) {
    EXPECT_EQ(write(256, 1), EIO);
    disk.resize(2 * kDiskBytes);
    EXPECT_EQ(disk.size_bytes(), kDiskBytes);
    ASSERT_TRUE(disk.refresh_size().ok());
    EXPECT_EQ(disk.size_bytes(), 2 * kDiskBytes);
    EXPECT_EQ(write(256, 1), 0);
    EXPECT_EQ(read(256), 1);
}

TEST_F(DiskTest, a_discard_leaves_anything_in_its_range_and_touches_nothing_else) {
    std::set<int> values;
    for (int i = 0; i < 60; ++i) {
        for (uint64_t page = 1; page <= 4; ++page) EXPECT_EQ(write(page, 1), 0);
        EXPECT_EQ(simulator.run(discard(disk, 2, 2)), 0);
        EXPECT_EQ(read(1), 1);
        EXPECT_EQ(read(4), 1);
        values.insert(read(2));
    }
    EXPECT_GT(values.size(), 2U);
    EXPECT_TRUE(values.contains(0));
    EXPECT_TRUE(values.contains(1));
}

TEST_F(DiskTest, a_buffer_that_changes_in_flight_is_a_violation) {
    AlignedBuffer buffer(kPageBytes);
    std::ranges::fill(buffer.bytes(), std::byte{1});
    Device::Awaiter request = disk.write(0, buffer.bytes());
    request.handle = std::noop_coroutine();
    disk.submit(request);
    EXPECT_FALSE(disk.violation());
    buffer.bytes()[5] = std::byte{2};
    simulator.run_until_idle();
    ASSERT_TRUE(disk.violation());
    EXPECT_EQ(*disk.violation(),
              "device disk: the buffer of a write of 4096 bytes at 0 changed while it was in "
              "flight");
}

TEST_F(DiskTest, an_observer_sees_each_write_and_flush_and_may_kill_the_disk) {
    std::vector<DiskEventKind> kinds;
    disk.add_observer([&](const DiskEvent& event) {
        kinds.push_back(event.kind);
        EXPECT_EQ(event.number, kinds.size());
        if (event.number == 6) disk.kill();
    });
    uint64_t seen_by_second = 0;
    disk.add_observer([&](const DiskEvent& event) { seen_by_second = event.number; });
    EXPECT_EQ(write(1, 1), 0);
    EXPECT_EQ(flush_all(), 0);
    EXPECT_EQ(kinds, (std::vector{DiskEventKind::write_submitted, DiskEventKind::write_completed,
                                  DiskEventKind::flush_submitted, DiskEventKind::flush_completed}));
    EXPECT_EQ(write(2, 2), 0);  // killed at its completion
    EXPECT_EQ(write(3, 3), ENODEV);
    EXPECT_EQ(kinds.size(), 6U);
    EXPECT_EQ(seen_by_second, 5U);
}

TEST_F(DiskTest, killed_at_its_submission_a_write_fails_and_its_crash_image_may_hold_it) {
    uint64_t with = 0;
    disk.add_observer([&](const DiskEvent&) {
        with = static_cast<uint64_t>(byte_at(crash(CrashKeep::all), 1));
        disk.kill();
    });
    EXPECT_EQ(write(1, 7), ENODEV);
    EXPECT_EQ(with, 7U);
    EXPECT_EQ(byte_at(disk.image(), 1), 0);
}

// Whatever the timing: what was flushed is in every crash image, and each page holds a value that
// was written to it, no older than the flushed one.
Task<void> churn(Simulator& simulator, Disk& disk, uint64_t page, std::array<int, 8>& written,
                 std::array<int, 8>& durable) {
    for (int value = 1; value <= 40; ++value) {
        written[page] = value;
        EXPECT_EQ(co_await write_page(disk, page, static_cast<unsigned>(value)), 0);
        if (simulator.random() % 3 == 0) {
            EXPECT_EQ(co_await disk.flush(), 0);
            durable[page] = value;
        }
    }
}

TEST(Disk, no_crash_loses_what_was_flushed_under_random_latencies) {
    for (uint64_t seed = 1; seed <= 30; ++seed) {
        Simulator simulator(seed);
        Disk disk(simulator, {}, Image(kDiskBytes));
        std::array<int, 8> written{};
        std::array<int, 8> durable{};
        TaskGroup group(simulator);
        for (uint64_t page = 0; page < 8; ++page) {
            group.spawn(churn(simulator, disk, page, written, durable));
        }
        while (group.running() > 0 && simulator.step()) {
            const CrashPolicy policy{.keep = static_cast<CrashKeep>(simulator.steps() % 4),
                                     .seed = simulator.steps()};
            const Image image = disk.crash_image(policy);
            for (uint64_t page = 0; page < 8; ++page) {
                const int found = byte_at(image, page);
                EXPECT_GE(found, durable[page]) << "seed " << seed;
                EXPECT_LE(found, written[page]) << "seed " << seed;
            }
        }
        simulator.run(group.join());
    }
}

}  // namespace
}  // namespace stoa::io::sim
