// TestStore: records on a real store in a temporary directory, for tests.
#pragma once

#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "base/check.h"
#include "controlplane/records/records.h"
#include "controlplane/state/sqlite_store.h"

namespace stoa::records {

class TestDirectory {
public:
    explicit TestDirectory(
        const std::filesystem::path& base = std::filesystem::temp_directory_path()) {
        std::string name = (base / "stoa-test-XXXXXX").string();
        CHECK(mkdtemp(name.data()) != nullptr);
        path_ = name;
    }
    TestDirectory(const TestDirectory&) = delete;
    TestDirectory& operator=(const TestDirectory&) = delete;
    ~TestDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    [[nodiscard]] std::string file(const std::string& name) const { return path_ / name; }

private:
    std::filesystem::path path_;
};

template <class T>
AsyncVoid keep_awaited(asio::awaitable<T> task, std::optional<T>& result) {
    co_await asio::this_coro::throw_if_cancelled(false);
    result.emplace(co_await std::move(task));
}

// Runs one coroutine, and what runs beside it, until it is over.
template <class T>
T await_on(asio::io_context& loop, asio::awaitable<T> task) {
    std::optional<T> result;
    asio::co_spawn(loop, keep_awaited(std::move(task), result), [](const std::exception_ptr& left) {
        if (left) std::rethrow_exception(left);
    });
    loop.restart();
    while (!result && loop.run_one() > 0) {
    }
    return *std::move(result);
}
inline AsyncVoid nothing_after(AsyncVoid task, bool& over) {
    co_await std::move(task);
    over = true;
}
inline void await_on(asio::io_context& loop, AsyncVoid task) {
    bool over = false;
    asio::co_spawn(loop, nothing_after(std::move(task), over), [](const std::exception_ptr& left) {
        if (left) std::rethrow_exception(left);
    });
    loop.restart();
    while (!over && loop.run_one() > 0) {
    }
}

// UUIDs that tests can name.
inline Uuid numbered(uint64_t number) { return Uuid::from_random(number, number); }

class TestStore {
public:
    TestStore() { open(); }
    TestStore(const TestStore&) = delete;
    TestStore& operator=(const TestStore&) = delete;
    ~TestStore() { close(); }

    void open() {
        state::SqliteOptions options;
        options.path = directory_.file("state.db");
        options.new_uuid = [] { return numbered(1); };
        options.changes_kept = changes_kept;
        auto store = await(state::SqliteStore::open(loop_.get_executor(), std::move(options)));
        CHECK(store.ok());
        store_ = *std::move(store);
        auto records = await(Records::open(loop_.get_executor(), *store_));
        CHECK(records.ok());
        records_ = *std::move(records);
    }
    void close() {
        if (!store_) return;
        await(records_->close());
        records_.reset();
        await(store_->close());
        store_.reset();
    }
    // As after another start of the program.
    void open_again() {
        close();
        open();
    }

    Result<state::Revision> commit(state::Txn txn) {
        return await(records_->commit(std::move(txn)));
    }
    template <class T>
    T await(asio::awaitable<T> task) {
        return await_on(loop_, std::move(task));
    }
    void await(AsyncVoid task) { await_on(loop_, std::move(task)); }

    asio::io_context& loop() { return loop_; }
    state::Store& store() { return *store_; }
    Records& records() { return *records_; }
    const TestDirectory& directory() { return directory_; }

    int64_t changes_kept = 10'000;

private:
    TestDirectory directory_;
    asio::io_context loop_;
    std::unique_ptr<state::SqliteStore> store_;
    std::unique_ptr<Records> records_;
};

}  // namespace stoa::records
