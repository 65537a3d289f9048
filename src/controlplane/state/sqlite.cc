#include "controlplane/state/sqlite.h"

#include <sqlite3.h>

#include <fmt/format.h>

namespace stoa::state::sqlite {

namespace {

ErrorCode code_of(int code) {
    switch (code & 0xff) {
        case SQLITE_FULL: return ErrorCode::no_space;
        case SQLITE_BUSY:
        case SQLITE_LOCKED: return ErrorCode::busy;
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB: return ErrorCode::corrupt;
        case SQLITE_READONLY: return ErrorCode::read_only;
        default: return ErrorCode::io;
    }
}

Error error_of(sqlite3* database) {
    return {code_of(sqlite3_extended_errcode(database)),
            fmt::format("the state's database: {}", sqlite3_errmsg(database)),
            sqlite3_system_errno(database)};
}

}  // namespace

void Statement::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

void Statement::bind(int index, std::string_view text) {
    sqlite3_bind_text64(statement_.get(), index, text.data(), text.size(), SQLITE_STATIC,
                        SQLITE_UTF8);
}
void Statement::bind(int index, int64_t number) {
    sqlite3_bind_int64(statement_.get(), index, number);
}
void Statement::bind_null(int index) { sqlite3_bind_null(statement_.get(), index); }

Result<bool> Statement::step() {
    const int code = sqlite3_step(statement_.get());
    if (code == SQLITE_ROW) return true;
    if (code == SQLITE_DONE) return false;
    Error error = error_of(sqlite3_db_handle(statement_.get()));
    sqlite3_reset(statement_.get());
    return error;
}

void Statement::reset() {
    sqlite3_reset(statement_.get());
    sqlite3_clear_bindings(statement_.get());
}

int64_t Statement::number(int column) const {
    return sqlite3_column_int64(statement_.get(), column);
}

std::string_view Statement::text(int column) const {
    const void* bytes = sqlite3_column_blob(statement_.get(), column);
    const int size = sqlite3_column_bytes(statement_.get(), column);
    return {static_cast<const char*>(bytes), static_cast<size_t>(size)};
}

bool Statement::is_null(int column) const {
    return sqlite3_column_type(statement_.get(), column) == SQLITE_NULL;
}

void Database::Close::operator()(sqlite3* database) const { sqlite3_close_v2(database); }

Result<Database> Database::open(const std::string& path, Options options) {
    sqlite3* handle = nullptr;
    const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
                      (options.may_create ? SQLITE_OPEN_CREATE : 0);
    const int code = sqlite3_open_v2(path.c_str(), &handle, flags, nullptr);
    Database database(handle);
    if (code != SQLITE_OK) {
        if (handle == nullptr) return Error(ErrorCode::io, "SQLite has no memory");
        return error_of(handle).with_context(path);
    }
    sqlite3_busy_timeout(handle, static_cast<int>(options.busy_timeout_ms));
    return database;
}

Result<void> Database::run(const std::string& sql) {
    if (sqlite3_exec(database_.get(), sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
        return error_of(database_.get());
    }
    return {};
}

Result<Statement> Database::prepare(std::string_view sql) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v3(database_.get(), sql.data(), static_cast<int>(sql.size()),
                           SQLITE_PREPARE_PERSISTENT, &statement, nullptr) != SQLITE_OK) {
        return error_of(database_.get());
    }
    return Statement(statement);
}

Result<void> Database::copy_to(const std::string& path) {
    TRY_ASSIGN(Database target, open(path, {}));
    sqlite3_backup* backup =
        sqlite3_backup_init(target.database_.get(), "main", database_.get(), "main");
    if (backup == nullptr) return error_of(target.database_.get()).with_context(path);
    sqlite3_backup_step(backup, -1);
    if (sqlite3_backup_finish(backup) != SQLITE_OK) {
        return error_of(target.database_.get()).with_context(path);
    }
    return {};
}

}  // namespace stoa::state::sqlite
