// The journal on simulated disks: what a scan finds after what was written, lost or damaged.
#include "dataplane/pool/journal.h"

#include <gtest/gtest.h>

#include "dataplane/pool/test_parts.h"

namespace stoa::pool {
namespace {

constexpr uint64_t kRing = TestDevices::kJournalBlocks;
constexpr size_t kOneBlock = 100;
constexpr size_t kThreeBlocks = 2 * kJournalPayloadBytes + 100;

std::vector<std::byte> payload(size_t bytes, uint64_t commit) {
    std::vector<std::byte> content(bytes);
    for (size_t i = 0; i < bytes; ++i) content[i] = static_cast<std::byte>(commit * 31 + i);
    return content;
}

class JournalTest : public ::testing::Test {
protected:
    JournalTest() {
        superblock_.generation = 1;
        superblock_.incarnation = 1;
        superblock_.cuts = {{.journal_block = 0, .incarnation = 1, .sequence = 0}};
        writer_.configure(places_, kRing);
        writer_.start(1, 0, 0, 0);
    }
    // The next commit; its content tells its number.
    void commit(size_t bytes, uint64_t proven = 0, uint64_t generation = 1) {
        const uint64_t number = writer_.last_commit() + 1;
        std::vector<std::byte> records = payload(bytes, number);
        CommitEnd end;
        end.first_sequence = number * 10;
        end.last_sequence = number * 10 + 9;
        ASSERT_EQ(parts_.simulator.run(writer_.write_commit(records, end, generation, proven)), 0);
    }
    // From now on the superblock is one that needs nothing of what was written so far.
    void checkpoint() {
        superblock_.journal_start = writer_.next_block();
        superblock_.commit = writer_.last_commit();
        writer_.advance_tail(writer_.next_block());
    }
    void damage(size_t copy, uint64_t block) {
        parts_.damage_block(places_[copy].device, places_[copy].start + block % kRing);
    }
    void damage_both(uint64_t block) {
        damage(0, block);
        damage(1, block);
    }
    JournalReader reader() {
        return {parts_.devices, parts_.checksums, superblock_, places_, kRing};
    }
    std::vector<ScannedCommit> scan(JournalReader& reader) {
        std::vector<ScannedCommit> found;
        for (;;) {
            Result<std::optional<ScannedCommit>> next = parts_.simulator.run(reader.next());
            EXPECT_TRUE(next.ok());
            if (!next.ok() || !*next) return found;
            found.push_back(**std::move(next));
        }
    }
    // Numbers of the commits that a scan finds.
    std::vector<uint64_t> scan() {
        JournalReader scanner = reader();
        std::vector<uint64_t> numbers;
        for (const ScannedCommit& commit : scan(scanner)) numbers.push_back(commit.number);
        return numbers;
    }
    uint64_t proven() {
        JournalReader scanner = reader();
        static_cast<void>(scan(scanner));
        return scanner.proven();
    }
    // Empty: none.
    std::string damage_found() {
        JournalReader scanner = reader();
        static_cast<void>(scan(scanner));
        Result<std::optional<std::string>> found = parts_.simulator.run(scanner.find_damage());
        EXPECT_TRUE(found.ok());
        return found->value_or("");
    }

    using Numbers = std::vector<uint64_t>;

    TestDevices parts_{2};
    const std::array<JournalPlace, 2> places_{
        {{0, DeviceLayout(parts_.label).journal[0]}, {1, DeviceLayout(parts_.label).journal[1]}}};
    Superblock superblock_;
    JournalWriter writer_{parts_.simulator, parts_.devices, parts_.checksums};
};

TEST_F(JournalTest, commits_come_back_in_order_with_their_content) {
    commit(kOneBlock);
    commit(kThreeBlocks);
    commit(kOneBlock);
    JournalReader scanner = reader();
    const std::vector<ScannedCommit> found = scan(scanner);
    ASSERT_EQ(found.size(), 3U);
    EXPECT_EQ(found[1].number, 2U);
    EXPECT_EQ(found[1].payload, payload(kThreeBlocks, 2));
    EXPECT_EQ(found[1].first_sequence, 20U);
    EXPECT_EQ(found[1].last_sequence, 29U);
    EXPECT_EQ(found[1].first_block, 1U);
    EXPECT_EQ(found[1].next_block, 4U);
    EXPECT_EQ(found[2].payload, payload(kOneBlock, 3));
}

TEST_F(JournalTest, what_the_superblock_covers_is_not_scanned) {
    commit(kOneBlock);
    checkpoint();
    commit(kOneBlock);
    EXPECT_EQ(scan(), Numbers{2});
}

TEST_F(JournalTest, a_commit_with_a_torn_block_ends_the_scan_as_a_whole) {
    commit(kOneBlock);
    commit(kThreeBlocks);  // blocks 1, 2, 3
    damage_both(3);
    EXPECT_EQ(scan(), Numbers{1});
}

TEST_F(JournalTest, one_copy_of_each_block_is_enough) {
    commit(kThreeBlocks);
    damage(0, 0);
    damage(1, 1);
    damage(0, 2);
    EXPECT_EQ(scan(), Numbers{1});
}

TEST_F(JournalTest, a_missing_device_leaves_one_copy_which_is_enough) {
    parts_.devices.list[0].device = nullptr;
    commit(kThreeBlocks);
    EXPECT_EQ(scan(), Numbers{1});
}

TEST_F(JournalTest, the_copy_on_a_stale_device_does_not_count) {
    commit(kOneBlock);
    damage(1, 0);
    EXPECT_EQ(scan(), Numbers{1});
    parts_.devices.list[0].stale = true;
    EXPECT_EQ(scan(), Numbers{});
}

TEST_F(JournalTest, a_commit_goes_on_at_the_start_of_the_ring) {
    for (uint64_t i = 0; i < kRing - 1; ++i) commit(kOneBlock);
    checkpoint();
    commit(kThreeBlocks);  // the last place and the first two
    JournalReader scanner = reader();
    const std::vector<ScannedCommit> found = scan(scanner);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].payload, payload(kThreeBlocks, kRing));
}

TEST_F(JournalTest, free_blocks_are_those_not_needed_since_the_tail) {
    EXPECT_EQ(writer_.free_blocks(), kRing);
    commit(kThreeBlocks);
    EXPECT_EQ(writer_.free_blocks(), kRing - 3);
    EXPECT_EQ(JournalWriter::blocks_for(kThreeBlocks), 3U);
    writer_.advance_tail(3);
    EXPECT_EQ(writer_.free_blocks(), kRing);
}

TEST_F(JournalTest, commits_of_an_older_lap_do_not_follow_new_ones) {
    for (uint64_t i = 0; i < kRing; ++i) commit(kOneBlock);
    checkpoint();
    commit(kOneBlock);
    EXPECT_EQ(scan(), Numbers{kRing + 1});
    EXPECT_EQ(damage_found(), "");
}

TEST_F(JournalTest, commits_of_an_older_incarnation_beyond_the_cut_do_not_count) {
    for (int i = 0; i < 3; ++i) commit(kOneBlock);
    // A recovery kept the first one only.
    superblock_.incarnation = 2;
    superblock_.cuts.push_back({.journal_block = 1, .incarnation = 2, .sequence = 19});
    writer_.start(2, 1, 0, 1);
    EXPECT_EQ(scan(), Numbers{1});
    EXPECT_EQ(damage_found(), "");
    commit(kOneBlock);
    EXPECT_EQ(scan(), (Numbers{1, 2}));  // the third is still that of incarnation 1
}

TEST_F(JournalTest, a_commit_proves_those_that_it_says_were_durable) {
    commit(kOneBlock);
    EXPECT_EQ(proven(), 0U);
    commit(kOneBlock, 1);
    EXPECT_EQ(proven(), 1U);
}

TEST_F(JournalTest, a_note_proves_the_last_commit_and_the_next_one_overwrites_it) {
    commit(kOneBlock);
    commit(kOneBlock, 1);
    ASSERT_EQ(parts_.simulator.run(writer_.write_proof(2, 1)), 0);
    EXPECT_EQ(scan(), (Numbers{1, 2}));
    EXPECT_EQ(proven(), 2U);
    EXPECT_EQ(damage_found(), "");
    commit(kOneBlock, 2);
    EXPECT_EQ(scan(), (Numbers{1, 2, 3}));
}

TEST_F(JournalTest, what_lies_before_the_cut_of_a_recovery_is_proven) {
    commit(kOneBlock);
    commit(kOneBlock);
    superblock_.cuts = {{.journal_block = 0, .incarnation = 1, .sequence = 0},
                        {.journal_block = 2, .incarnation = 2, .sequence = 29}};
    EXPECT_EQ(proven(), 2U);
}

TEST_F(JournalTest, an_unfinished_last_commit_is_no_damage) {
    commit(kOneBlock);
    commit(kThreeBlocks, 1);
    damage_both(2);
    EXPECT_EQ(scan(), Numbers{1});
    EXPECT_EQ(damage_found(), "");
}

TEST_F(JournalTest, a_lost_commit_before_a_later_one_is_damage) {
    commit(kOneBlock);
    commit(kOneBlock);
    commit(kOneBlock);
    damage_both(1);
    EXPECT_EQ(scan(), Numbers{1});
    EXPECT_NE(damage_found().find("commit 2 is missing"), std::string::npos);
}

TEST_F(JournalTest, a_lost_commit_that_was_proven_is_damage) {
    commit(kOneBlock);
    commit(kOneBlock);
    ASSERT_EQ(parts_.simulator.run(writer_.write_proof(2, 1)), 0);
    damage_both(1);
    EXPECT_NE(damage_found().find("proves commit 2"), std::string::npos);
}

TEST_F(JournalTest, a_block_that_names_a_newer_superblock_is_damage) {
    commit(kOneBlock);
    commit(kOneBlock, 1, 2);
    EXPECT_NE(damage_found().find("superblock generation 2"), std::string::npos);
}

TEST_F(JournalTest, a_block_of_a_newer_incarnation_is_damage) {
    writer_.start(4, 0, 0, 0);
    commit(kOneBlock);
    JournalReader scanner = reader();
    EXPECT_TRUE(scan(scanner).empty());
    Result<std::optional<std::string>> found = parts_.simulator.run(scanner.find_damage());
    ASSERT_TRUE(found.ok());
    EXPECT_TRUE(found->has_value());
    EXPECT_EQ(scanner.highest_incarnation(), 4U);
}

}  // namespace
}  // namespace stoa::pool
