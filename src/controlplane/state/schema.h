// The versions of the state's database: upgrades by one, each after a copy, and refusals by name.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "controlplane/state/sqlite.h"

namespace stoa::state {

// From the version before it to `to`, inside a transaction.
struct Migration {
    uint32_t to = 0;
    std::string what;
    std::function<Result<void>(sqlite::Database&)> run;
};

struct Schema {
    uint32_t version = 0;               // what this program reads and writes
    std::vector<Migration> migrations;  // each version after 1 once, in order
};

// The layout of SqliteStore; docs/format/state.md.
[[nodiscard]] Schema current_schema();

// Brings the database at `path` to schema.version: an empty one gets it at once; an older one is
// upgraded by one version after the other, each in a transaction, after a copy of the whole at
// PATH.schemaN (N: the version it had) was made durable. A crash in between goes on from where it
// was.
// Errors: unsupported (it is newer: the message names both versions), corrupt, no_space, io.
Result<void> prepare_schema(sqlite::Database& database, const std::string& path,
                            const Schema& schema, const std::function<void(std::string)>& tell);

}  // namespace stoa::state
