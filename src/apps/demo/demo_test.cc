// The tour ends well and leaves nothing behind, also when it fails; its judge of crashes sees what
// is wrong.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "apps/demo/content.h"
#include "apps/demo/history.h"
#include "apps/demo/process.h"

namespace stoa::apps::demo {
namespace {

Event write_event(EventKind kind, uint64_t version, uint64_t first, uint32_t blocks) {
    return {kind, blocks, first, version};
}

// Four blocks; 1 writes 0-1, 2 writes 2, a flush of both, 3 writes 0, 4 writes 3; 5 is in flight
// on block 2.
History crashed_history() {
    using enum EventKind;
    History history(4);
    for (const Event& event :
         {write_event(write_started, 1, 0, 2), write_event(write_acknowledged, 1, 0, 2),
          write_event(write_started, 2, 2, 1), write_event(write_acknowledged, 2, 2, 1),
          Event{flush_started, 0, 0, 1}, Event{flush_acknowledged, 0, 0, 1},
          write_event(write_started, 3, 0, 1), write_event(write_acknowledged, 3, 0, 1),
          write_event(write_started, 4, 3, 1), write_event(write_started, 5, 2, 1),
          write_event(write_acknowledged, 4, 3, 1)}) {
        history.add(event);
    }
    return history;
}

TEST(History, accepts_everything_acknowledged_with_or_without_what_was_in_flight) {
    const Verdict without = crashed_history().judge({3, 1, 2, 4}, Crash::process);
    EXPECT_EQ(without.fault_count, 0u);
    EXPECT_EQ(without.acknowledged, 4u);
    EXPECT_EQ(without.unflushed, 2u);
    EXPECT_EQ(without.in_flight, 1u);
    EXPECT_EQ(without.lost, 0u);
    EXPECT_EQ(crashed_history().judge({3, 1, 5, 4}, Crash::process).fault_count, 0u);
}

TEST(History, misses_what_a_killed_process_had_acknowledged) {
    EXPECT_EQ(crashed_history().judge({1, 1, 2, 4}, Crash::process).fault_count, 1u);
    EXPECT_EQ(crashed_history().judge({3, 1, 2, 0}, Crash::process).fault_count, 1u);
}

TEST(History, lets_a_host_lose_the_unflushed_but_nothing_flushed) {
    const Verdict verdict = crashed_history().judge({1, 1, 2, 0}, Crash::host);
    EXPECT_EQ(verdict.fault_count, 0u);
    EXPECT_EQ(verdict.lost, 2u);
    EXPECT_EQ(crashed_history().judge({1, 0, 2, 0}, Crash::host).fault_count, 1u);
    EXPECT_EQ(crashed_history().judge({0, 0, 2, 0}, Crash::host).fault_count, 2u);
}

TEST(History, wants_one_cut_after_the_host_died) {
    // 4 began after 3 was acknowledged: it cannot be there without 3.
    EXPECT_EQ(crashed_history().judge({1, 1, 2, 4}, Crash::host).fault_count, 1u);
    EXPECT_EQ(crashed_history().judge({3, 1, 2, 0}, Crash::host).fault_count, 0u);
}

TEST(History, sees_torn_and_foreign_blocks) {
    EXPECT_EQ(crashed_history().judge({3, 1, std::nullopt, 4}, Crash::host).fault_count, 1u);
    EXPECT_EQ(crashed_history().judge({3, 1, 4, 4}, Crash::host).fault_count, 1u);
    EXPECT_EQ(crashed_history().judge({3, 1, 77, 4}, Crash::host).fault_count, 1u);
}

TEST(Content, a_block_is_one_version_of_one_place) {
    AlignedBuffer block(kBlockBytes);
    fill_block(7, 3, block.bytes());
    EXPECT_EQ(version_of(7, block.bytes()), 3u);
    EXPECT_EQ(version_of(8, block.bytes()), std::nullopt);
    block.bytes()[4'000] ^= std::byte{1};
    EXPECT_EQ(version_of(7, block.bytes()), std::nullopt);
    fill_block(7, 0, block.bytes());
    EXPECT_EQ(version_of(7, block.bytes()), 0u);
}

TEST(Content, a_ledger_knows_what_was_written_and_what_differs) {
    Ledger ledger(8 * kBlockBytes);
    const Ledger before = ledger;
    AlignedBuffer block(kBlockBytes);
    fill_block(2, 1, block.bytes());
    ledger.wrote(2, block.bytes());
    EXPECT_TRUE(ledger.holds(2, block.bytes()));
    EXPECT_FALSE(before.holds(2, block.bytes()));
    EXPECT_EQ(ledger.differences(before), std::vector<uint64_t>{2});
    ledger.zeroed(0, 8);
    EXPECT_TRUE(ledger.differences(before).empty());
}

// Runs stoa-demo with a TMPDIR of its own.
class StoaDemo : public testing::Test {
protected:
    void SetUp() override {
        if (std::getenv("STOA_PROGRAM") == nullptr) GTEST_SKIP() << "STOA_PROGRAM is not set";
        std::string folder = (std::filesystem::temp_directory_path() / "stoa-XXXXXX").string();
        ASSERT_NE(mkdtemp(folder.data()), nullptr);
        folder_ = folder;
    }
    void TearDown() override {
        if (!folder_.empty()) std::filesystem::remove_all(folder_);
    }
    Finished run(const std::vector<std::string>& arguments) {
        std::vector<std::string> words{"/usr/bin/env", "TMPDIR=" + folder_.string(),
                                       std::getenv("STOA_PROGRAM")};
        words.insert(words.end(), arguments.begin(), arguments.end());
        auto finished = run_program(words);
        EXPECT_TRUE(finished.ok());
        return finished.ok() ? *finished : Finished{.exit_code = -1, .output = ""};
    }
    // The folder of the tour, as its first line names it, gave its name to the shared memory.
    [[nodiscard]] bool leaves_nothing(const std::string& output) const {
        const size_t at = output.find("/stoa-demo-");
        if (at == std::string::npos || !std::filesystem::is_empty(folder_)) return false;
        const std::string name = output.substr(at + 1, std::string("stoa-demo-XXXXXX").size());
        for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
            if (entry.path().filename().string().starts_with(name)) return false;
        }
        return true;
    }

    std::filesystem::path folder_;
};

TEST_F(StoaDemo, shows_everything_and_leaves_nothing_behind) {
    const Finished tour = run({});
    EXPECT_EQ(tour.exit_code, 0) << tour.output;
    EXPECT_NE(tour.output.find("The tour is over"), std::string::npos);
    EXPECT_TRUE(leaves_nothing(tour.output));
}

TEST_F(StoaDemo, output_that_nobody_takes_ends_it_and_leaves_nothing_behind) {
    const std::string line = std::string(std::getenv("STOA_PROGRAM")) + " ";
    for (const char* arguments : {"", "--help", "--version"}) {
        auto finished = run_program({"/usr/bin/env", "TMPDIR=" + folder_.string(), "/bin/sh", "-c",
                                     line + arguments + " >/dev/full"});
        ASSERT_TRUE(finished.ok());
        EXPECT_EQ(finished->exit_code, 1) << arguments;
        EXPECT_NE(finished->output.find("the output cannot be written"), std::string::npos);
        EXPECT_TRUE(std::filesystem::is_empty(folder_));
    }
    EXPECT_EQ(run({"--version"}).output.find("stoa-demo "), 0U);
}

TEST_F(StoaDemo, a_failed_check_ends_it_with_its_reason_and_leaves_nothing_behind) {
    const Finished tour = run({"--tool", "/bin/false"});
    EXPECT_EQ(tour.exit_code, 1);
    EXPECT_NE(tour.output.find("stoa-demo: FAILED: expected that exit code 0; seen: 1 from: "
                               "stoa-pool create"),
              std::string::npos)
        << tour.output;
    EXPECT_TRUE(leaves_nothing(tour.output));
}

}  // namespace
}  // namespace stoa::apps::demo
