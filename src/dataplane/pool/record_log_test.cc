// The ring of acknowledged records: what a new process finds in the memory of one that died.
#include "dataplane/pool/record_log.h"

#include <gtest/gtest.h>

#include "dataplane/io/sim/shared_memory.h"

namespace stoa::pool {
namespace {

constexpr size_t kCapacity = 8192;
constexpr uint64_t kIncarnation = 3;
constexpr size_t kHeadAt = 40;  // docs/format/pool.md, "Acknowledged-write ring"

std::vector<std::byte> record(size_t bytes, int value) {
    return std::vector<std::byte>(bytes, static_cast<std::byte>(value));
}

class RecordLogTest : public ::testing::Test {
protected:
    RecordLogTest() { log_.start(pool_, kIncarnation, 10); }
    // What a process that starts now would find.
    RecordLog::Leftover leftover() {
        io::sim::SharedMemory memory(memory_.snapshot());
        return RecordLog(&memory, 0, checksums_).leftover(pool_, kIncarnation);
    }
    std::byte* ring() { return memory_.bytes().data() + RecordLog::kHeaderBytes; }

    const Uuid pool_ = Uuid::from_random(1, 2);
    const Checksums checksums_{pool_};
    io::sim::SharedMemory memory_{RecordLog::kHeaderBytes + kCapacity};
    RecordLog log_{&memory_, 0, checksums_};
};

TEST_F(RecordLogTest, records_survive_the_death_of_the_process) {
    log_.append(record(100, 1));
    log_.append(record(33, 2));
    const RecordLog::Leftover left = leftover();
    ASSERT_TRUE(left.present);
    EXPECT_EQ(left.first_sequence, 10U);
    ASSERT_EQ(left.records.size(), 2U);
    EXPECT_EQ(left.records[0], record(100, 1));
    EXPECT_EQ(left.records[1], record(33, 2));
    EXPECT_EQ(log_.last_sequence(), 11U);
}

TEST_F(RecordLogTest, fresh_memory_holds_nothing) {
    io::sim::SharedMemory fresh(RecordLog::kHeaderBytes + kCapacity);
    EXPECT_FALSE(RecordLog(&fresh, 0, checksums_).leftover(pool_, kIncarnation).present);
    EXPECT_FALSE(RecordLog(&fresh, 0, checksums_).leftover(Uuid{}, 0).present);
}

TEST_F(RecordLogTest, the_ring_of_another_pool_or_incarnation_is_not_ours) {
    log_.append(record(100, 1));
    EXPECT_TRUE(log_.leftover(pool_, kIncarnation).present);
    EXPECT_FALSE(log_.leftover(Uuid::from_random(1, 3), kIncarnation).present);
    EXPECT_FALSE(log_.leftover(pool_, kIncarnation - 1).present);
    EXPECT_FALSE(log_.leftover(pool_, kIncarnation + 1).present);
}

TEST_F(RecordLogTest, starting_again_forgets_what_was_there) {
    log_.append(record(100, 1));
    log_.start(pool_, kIncarnation, 20);
    EXPECT_TRUE(leftover().records.empty());
    log_.append(record(50, 2));
    EXPECT_EQ(leftover().first_sequence, 20U);
    EXPECT_EQ(leftover().records.size(), 1U);
}

TEST_F(RecordLogTest, a_death_before_the_record_is_published_leaves_those_before_it) {
    log_.append(record(100, 1));
    const auto head = load_le<uint64_t>(memory_.bytes().data() + kHeadAt);
    log_.append(record(100, 2));
    store_le(memory_.bytes().data() + kHeadAt, head);
    EXPECT_EQ(leftover().records.size(), 1U);
}

TEST_F(RecordLogTest, a_damaged_record_ends_what_is_left) {
    for (int i = 0; i < 3; ++i) log_.append(record(100, i));
    ring()[100 + 2 * RecordLog::kFrameBytes + 50] ^= std::byte{1};
    const RecordLog::Leftover left = leftover();
    EXPECT_TRUE(left.present);
    EXPECT_EQ(left.records.size(), 1U);
}

TEST_F(RecordLogTest, a_length_beyond_the_head_ends_what_is_left) {
    log_.append(record(100, 1));
    log_.append(record(100, 2));
    store_le(ring() + 100 + RecordLog::kFrameBytes, uint32_t{101});
    EXPECT_EQ(leftover().records.size(), 1U);
}

TEST_F(RecordLogTest, a_header_that_was_half_written_belongs_to_nobody) {
    log_.append(record(100, 1));
    for (const size_t at : {0U, 12U, 24U, 32U}) {  // magic, pool, incarnation, capacity
        memory_.bytes()[at] ^= std::byte{1};
        EXPECT_FALSE(leftover().present) << "byte " << at;
        memory_.bytes()[at] ^= std::byte{1};
    }
    EXPECT_TRUE(leftover().present);
}

TEST_F(RecordLogTest, trimmed_records_do_not_come_back) {
    log_.append(record(100, 1));
    const uint64_t position = log_.head();
    log_.append(record(100, 2));
    log_.trim(position);
    const RecordLog::Leftover left = leftover();
    EXPECT_EQ(left.first_sequence, 11U);
    ASSERT_EQ(left.records.size(), 1U);
    EXPECT_EQ(left.records[0], record(100, 2));
}

TEST_F(RecordLogTest, is_full_until_it_is_trimmed) {
    constexpr size_t kHalf = kCapacity / 2 - RecordLog::kFrameBytes;
    log_.append(record(kHalf, 1));
    const uint64_t position = log_.head();
    EXPECT_FALSE(log_.fits(kHalf + 1));
    ASSERT_TRUE(log_.fits(kHalf));
    log_.append(record(kHalf, 2));
    EXPECT_FALSE(log_.fits(1));
    EXPECT_EQ(leftover().records.size(), 2U);
    log_.trim(position);
    EXPECT_TRUE(log_.fits(kHalf));
}

TEST_F(RecordLogTest, records_go_on_at_the_start_of_the_ring) {
    log_.append(record(5000, 1));
    log_.trim(log_.head());
    log_.append(record(5000, 2));
    const RecordLog::Leftover left = leftover();
    ASSERT_EQ(left.records.size(), 1U);
    EXPECT_EQ(left.records[0], record(5000, 2));
}

TEST_F(RecordLogTest, copies_out_whole_records_and_at_least_one) {
    for (int i = 1; i <= 3; ++i) log_.append(record(100, i));
    uint64_t position = log_.tail();
    std::vector<std::byte> out;
    EXPECT_EQ(log_.copy_out(position, 10, out), 1U);
    EXPECT_EQ(out, record(100, 1));
    EXPECT_EQ(log_.copy_out(position, 250, out), 2U);
    EXPECT_EQ(out.size(), 300U);
    EXPECT_EQ(position, log_.head());
    EXPECT_EQ(log_.copy_out(position, 250, out), 0U);
}

TEST_F(RecordLogTest, without_shared_memory_it_is_a_ring_of_its_own) {
    RecordLog alone(nullptr, 4096, checksums_);
    EXPECT_EQ(alone.capacity(), 4096U);
    alone.start(pool_, kIncarnation, 1);
    alone.append(record(100, 1));
    EXPECT_EQ(alone.leftover(pool_, kIncarnation).records.size(), 1U);
}

}  // namespace
}  // namespace stoa::pool
