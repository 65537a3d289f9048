// SQLite as values: a database, its statements, errors as results. https://www.sqlite.org/c3ref
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

struct sqlite3;
struct sqlite3_stmt;

namespace stoa::state::sqlite {

// A prepared statement. Bind, step, read; reset() before it is used again.
class Statement {
public:
    struct Finalize {
        void operator()(sqlite3_stmt* statement) const;
    };
    explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}

    // `index` from 1. Texts must stay valid until reset().
    void bind(int index, std::string_view text);
    void bind(int index, int64_t number);
    void bind_null(int index);
    // True if there is a row. Errors: as Database::run.
    Result<bool> step();
    void reset();

    // Columns of the current row, from 0. A text counts until the next step() or reset().
    [[nodiscard]] int64_t number(int column) const;
    [[nodiscard]] std::string_view text(int column) const;
    [[nodiscard]] bool is_null(int column) const;

private:
    std::unique_ptr<sqlite3_stmt, Finalize> statement_;
};

// One connection. Used by one thread at a time.
class Database {
public:
    struct Options {
        bool may_create = true;
        uint32_t busy_timeout_ms = 1000;
    };

    // Errors: io, corrupt (it is no database), busy (another process has it exclusively).
    static Result<Database> open(const std::string& path, Options options);

    // Statements without results, separated by semicolons.
    // Errors: no_space, busy, corrupt, io; the message holds SQLite's own words.
    Result<void> run(const std::string& sql);
    Result<Statement> prepare(std::string_view sql);
    // A durable copy as of one moment, over what is at `path`. Errors: as run(), of either.
    Result<void> copy_to(const std::string& path);

private:
    struct Close {
        void operator()(sqlite3* database) const;
    };
    explicit Database(sqlite3* database) : database_(database) {}

    std::unique_ptr<sqlite3, Close> database_;
};

}  // namespace stoa::state::sqlite
