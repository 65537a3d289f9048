// What SqliteStore answered survives the death of its process, and nothing is there by half.
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/check.h"
#include "controlplane/state/sqlite_store.h"
#include "controlplane/state/test_directory.h"
#include "controlplane/state/test_loop.h"

namespace stoa::state {
namespace {

SqliteOptions options_in(const TestDirectory& directory) {
    SqliteOptions options;
    options.path = directory.file("state.db");
    options.new_uuid = [] { return Uuid::from_random(1, 1); };
    options.changes_kept = 20;  // so that some are forgotten meanwhile
    return options;
}

// Puts the same number under three keys, again and again, and tells each number that is answered.
AsyncVoid count(asio::any_io_executor executor, SqliteOptions options, int64_t from, int tells) {
    auto store = co_await SqliteStore::open(executor, std::move(options));
    CHECK(store.ok());
    for (int64_t number = from;; ++number) {
        const std::string text = fmt::format("{}", number);
        Txn txn;
        txn.puts = {{"/a", text}, {"/b", text + std::string(5000, 'x')}, {"/c", text}};
        CHECK((co_await (*store)->txn(std::move(txn))).ok());
        // tidy: allow syscall: what is told must be told before the process dies
        CHECK(::write(tells, &number, sizeof number) == sizeof number);
    }
}

// The last number that a process told before it was killed.
int64_t count_and_die(const TestDirectory& directory, int64_t from, int transactions) {
    std::array<int, 2> ends{};
    CHECK(pipe(ends.data()) == 0);
    // tidy: allow syscall: the point of this test is a process that dies
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        asio::io_context loop;
        run_on(loop, count(loop.get_executor(), options_in(directory), from, ends[1]));
    }
    close(ends[1]);
    int64_t last = from - 1;
    // tidy: allow syscall: the other end of the pipe
    while (::read(ends[0], &last, sizeof last) == sizeof last) {
        if (last >= from + transactions) CHECK(kill(child, SIGKILL) == 0);
    }
    close(ends[0]);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) << status;
    return last;
}

TEST(SqliteKillTest, what_was_answered_survives_the_death_of_the_process_as_a_whole) {
    const TestDirectory directory;
    int64_t number = 0;
    for (const int transactions : {1, 7, 23, 40}) {
        const int64_t told = count_and_die(directory, number + 1, transactions);
        asio::io_context loop;
        auto store = run_on(loop, SqliteStore::open(loop.get_executor(), options_in(directory)));
        ASSERT_TRUE(store.ok()) << store.error().message();
        const auto a = run_on(loop, (*store)->get("/a"));
        const auto b = run_on(loop, (*store)->get("/b"));
        const auto c = run_on(loop, (*store)->get("/c"));
        ASSERT_TRUE(a.ok() && *a && b.ok() && *b && c.ok() && *c);
        number = std::stoll((*a)->value);
        // One more may have been done than was told.
        EXPECT_TRUE(number == told || number == told + 1) << number << " and " << told;
        EXPECT_EQ((*b)->value, (*a)->value + std::string(5000, 'x'));
        EXPECT_EQ((*c)->value, (*a)->value);
        EXPECT_EQ((*c)->revision, (*a)->revision);
        EXPECT_EQ((*a)->revision.number, number);
        run_on(loop, (*store)->close());
    }
}

}  // namespace
}  // namespace stoa::state
