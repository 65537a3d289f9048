// What every store promises, as tests that run against each of them.
//
//     INSTANTIATE_TEST_SUITE_P(Sqlite, StoreConformance, ::testing::Values(&make_sqlite));
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <boost/asio/io_context.hpp>

#include "controlplane/async/deadline.h"
#include "controlplane/async/scope.h"
#include "controlplane/state/store.h"
#include "controlplane/state/test_loop.h"

namespace stoa::state {

// An empty store, and what must outlive it.
struct StoreUnderTest {
    std::shared_ptr<void> keeps;
    std::unique_ptr<Store> store;
};
using MakeStore = StoreUnderTest (*)(asio::io_context& loop);

class StoreConformance : public ::testing::TestWithParam<MakeStore> {
protected:
    StoreConformance() : made_(GetParam()(loop_)) {}
    ~StoreConformance() override { run_on(loop_, made_.store->close()); }

    Store& store() { return *made_.store; }
    template <class T>
    Result<T> run(Async<T> task) {
        return run_on(loop_, std::move(task));
    }
    Revision put(const std::string& key, const std::string& value) {
        const auto done = run(store().txn({.compares = {}, .puts = {{key, value}}, .deletes = {}}));
        EXPECT_TRUE(done.ok()) << done.error().message();
        return *done;
    }
    std::optional<Entry> get(const std::string& key) {
        auto found = run(store().get(key));
        EXPECT_TRUE(found.ok()) << found.error().message();
        return *std::move(found);
    }
    std::vector<std::string> keys(const std::string& prefix) {
        std::vector<std::string> found;
        std::string after;
        for (;;) {
            const auto page = run(store().list(prefix, after, 3));
            EXPECT_TRUE(page.ok()) << page.error().message();
            for (const Entry& entry : page->entries) found.push_back(entry.key);
            if (!page->more) return found;
            after = found.back();
        }
    }
    std::unique_ptr<Watch> watch(const std::string& prefix, Revision after) {
        auto made = run(store().watch(prefix, after));
        EXPECT_TRUE(made.ok()) << made.error().message();
        return *std::move(made);
    }
    Result<Changes> next(Watch& watch) {
        return run(within(std::chrono::seconds(10), "the watch", watch.next()));
    }

    asio::io_context loop_;
    StoreUnderTest made_;
};

TEST_P(StoreConformance, a_value_is_read_as_it_was_put) {
    EXPECT_EQ(get("/a"), std::nullopt);
    std::string value("nul \0 and \xff", 10);
    const Revision at = put("/a", value);
    EXPECT_EQ(get("/a"), (Entry{"/a", value, at}));
    const Revision later = put("/a", "");
    EXPECT_GT(later, at);
    EXPECT_EQ(get("/a"), (Entry{"/a", "", later}));
}

TEST_P(StoreConformance, a_list_has_the_keys_of_its_prefix_in_order) {
    for (const char* key : {"/b/2", "/b", "/b/1", "/b/10", "/c", "/a", "/b/~", "/bb"})
        put(key, key);
    EXPECT_EQ(keys("/b/"), (std::vector<std::string>{"/b/1", "/b/10", "/b/2", "/b/~"}));
    EXPECT_EQ(keys("/b"), (std::vector<std::string>{"/b", "/b/1", "/b/10", "/b/2", "/b/~", "/bb"}));
    EXPECT_EQ(keys("/x"), std::vector<std::string>{});
}

TEST_P(StoreConformance, a_page_says_whether_there_is_more) {
    for (const char* key : {"/1", "/2", "/3"}) put(key, key);
    EXPECT_TRUE(run(store().list("/", "", 2))->more);
    EXPECT_FALSE(run(store().list("/", "", 3))->more);
    EXPECT_FALSE(run(store().list("/", "/2", 3))->more);
    EXPECT_EQ(run(store().list("/", "", 0)).error().code(), ErrorCode::invalid_argument);
}

TEST_P(StoreConformance, a_transaction_is_done_as_a_whole) {
    const Revision at = put("/a", "1");
    const auto done = run(store().txn({.compares = {{"/a", at}, {"/b", std::nullopt}},
                                       .puts = {{"/b", "2"}, {"/c", "3"}},
                                       .deletes = {"/a", "/never"}}));
    ASSERT_TRUE(done.ok()) << done.error().message();
    EXPECT_EQ(get("/a"), std::nullopt);
    EXPECT_EQ(get("/b"), (Entry{"/b", "2", *done}));
    EXPECT_EQ(get("/c"), (Entry{"/c", "3", *done}));
}

TEST_P(StoreConformance, a_transaction_whose_comparison_fails_does_nothing) {
    const Revision old = put("/a", "1");
    const Revision now = put("/a", "2");
    const std::vector<std::vector<Compare>> wrong = {
        {{"/a", old}}, {{"/a", std::nullopt}}, {{"/b", now}}, {{"/a", now}, {"/b", now}}};
    for (const auto& compares : wrong) {
        const auto done =
            run(store().txn({.compares = compares, .puts = {{"/c", "3"}}, .deletes = {"/a"}}));
        ASSERT_FALSE(done.ok());
        EXPECT_EQ(done.error().code(), ErrorCode::conflict);
    }
    EXPECT_EQ(get("/a")->value, "2");
    EXPECT_EQ(get("/c"), std::nullopt);
}

TEST_P(StoreConformance, of_two_that_compare_the_same_one_wins) {
    const Revision at = put("/a", "0");
    struct Racer {
        static AsyncVoid run(Store& store, Revision at, std::string value, int& won) {
            const auto done = co_await store.txn(
                {.compares = {{"/a", at}}, .puts = {{"/a", value}}, .deletes = {}});
            if (done.ok()) ++won;
            else EXPECT_EQ(done.error().code(), ErrorCode::conflict);
        }
        static AsyncVoid all(asio::io_context& loop, Store& store, Revision at, int& won) {
            Scope scope(loop.get_executor());
            for (int i = 0; i < 20; ++i) scope.spawn(run(store, at, std::to_string(i), won));
            co_await scope.join();
        }
    };
    int won = 0;
    run_on(loop_, Racer::all(loop_, store(), at, won));
    EXPECT_EQ(won, 1);
}

TEST_P(StoreConformance, what_is_beyond_a_limit_is_refused) {
    const auto refused = [this](Txn txn) {
        const auto done = run(store().txn(std::move(txn)));
        return !done.ok() && done.error().code() == ErrorCode::invalid_argument;
    };
    EXPECT_TRUE(refused({{}, {{"/a", std::string(kValueBytesMax + 1, 'x')}}, {}}));
    EXPECT_FALSE(refused({{}, {{"/a", std::string(kValueBytesMax, 'x')}}, {}}));
    EXPECT_TRUE(refused({{}, {{"", "x"}}, {}}));
    EXPECT_TRUE(refused({{}, {{"/a b", "x"}}, {}}));
    EXPECT_TRUE(refused({{}, {{"/\x7f", "x"}}, {}}));
    EXPECT_TRUE(refused({{}, {{"/a", "x"}, {"/a", "y"}}, {}}));
    EXPECT_TRUE(refused({{}, {{"/a", "x"}}, {"/a"}}));
    Txn many;
    for (size_t i = 0; i < kTxnOperationsMax; ++i)
        many.puts.push_back({fmt::format("/{}", i), "x"});
    EXPECT_FALSE(refused(many));
    many.deletes.emplace_back("/one more");
    EXPECT_TRUE(refused(many));
}

TEST_P(StoreConformance, a_watch_shows_what_comes_after_its_beginning) {
    put("/a/1", "before");
    const Revision from = put("/x", "y");
    const auto seen = watch("/a/", from);
    const Revision first = *run(store().txn(
        {.compares = {}, .puts = {{"/a/2", "b"}, {"/a/1", "a"}, {"/x", "z"}}, .deletes = {}}));
    put("/x", "not watched");
    const Revision second = *run(store().txn({.compares = {}, .puts = {}, .deletes = {"/a/1"}}));
    EXPECT_EQ(*next(*seen), (Changes{first, {{"/a/1", "a"}, {"/a/2", "b"}}}));
    EXPECT_EQ(*next(*seen), (Changes{second, {{"/a/1", std::nullopt}}}));
}

TEST_P(StoreConformance, a_watch_may_begin_in_the_past) {
    const Revision from = put("/a", "0");
    const Revision first = put("/a", "1");
    const auto seen = watch("/", from);
    const Revision second = put("/a", "2");
    EXPECT_EQ(*next(*seen), (Changes{first, {{"/a", "1"}}}));
    EXPECT_EQ(*next(*seen), (Changes{second, {{"/a", "2"}}}));
}

TEST_P(StoreConformance, a_watch_waits_until_it_is_cancelled) {
    const auto seen = watch("/", put("/a", "0"));
    const auto none = run(within(std::chrono::milliseconds(30), "the watch", seen->next()));
    ASSERT_FALSE(none.ok());
    EXPECT_EQ(none.error().code(), ErrorCode::timeout);
    const Revision at = put("/a", "1");
    EXPECT_EQ(*next(*seen), (Changes{at, {{"/a", "1"}}}));
}

TEST_P(StoreConformance, deleting_what_is_not_there_is_seen_by_nobody) {
    const Revision from = put("/a", "0");
    const auto seen = watch("/", from);
    ASSERT_TRUE(run(store().txn({.compares = {}, .puts = {}, .deletes = {"/b"}})).ok());
    const Revision at = put("/a", "1");
    EXPECT_EQ(*next(*seen), (Changes{at, {{"/a", "1"}}}));
}

}  // namespace stoa::state
