#include "controlplane/state/sqlite_store.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "controlplane/state/test_directory.h"
#include "controlplane/state/test_loop.h"

namespace stoa::state {
namespace {

Uuid numbered(uint64_t number) { return Uuid::from_random(number, number); }

SqliteOptions options_for(const std::string& path) {
    SqliteOptions options;
    options.path = path;
    options.new_uuid = [] { return numbered(1); };
    return options;
}

class SqliteStoreTest : public ::testing::Test {
protected:
    ~SqliteStoreTest() override { close(); }

    Result<void> open(SqliteOptions options) {
        auto made = run_on(loop_, SqliteStore::open(loop_.get_executor(), std::move(options)));
        if (!made.ok()) return made.take_error();
        store_ = *std::move(made);
        return {};
    }
    Result<void> open() { return open(options_for(path_)); }
    void close() {
        if (store_) run_on(loop_, store_->close());
        store_.reset();
    }
    Result<Revision> put(const std::string& key, const std::string& value) {
        return run_on(loop_, store_->txn({.compares = {}, .puts = {{key, value}}, .deletes = {}}));
    }
    std::string get(const std::string& key) {
        const auto entry = run_on(loop_, store_->get(key));
        return entry.ok() && *entry ? (*entry)->value : "(none)";
    }

    asio::io_context loop_;
    TestDirectory directory_;
    std::string path_ = directory_.file("state.db");
    std::unique_ptr<SqliteStore> store_;
};

TEST_F(SqliteStoreTest, what_was_put_is_there_after_it_is_opened_again) {
    ASSERT_TRUE(open().ok());
    const Revision at = *put("/a", "1");
    const Uuid epoch = store_->epoch();
    close();
    ASSERT_TRUE(open().ok());
    EXPECT_EQ(get("/a"), "1");
    EXPECT_EQ(store_->epoch(), epoch);
    EXPECT_GT(*put("/a", "2"), at);
}

TEST_F(SqliteStoreTest, a_second_process_is_refused) {
    ASSERT_TRUE(open().ok());
    auto other = run_on(loop_, SqliteStore::open(loop_.get_executor(), options_for(path_)));
    ASSERT_FALSE(other.ok());
    EXPECT_EQ(other.error().code(), ErrorCode::busy) << other.error().message();
}

TEST_F(SqliteStoreTest, a_watch_from_too_long_ago_is_told_to_begin_anew) {
    SqliteOptions options = options_for(path_);
    options.changes_kept = 10;
    ASSERT_TRUE(open(options).ok());
    const Revision first = *put("/a", "0");
    Revision last;
    for (int i = 0; i < 20; ++i) last = *put("/a", "x");
    EXPECT_EQ(run_on(loop_, store_->watch("/", first)).error().code(), ErrorCode::gone);
    EXPECT_TRUE(run_on(loop_, store_->watch("/", {last.number - 10})).ok());
    EXPECT_EQ(run_on(loop_, store_->watch("/", {last.number + 1})).error().code(), ErrorCode::gone);
    close();
    ASSERT_TRUE(open(options).ok());
    EXPECT_EQ(run_on(loop_, store_->watch("/", first)).error().code(), ErrorCode::gone);
    EXPECT_TRUE(run_on(loop_, store_->watch("/", last)).ok());
}

TEST_F(SqliteStoreTest, a_watch_that_takes_nothing_ends_instead_of_growing) {
    SqliteOptions options = options_for(path_);
    options.changes_kept = 10;
    ASSERT_TRUE(open(options).ok());
    const auto watch = run_on(loop_, store_->watch("/", *put("/a", "0")));
    for (int i = 0; i < 11; ++i) ASSERT_TRUE(put("/a", "x").ok());
    EXPECT_EQ(run_on(loop_, (*watch)->next()).error().code(), ErrorCode::gone);
}

TEST_F(SqliteStoreTest, closing_ends_a_watch) {
    ASSERT_TRUE(open().ok());
    const auto watch = run_on(loop_, store_->watch("/", *put("/a", "0")));
    run_on(loop_, store_->close());
    EXPECT_EQ(run_on(loop_, (*watch)->next()).error().code(), ErrorCode::cancelled);
    EXPECT_EQ(put("/a", "1").error().code(), ErrorCode::cancelled);
    store_.reset();
}

TEST_F(SqliteStoreTest, a_copy_can_take_its_place_in_an_epoch_of_its_own) {
    SqliteOptions options = options_for(path_);
    uint64_t made = 0;
    options.new_uuid = [&made] { return numbered(++made); };
    ASSERT_TRUE(open(options).ok());
    ASSERT_TRUE(put("/a", "1").ok());
    ASSERT_TRUE(run_on(loop_, store_->copy_to(directory_.file("copy.db"))).ok());
    ASSERT_TRUE(put("/a", "2").ok());
    const Uuid epoch = store_->epoch();
    close();
    options.path = directory_.file("copy.db");
    ASSERT_TRUE(open(options).ok());
    EXPECT_EQ(get("/a"), "1");
    ASSERT_TRUE(run_on(loop_, store_->begin_epoch()).ok());
    EXPECT_NE(store_->epoch(), epoch);
    close();
    ASSERT_TRUE(open(options).ok());
    EXPECT_EQ(store_->epoch(), numbered(2));
}

// Needs the right to mount; the file system is as small as it takes.
TEST_F(SqliteStoreTest, a_full_file_system_refuses_changes_and_goes_on_reading) {
    const std::string path = directory_.file("");
    const std::string mount = fmt::format("mount -t tmpfs -o size=1m none {} 2>/dev/null", path);
    if (std::system(mount.c_str()) != 0) GTEST_SKIP() << "this machine lets nobody mount a tmpfs";
    ASSERT_TRUE(open().ok());
    ASSERT_TRUE(put("/a", "1").ok());
    int done = 0;
    std::optional<ErrorCode> refused;
    for (; done < 100 && !refused; ++done) {
        const auto result = put(fmt::format("/large/{}", done), std::string(30'000, 'x'));
        if (!result.ok()) refused = result.error().code();
    }
    EXPECT_EQ(refused, ErrorCode::no_space);
    EXPECT_EQ(get("/a"), "1");
    EXPECT_EQ(get(fmt::format("/large/{}", done - 1)), "(none)");
    const auto more = fmt::format("mount -o remount,size=8m {}", path);
    ASSERT_EQ(std::system(more.c_str()), 0);
    EXPECT_TRUE(put("/a", "2").ok());
    close();
    ASSERT_TRUE(open().ok());
    EXPECT_EQ(get("/a"), "2");
    EXPECT_EQ(get("/large/0"), std::string(30'000, 'x'));
    close();
    EXPECT_EQ(std::system(fmt::format("umount {}", path).c_str()), 0);
}

TEST_F(SqliteStoreTest, what_is_no_database_is_refused_and_left_alone) {
    std::ofstream(path_) << std::string(8192, 'x');
    const auto result = open();
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code(), ErrorCode::corrupt) << result.error().message();
    EXPECT_EQ(std::filesystem::file_size(path_), 8192U);
}

Schema schema_of(uint32_t version, bool fails = false) {
    Schema schema = current_schema();
    for (uint32_t to = 2; to <= version; ++to) {
        schema.migrations.push_back(
            {to, "a test", [to, fails](sqlite::Database& database) {
                 auto done =
                     database.run(fmt::format("INSERT INTO entries VALUES ('/v{}', '', 0)", to));
                 if (fails && to == 3) return Result<void>(Error(ErrorCode::corrupt, "on purpose"));
                 return done;
             }});
    }
    schema.version = version;
    return schema;
}

TEST_F(SqliteStoreTest, an_older_state_is_copied_and_upgraded_step_by_step) {
    ASSERT_TRUE(open().ok());
    ASSERT_TRUE(put("/a", "1").ok());
    close();
    SqliteOptions options = options_for(path_);
    options.schema = schema_of(3);
    std::vector<std::string> told;
    options.tell = [&told](const std::string& text) { told.push_back(text); };
    ASSERT_TRUE(open(options).ok());
    EXPECT_EQ(get("/v2") + get("/v3") + get("/a"), "1");
    EXPECT_EQ(told.size(), 3U);
    close();
    SqliteOptions copy = options_for(path_ + ".schema1");
    ASSERT_TRUE(open(copy).ok());
    EXPECT_EQ(get("/a"), "1");
    EXPECT_EQ(get("/v2"), "(none)");
}

TEST_F(SqliteStoreTest, an_upgrade_that_fails_goes_on_from_where_it_was) {
    ASSERT_TRUE(open().ok());
    close();
    SqliteOptions options = options_for(path_);
    options.schema = schema_of(3, true);
    const auto failed = open(options);
    ASSERT_FALSE(failed.ok());
    EXPECT_NE(failed.error().message().find("upgrade to version 3 (a test): on purpose"),
              std::string::npos)
        << failed.error().message();
    options.schema = schema_of(3);
    ASSERT_TRUE(open(options).ok());
    EXPECT_EQ(get("/v2") + get("/v3"), "");
}

TEST_F(SqliteStoreTest, a_newer_state_is_refused_by_name) {
    SqliteOptions options = options_for(path_);
    options.schema = schema_of(2);
    ASSERT_TRUE(open(options).ok());
    close();
    const auto result = open();
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code(), ErrorCode::unsupported);
    EXPECT_NE(result.error().message().find("version 2, this program knows up to 1"),
              std::string::npos)
        << result.error().message();
}

}  // namespace
}  // namespace stoa::state
