#include "controlplane/state/schema.h"

#include <string>

#include <fmt/format.h>

#include "base/check.h"

namespace stoa::state {

namespace {

constexpr auto kTables = R"(
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL)
        WITHOUT ROWID;
    CREATE TABLE changes (revision INTEGER NOT NULL, key TEXT NOT NULL, value BLOB,
                          PRIMARY KEY (revision, key)) WITHOUT ROWID;
)";

Result<uint32_t> version_of(sqlite::Database& database) {
    TRY_ASSIGN(sqlite::Statement read, database.prepare("PRAGMA user_version"));
    TRY_ASSIGN(const bool row, read.step());
    CHECK(row);
    return static_cast<uint32_t>(read.number(0));
}

Result<bool> is_empty(sqlite::Database& database) {
    TRY_ASSIGN(sqlite::Statement read, database.prepare("SELECT count(*) FROM sqlite_schema"));
    TRY_ASSIGN(const bool row, read.step());
    CHECK(row);
    return read.number(0) == 0;
}

std::string copy_path(const std::string& path, uint32_t version) {
    return fmt::format("{}.schema{}", path, version);
}

Result<void> in_transaction(sqlite::Database& database,
                            const std::function<Result<void>(sqlite::Database&)>& change,
                            uint32_t version) {
    TRY(database.run("BEGIN IMMEDIATE"));
    auto result = change(database);
    if (result.ok()) {
        result = database.run(fmt::format("PRAGMA user_version = {}; COMMIT", version));
    }
    if (!result.ok()) static_cast<void>(database.run("ROLLBACK"));
    return result;
}

Result<void> make_tables(sqlite::Database& database) { return database.run(kTables); }

}  // namespace

Schema current_schema() { return {.version = 1, .migrations = {}}; }

Result<void> prepare_schema(sqlite::Database& database, const std::string& path,
                            const Schema& schema, const std::function<void(std::string)>& tell) {
    TRY_ASSIGN(uint32_t version, version_of(database));
    if (version == 0) {
        TRY_ASSIGN(const bool empty, is_empty(database));
        if (!empty) {
            return Error(ErrorCode::corrupt,
                         fmt::format("{}: is a database, but not one of Stoa's", path));
        }
        TRY(in_transaction(database, make_tables, 1));
        version = 1;
    } else if (version < schema.version) {
        TRY(database.copy_to(copy_path(path, version)));
        tell(fmt::format("the state was copied to {} before its upgrade to version {}",
                         copy_path(path, version), schema.version));
    }
    if (version > schema.version) {
        return Error(ErrorCode::unsupported,
                     fmt::format("{}: the state has version {}, this program knows up to {}: it "
                                 "was used by a newer Stoa; install that one, or go back to the "
                                 "copy {}",
                                 path, version, schema.version, copy_path(path, schema.version)));
    }
    for (const Migration& migration : schema.migrations) {
        if (migration.to <= version) continue;
        CHECK(migration.to == version + 1);
        auto done = in_transaction(database, migration.run, migration.to);
        if (!done.ok()) {
            return done.error().with_context(
                fmt::format("{}: upgrade to version {} ({})", path, migration.to, migration.what));
        }
        version = migration.to;
        tell(fmt::format("the state was upgraded to version {}: {}", version, migration.what));
    }
    CHECK(version == schema.version);
    return {};
}

}  // namespace stoa::state
