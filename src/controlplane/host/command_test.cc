// Commands that end, fail, hang and fork; nftables in a network namespace of the test's own.
#include "controlplane/host/command.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "controlplane/async/deadline.h"
#include "controlplane/host/files.h"
#include "controlplane/host/firewall.h"
#include "controlplane/host/test_host.h"

using namespace stoa;
using namespace stoa::host;

namespace {

class CommandTest : public testing::Test {
protected:
    Result<CommandResult> shell(const std::string& script, std::string input = "",
                                std::chrono::milliseconds limit = std::chrono::seconds(10),
                                size_t output_bytes_max = 1000) {
        return run(loop_, run_command({.program = "sh",
                                       .arguments = {"-c", script},
                                       .input = std::move(input),
                                       .limit = limit,
                                       .output_bytes_max = output_bytes_max}));
    }
    TestDirectory directory_;
    asio::io_context loop_;
};

}  // namespace

TEST_F(CommandTest, output_errors_and_codes_are_told) {
    auto result = shell("cat; echo no >&2; exit 3", "input");
    ASSERT_TRUE(result.ok()) << result.error().message();
    EXPECT_EQ(result->code, 3);
    EXPECT_EQ(result->output, "input");
    EXPECT_EQ(result->error_output, "no\n");
    EXPECT_EQ(shell("kill -9 $$")->signal, SIGKILL);
    const auto failed = run(
        loop_, run_successfully({.program = "sh", .arguments = {"-c", "echo why >&2; exit 4"}}));
    EXPECT_EQ(failed.error().message(), "sh: exit code 4: why");
    EXPECT_EQ(run(loop_, run_command({.program = "no-such-program"})).error().code(),
              ErrorCode::not_found);
    EXPECT_FALSE(find_program("../bin/sh"));
    EXPECT_TRUE(find_program("sh"));
}

TEST_F(CommandTest, much_input_and_output_do_not_block_each_other) {
    auto result = shell("cat", std::string(3'000'000, 'x'), std::chrono::seconds(20), 4'000'000);
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->output.size(), 3'000'000U);
    EXPECT_FALSE(result->output_cut);
    // It does not read, and prints more than anybody wants.
    result = shell("head -c 2000000 /dev/zero", std::string(3'000'000, 'x'));
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->code, 0);
    EXPECT_EQ(result->output.size(), 1000U);
    EXPECT_TRUE(result->output_cut);
}

TEST_F(CommandTest, what_is_late_is_killed_with_all_it_started) {
    const std::string pids = directory_.file("pids");
    const auto result =
        shell("sleep 100 & echo $! > " + pids + "; wait", "", std::chrono::milliseconds(300));
    EXPECT_EQ(result.error().code(), ErrorCode::timeout);
    const auto pid = read_file(pids, 100);
    ASSERT_TRUE(pid.ok());
    EXPECT_TRUE(eventually([&] {
        return !std::filesystem::exists("/proc/" + std::to_string(std::stoi(*pid)) + "/exe");
    }));
    EXPECT_LT(::waitpid(-1, nullptr, WNOHANG), 0) << "a child is left";
}

TEST_F(CommandTest, a_cancelled_caller_leaves_nothing_running) {
    const std::string pids = directory_.file("pids");
    const auto result =
        run(loop_, within(std::chrono::milliseconds(300), "it",
                          run_command({.program = "sh",
                                       .arguments = {"-c", "echo $$ > " + pids + "; sleep 100"}})));
    EXPECT_EQ(result.error().code(), ErrorCode::timeout);
    const auto pid = read_file(pids, 100);
    ASSERT_TRUE(pid.ok());
    EXPECT_FALSE(std::filesystem::exists("/proc/" + std::to_string(std::stoi(*pid)) + "/exe"));
    EXPECT_LT(::waitpid(-1, nullptr, WNOHANG), 0);
}

TEST_F(CommandTest, what_it_leaves_behind_is_not_waited_for) {
    const auto begun = std::chrono::steady_clock::now();
    const auto result = shell("sleep 100 & echo done");
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->output, "done\n");
    EXPECT_LT(std::chrono::steady_clock::now() - begun, std::chrono::seconds(5));
}

TEST_F(CommandTest, it_inherits_neither_descriptors_nor_environment) {
    const int leaked = ::open("/etc/passwd", O_RDONLY);  // without close-on-exec
    ::setenv("COMMAND_TEST", "secret", 1);
    const auto result = shell("ls /proc/$$/fd; env | grep -c COMMAND; echo $LC_ALL");
    ::close(leaked);
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->output, "0\n1\n2\n0\nC\n");
}

TEST_F(CommandTest, many_commands_leave_no_descriptor) {
    static_cast<void>(shell("true").ok());
    const size_t before = list_directory("/proc/self/fd")->size();
    for (int i = 0; i < 10; ++i) static_cast<void>(shell("true").ok());
    EXPECT_EQ(list_directory("/proc/self/fd")->size(), before);
}

TEST_F(CommandTest, tables_are_replaced_as_a_whole) {
    if (!find_program("nft")) GTEST_SKIP() << "nft is not installed";
    bool entered = false;
    std::thread([&] {
        entered = ::unshare(CLONE_NEWNET) == 0;
        if (!entered) return;
        asio::io_context loop;
        const TableName table{.family = "inet", .name = "stoa_1a2b3c4d"};
        const std::string chain =
            "chain forward {\ntype filter hook forward priority 0\npolicy accept\n}";
        auto replaced = run(loop, replace_table(table, chain));
        ASSERT_TRUE(replaced.ok()) << replaced.error().message();
        // The old chains are gone, nothing is added to them.
        ASSERT_TRUE(run(loop, replace_table(table, "chain other {\n}")).ok());
        const auto listing =
            run(loop, run_successfully({.program = "nft", .arguments = {"list", "ruleset"}}));
        ASSERT_TRUE(listing.ok());
        EXPECT_TRUE(listing->contains("chain other"));
        EXPECT_FALSE(listing->contains("chain forward"));
        // What nft refuses changes nothing.
        const auto refused = run(loop, replace_table(table, "chain broken {\nnonsense\n}"));
        EXPECT_EQ(refused.error().code(), ErrorCode::invalid_argument);
        EXPECT_TRUE(refused.error().message().contains("nonsense")) << refused.error().message();
        EXPECT_FALSE(run(loop, check_table(table, "chain x {\nnonsense\n}")).ok());
        EXPECT_TRUE(run(loop, check_table(table, "chain x {\n}")).ok());
        EXPECT_EQ(*run(loop, list_tables()), std::vector<TableName>{table});
        EXPECT_EQ(run(loop, replace_table({.family = "inet", .name = "a; flush ruleset"}, ""))
                      .error()
                      .code(),
                  ErrorCode::invalid_argument);
        // A foreign table that drops.
        ASSERT_TRUE(run(loop, replace_table({.family = "ip", .name = "filter"},
                                            "chain FORWARD {\ntype filter hook forward priority 0\n"
                                            "policy drop\n}\nchain DOCKER {\n}"))
                        .ok());
        const auto drops = run(loop, forward_drops());
        ASSERT_TRUE(drops.ok()) << drops.error().message();
        ASSERT_EQ(drops->size(), 1U);
        EXPECT_EQ(drops->front().owner, "Docker");
        EXPECT_EQ(drops->front().chain, "FORWARD");
        ASSERT_TRUE(run(loop, delete_table(table)).ok());
        EXPECT_TRUE(run(loop, delete_table(table)).ok()) << "again";
        EXPECT_EQ(run(loop, list_tables())->size(), 1U);
    }).join();
    if (!entered) GTEST_SKIP() << "needs root, for a network namespace";
}
