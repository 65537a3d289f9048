#include "controlplane/state/sqlite_store.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"

namespace stoa::state {

namespace {

// The first key after all that begin with `prefix`: keys are ASCII below DEL.
std::string end_of(const std::string& prefix) { return prefix + '\x7f'; }

Error closed() { return {ErrorCode::cancelled, "the state is being closed"}; }

}  // namespace

// ---- on the worker's thread

struct SqliteStore::Connection {
    sqlite::Database database;
    sqlite::Statement get, list, put, erase, note, forget, since, count;
    int64_t revision = 0;  // of the last transaction
    int64_t oldest = 0;    // changes after this one are all kept
    int64_t kept = 0;

    struct Opened {
        std::unique_ptr<Connection> connection;
        Uuid epoch;
    };
    static Result<Opened> open(const SqliteOptions& options);

    static Result<std::string> meta(sqlite::Database& database, std::string_view name);
    static Result<void> set_meta(sqlite::Database& database, std::string_view name,
                                 std::string_view value);
    Result<std::optional<Entry>> read(const std::string& key);
    Result<Page> page(const std::string& prefix, const std::string& after, size_t limit);
    Result<std::deque<Changes>> changes_since(const std::string& prefix, int64_t after);

    struct Batch {
        std::vector<Result<Revision>> results;
        std::vector<Changes> changes;  // of those that were done
    };
    Batch run(const std::vector<const Txn*>& txns);
    Result<Revision> apply(const Txn& txn, std::vector<Changes>& changes);
    Result<bool> holds(const Compare& compare);
    Result<void> forget_old();
};

Result<std::string> SqliteStore::Connection::meta(sqlite::Database& database,
                                                  std::string_view name) {
    TRY_ASSIGN(sqlite::Statement read, database.prepare("SELECT value FROM meta WHERE name = ?"));
    read.bind(1, name);
    TRY_ASSIGN(const bool found, read.step());
    return found ? std::string(read.text(0)) : std::string();
}

Result<void> SqliteStore::Connection::set_meta(sqlite::Database& database, std::string_view name,
                                               std::string_view value) {
    TRY_ASSIGN(sqlite::Statement write,
               database.prepare("INSERT OR REPLACE INTO meta VALUES (?, ?)"));
    write.bind(1, name);
    write.bind(2, value);
    TRY_ASSIGN([[maybe_unused]] const bool row, write.step());
    return {};
}

Result<SqliteStore::Connection::Opened> SqliteStore::Connection::open(
    const SqliteOptions& options) {
    TRY_ASSIGN(sqlite::Database database, sqlite::Database::open(options.path, {}));
    // One process alone: two control planes on one state would each believe their own memory.
    TRY(
        database.run("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL;"
                     "PRAGMA synchronous = FULL; PRAGMA trusted_schema = OFF;"
                     "PRAGMA cell_size_check = ON"));
    TRY(prepare_schema(database, options.path, options.schema, options.tell));
    TRY_ASSIGN(std::string epoch, meta(database, "epoch"));
    if (epoch.empty()) {
        epoch = options.new_uuid().to_string();
        TRY(set_meta(database, "epoch", epoch));
    }
    TRY_ASSIGN(const Uuid uuid, Uuid::parse(epoch));
    TRY_ASSIGN(auto get, database.prepare("SELECT value, revision FROM entries WHERE key = ?"));
    TRY_ASSIGN(auto list, database.prepare("SELECT key, value, revision FROM entries "
                                           "WHERE key >= ? AND key < ? ORDER BY key LIMIT ?"));
    TRY_ASSIGN(auto put, database.prepare("INSERT OR REPLACE INTO entries VALUES (?, ?, ?)"));
    TRY_ASSIGN(auto erase, database.prepare("DELETE FROM entries WHERE key = ? RETURNING 1"));
    TRY_ASSIGN(auto note, database.prepare("INSERT INTO changes VALUES (?, ?, ?)"));
    TRY_ASSIGN(auto forget, database.prepare("DELETE FROM changes WHERE revision <= ?"));
    TRY_ASSIGN(auto since, database.prepare("SELECT revision, key, value FROM changes WHERE "
                                            "revision > ? AND key >= ? AND key < ? "
                                            "ORDER BY revision, key"));
    TRY_ASSIGN(auto count, database.prepare("SELECT ifnull(min(revision), 0), "
                                            "ifnull(max(revision), 0) FROM changes"));
    auto connection = std::make_unique<Connection>(
        Connection{std::move(database), std::move(get), std::move(list), std::move(put),
                   std::move(erase), std::move(note), std::move(forget), std::move(since),
                   std::move(count), 0, 0, options.changes_kept});
    TRY_ASSIGN([[maybe_unused]] const bool row, connection->count.step());
    // The newest change is never forgotten: its revision is the store's.
    connection->oldest = std::max<int64_t>(connection->count.number(0) - 1, 0);
    connection->revision = connection->count.number(1);
    connection->count.reset();
    return Opened{std::move(connection), uuid};
}

Result<std::optional<Entry>> SqliteStore::Connection::read(const std::string& key) {
    get.bind(1, key);
    TRY_ASSIGN(const bool found, get.step());
    std::optional<Entry> entry;
    if (found) entry = Entry{key, std::string(get.text(0)), {get.number(1)}};
    get.reset();
    return entry;
}

Result<Page> SqliteStore::Connection::page(const std::string& prefix, const std::string& after,
                                           size_t limit) {
    Page page;
    page.revision = {revision};
    const std::string end = end_of(prefix);
    const std::string from = after.empty() ? prefix : after + '\x01';
    list.bind(1, std::string_view(from));
    list.bind(2, std::string_view(end));
    list.bind(3, static_cast<int64_t>(limit) + 1);
    for (;;) {
        TRY_ASSIGN(const bool found, list.step());
        if (!found) break;
        if (page.entries.size() == limit) {
            page.more = true;
            break;
        }
        page.entries.push_back(
            {std::string(list.text(0)), std::string(list.text(1)), {list.number(2)}});
    }
    list.reset();
    return page;
}

Result<std::deque<Changes>> SqliteStore::Connection::changes_since(const std::string& prefix,
                                                                   int64_t after) {
    std::deque<Changes> found;
    if (after < oldest || after > revision) {
        return Error(ErrorCode::gone,
                     fmt::format("changes after revision {} are not known: list again", after));
    }
    const std::string end = end_of(prefix);
    since.bind(1, after);
    since.bind(2, std::string_view(prefix));
    since.bind(3, std::string_view(end));
    for (;;) {
        TRY_ASSIGN(const bool row, since.step());
        if (!row) break;
        const Revision at{since.number(0)};
        if (found.empty() || found.back().revision != at) found.push_back({at, {}});
        std::optional<std::string> value;
        if (!since.is_null(2)) value = std::string(since.text(2));
        found.back().changes.push_back({std::string(since.text(1)), std::move(value)});
    }
    since.reset();
    return found;
}

Result<bool> SqliteStore::Connection::holds(const Compare& compare) {
    TRY_ASSIGN(const std::optional<Entry> entry, read(compare.key));
    if (!compare.revision) return !entry;
    return entry && entry->revision == *compare.revision;
}

Result<Revision> SqliteStore::Connection::apply(const Txn& txn, std::vector<Changes>& changes) {
    for (const Compare& compare : txn.compares) {
        TRY_ASSIGN(const bool good, holds(compare));
        if (good) continue;
        return Error(ErrorCode::conflict, fmt::format("{} was changed meanwhile", compare.key));
    }
    const int64_t next = revision + 1;
    Changes done{{next}, {}};
    const auto finish = [](sqlite::Statement& statement) -> Result<bool> {
        auto row = statement.step();
        if (row.ok()) statement.reset();
        return row;
    };
    for (const Put& each : txn.puts) {
        put.bind(1, std::string_view(each.key));
        put.bind(2, std::string_view(each.value));
        put.bind(3, next);
        TRY_ASSIGN([[maybe_unused]] const bool row, finish(put));
        done.changes.push_back({each.key, each.value});
    }
    for (const std::string& key : txn.deletes) {
        erase.bind(1, std::string_view(key));
        TRY_ASSIGN(const bool was_there, finish(erase));
        if (was_there) done.changes.push_back({key, std::nullopt});
    }
    for (const Change& change : done.changes) {
        note.bind(1, next);
        note.bind(2, std::string_view(change.key));
        if (change.value) note.bind(3, std::string_view(*change.value));
        else note.bind_null(3);
        TRY_ASSIGN([[maybe_unused]] const bool row, finish(note));
    }
    if (!done.changes.empty()) {
        revision = next;
        std::ranges::sort(done.changes, {}, &Change::key);
        changes.push_back(std::move(done));
    }
    return Revision{revision};
}

// In slices, so that not each transaction pays for it.
Result<void> SqliteStore::Connection::forget_old() {
    const int64_t slice = std::max<int64_t>(kept / 10, 1);
    if (revision - oldest < kept + slice) return {};
    forget.bind(1, revision - kept);
    TRY_ASSIGN([[maybe_unused]] const bool row, forget.step());
    forget.reset();
    oldest = revision - kept;
    return {};
}

SqliteStore::Connection::Batch SqliteStore::Connection::run(const std::vector<const Txn*>& txns) {
    Batch batch;
    const int64_t before = revision;
    const int64_t oldest_before = oldest;
    Result<void> whole = database.run("BEGIN IMMEDIATE");
    for (const Txn* txn : txns) {
        if (!whole.ok()) break;
        const int64_t start = revision;
        const size_t changes = batch.changes.size();
        whole = database.run("SAVEPOINT one");
        if (!whole.ok()) break;
        auto result = apply(*txn, batch.changes);
        if (!result.ok()) {
            revision = start;
            batch.changes.resize(changes);
            // A disk that is full ends the whole transaction by itself: then this fails.
            whole = database.run("ROLLBACK TO one");
            if (!whole.ok()) whole = result.error();
        }
        if (whole.ok()) whole = database.run("RELEASE one");
        batch.results.push_back(std::move(result));
    }
    if (whole.ok()) whole = forget_old();
    if (whole.ok()) whole = database.run("COMMIT");
    if (!whole.ok()) {
        static_cast<void>(database.run("ROLLBACK"));
        revision = before;
        oldest = oldest_before;
        batch.results.assign(txns.size(), Result<Revision>(whole.error()));
        batch.changes.clear();
    }
    return batch;
}

// ---- watches

class SqliteStore::Feed final : public Watch {
public:
    Feed(SqliteStore& store, std::string prefix)
        : store_(store), prefix_(std::move(prefix)), signal_(store.executor_) {
        place_ = store_.feeds_.insert(store_.feeds_.end(), this);
    }
    ~Feed() override {
        if (!ended_) store_.feeds_.erase(place_);
    }

    Async<Changes> next() override {
        while (queue_.empty() && !ended_) {
            co_await signal_.wait();
            const auto cancelled = co_await asio::this_coro::cancellation_state;
            if (queue_.empty() && cancelled.cancelled() != asio::cancellation_type::none) {
                co_return Error(ErrorCode::cancelled, "the watch was cancelled");
            }
        }
        if (ended_) co_return *ended_;
        Changes changes = std::move(queue_.front());
        queue_.pop_front();
        co_return changes;
    }

    void add(const Changes& all) {
        if (all.revision <= after_) return;
        Changes mine{all.revision, {}};
        for (const Change& change : all.changes) {
            if (change.key.starts_with(prefix_)) mine.changes.push_back(change);
        }
        if (mine.changes.empty()) return;
        queue_.push_back(std::move(mine));
        if (std::cmp_greater(queue_.size(), store_.options_.changes_kept)) {
            end(Error(ErrorCode::gone, "too many changes were not taken: list again"));
        }
        signal_.notify_all();
    }
    void begin(std::deque<Changes> past, Revision after) {
        // What was published while the past was read stands behind it, and some of it twice.
        if (!past.empty()) after = std::max(after, past.back().revision);
        std::erase_if(queue_, [&after](const Changes& each) { return each.revision <= after; });
        queue_.insert(queue_.begin(), std::make_move_iterator(past.begin()),
                      std::make_move_iterator(past.end()));
        after_ = after;
    }
    void end(Error why) {
        ended_ = std::move(why);
        queue_.clear();
        store_.feeds_.erase(place_);
        signal_.notify_all();
    }

private:
    SqliteStore& store_;
    std::string prefix_;
    Signal signal_;
    std::deque<Changes> queue_;
    Revision after_;
    std::optional<Error> ended_;
    std::list<Feed*>::iterator place_;
};

// ---- on the loop's thread

SqliteStore::SqliteStore(asio::any_io_executor executor, SqliteOptions options)
    : executor_(std::move(executor)), options_(std::move(options)), committed_(executor_) {}

SqliteStore::~SqliteStore() { CHECK(closing_ && feeds_.empty() && calls_ == 0); }

Async<std::unique_ptr<SqliteStore>> SqliteStore::open(asio::any_io_executor executor,
                                                      SqliteOptions options) {
    std::unique_ptr<SqliteStore> store(new SqliteStore(std::move(executor), std::move(options)));
    auto opened =
        co_await store->worker_.run([&store] { return Connection::open(store->options_); });
    if (!opened.ok()) {
        store->closing_ = true;
        co_return opened.take_error();
    }
    store->epoch_ = opened->epoch;
    store->connection_ = std::move(opened->connection);
    co_return store;
}

Async<std::optional<Entry>> SqliteStore::get(std::string key) {
    if (closing_) co_return closed();
    ++calls_;
    auto result = co_await worker_.run([&] { return connection_->read(key); });
    --calls_;
    committed_.notify_all();
    co_return result;
}

Async<Page> SqliteStore::list(std::string prefix, std::string after, size_t limit) {
    if (closing_) co_return closed();
    if (limit < 1 || limit > kPageMax) {
        co_return Error(ErrorCode::invalid_argument,
                        fmt::format("a page has 1 to {} entries, not {}", kPageMax, limit));
    }
    ++calls_;
    auto result = co_await worker_.run([&] { return connection_->page(prefix, after, limit); });
    --calls_;
    committed_.notify_all();
    co_return result;
}

Async<Revision> SqliteStore::txn(Txn txn) {
    if (closing_) co_return closed();
    CO_TRY(check(txn));
    Waiting mine{std::move(txn), std::nullopt};
    ++calls_;
    waiting_.push_back(&mine);
    while (!mine.result) {
        if (committing_) co_await committed_.wait();
        else co_await commit_waiting();
    }
    --calls_;
    committed_.notify_all();
    co_return *std::move(mine.result);
}

AsyncVoid SqliteStore::commit_waiting() {
    committing_ = true;
    constexpr std::ptrdiff_t kBatchMax = 256;
    const auto end = waiting_.begin() + std::min(std::ssize(waiting_), kBatchMax);
    const std::vector<Waiting*> batch(waiting_.begin(), end);
    waiting_.erase(waiting_.begin(), end);
    std::vector<const Txn*> txns;
    for (const Waiting* each : batch) txns.push_back(&each->txn);
    auto done = co_await worker_.run([&] { return connection_->run(txns); });
    for (const Changes& changes : done.changes) publish(changes);
    for (size_t i = 0; i < batch.size(); ++i) batch[i]->result = std::move(done.results[i]);
    committing_ = false;
    committed_.notify_all();
}

void SqliteStore::publish(const Changes& changes) {
    // A feed that ends takes itself out.
    for (auto at = feeds_.begin(); at != feeds_.end();) (*at++)->add(changes);
}

Async<std::unique_ptr<Watch>> SqliteStore::watch(std::string prefix, Revision after) {
    if (closing_) co_return closed();
    auto feed = std::make_unique<Feed>(*this, prefix);
    ++calls_;
    auto past =
        co_await worker_.run([&] { return connection_->changes_since(prefix, after.number); });
    --calls_;
    committed_.notify_all();
    if (!past.ok()) co_return past.take_error();
    feed->begin(*std::move(past), after);
    co_return feed;
}

Async<> SqliteStore::copy_to(std::string path) {
    if (closing_) co_return closed();
    ++calls_;
    auto result = co_await worker_.run([&] { return connection_->database.copy_to(path); });
    --calls_;
    committed_.notify_all();
    co_return result;
}

Async<> SqliteStore::begin_epoch() {
    if (closing_) co_return closed();
    const Uuid epoch = options_.new_uuid();
    ++calls_;
    auto result = co_await worker_.run(
        [&] { return Connection::set_meta(connection_->database, "epoch", epoch.to_string()); });
    --calls_;
    committed_.notify_all();
    if (result.ok()) epoch_ = epoch;
    co_return result;
}

AsyncVoid SqliteStore::close() {
    CHECK(!closing_);
    closing_ = true;
    while (!feeds_.empty()) feeds_.front()->end(closed());
    while (calls_ > 0) co_await committed_.wait();
    co_await worker_.run([this] { connection_.reset(); });
}

}  // namespace stoa::state
