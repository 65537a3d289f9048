#include "dataplane/io/sim/write_once_oracle.h"

#include <gtest/gtest.h>

namespace stoa::io::sim {
namespace {

// Page 0 is the superblock, page 1 a fixed place, the rest is written once in a period.
WriteOnceOracle::Place classify(const Disk&, uint64_t offset_bytes) {
    if (offset_bytes == 0) return WriteOnceOracle::Place::superblock;
    if (offset_bytes == kPageBytes) return WriteOnceOracle::Place::fixed;
    return WriteOnceOracle::Place::once;
}

Task<void> write(Disk& disk, uint64_t page, unsigned value) {
    AlignedBuffer buffer(kPageBytes);
    std::ranges::fill(buffer.bytes(), static_cast<std::byte>(value));
    co_await disk.write(page * kPageBytes, buffer.bytes());
}

Task<void> flush(Disk& disk) { co_await disk.flush(); }

class WriteOnceOracleTest : public testing::Test {
protected:
    WriteOnceOracleTest()
        : simulator(5), first(simulator, {.name = "first"}, Image(64 * kPageBytes)),
          second(simulator, {.name = "second"}, Image(64 * kPageBytes)), oracle(classify) {
        oracle.watch(first);
        oracle.watch(second);
    }

    void put(Disk& disk, uint64_t page, unsigned value) { simulator.run(write(disk, page, value)); }
    void sync(Disk& disk) { simulator.run(flush(disk)); }

    Simulator simulator;
    Disk first;
    Disk second;
    WriteOnceOracle oracle;
};

TEST_F(WriteOnceOracleTest, a_second_write_in_one_period_is_a_breach) {
    put(first, 5, 1);
    put(second, 5, 2);
    put(first, 1, 1);
    put(first, 1, 2);
    put(first, 5, 1);  // the same content again: a repair
    EXPECT_FALSE(oracle.violation());
    put(first, 5, 3);
    ASSERT_TRUE(oracle.violation());
    EXPECT_NE(oracle.violation()->find("device first: block 5 is written twice"),
              std::string::npos);
}

TEST_F(WriteOnceOracleTest, a_durable_superblock_begins_a_period_and_one_that_is_not_does_not) {
    put(first, 5, 1);
    put(first, 0, 1);
    EXPECT_EQ(oracle.periods(), 0U);
    sync(second);
    EXPECT_EQ(oracle.periods(), 0U);
    sync(first);
    EXPECT_EQ(oracle.periods(), 1U);
    put(first, 5, 2);
    EXPECT_FALSE(oracle.violation());
    put(first, 0, 2);
    put(first, 5, 3);  // before the flush
    EXPECT_TRUE(oracle.violation());
}

TEST_F(WriteOnceOracleTest, the_superblock_must_be_durable_on_every_disk_it_was_written_to) {
    put(first, 5, 1);
    put(first, 0, 1);
    put(second, 0, 1);
    sync(first);
    EXPECT_EQ(oracle.periods(), 0U);
    sync(second);
    EXPECT_EQ(oracle.periods(), 1U);
    put(first, 5, 2);
    EXPECT_FALSE(oracle.violation());
}

TEST_F(WriteOnceOracleTest, failed_and_lost_flushes_and_failed_superblocks_begin_no_period) {
    put(first, 0, 1);
    first.add_fault({.kind = FaultKind::lost, .op = DeviceOp::flush, .count = 1});
    sync(first);
    EXPECT_EQ(oracle.periods(), 0U);
    first.add_fault({.op = DeviceOp::flush, .count = 1});
    sync(first);
    EXPECT_EQ(oracle.periods(), 0U);
    sync(first);
    EXPECT_EQ(oracle.periods(), 1U);
    first.add_fault({.op = DeviceOp::write, .count = 1});
    put(first, 0, 2);
    sync(first);
    EXPECT_EQ(oracle.periods(), 1U);
}

TEST_F(WriteOnceOracleTest, a_crash_begins_anew) {
    put(first, 5, 1);
    put(first, 0, 1);
    oracle.reset();
    put(first, 5, 2);
    EXPECT_FALSE(oracle.violation());
    put(first, 5, 3);
    EXPECT_TRUE(oracle.violation());
}

}  // namespace
}  // namespace stoa::io::sim
