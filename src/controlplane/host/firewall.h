// nftables: one table of an instance, replaced as a whole. By nft(8).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "controlplane/async/async.h"

namespace stoa::host {

struct TableName {
    std::string family{};  // inet, ip, ip6, bridge
    std::string name{};    // "stoa_1a2b3c4d"; letters, digits, '_'
    bool operator==(const TableName&) const = default;
};

// Replaces the table by one with `body` (chains, sets, maps; one statement a line) in one
// transaction: at every moment the old or the new one holds. Errors: invalid_argument (nft refuses
// the body; the message says where), denied, not_found (no nft), timeout, io.
Async<> replace_table(TableName table, std::string body);
// Whether replace_table() would be accepted; changes nothing.
Async<> check_table(TableName table, std::string body);
// None there is fine.
Async<> delete_table(TableName table);
Async<std::vector<TableName>> list_tables();

// Of the output of "nft list tables".
[[nodiscard]] std::vector<TableName> parse_tables(std::string_view text);

// A chain of others that drops forwarded packets, and who it belongs to.
struct ForwardDrop {
    std::string table{};  // "ip filter"
    std::string chain{};  // "FORWARD"
    std::string owner{};  // "Docker", "firewalld", "ufw" or "another program"
};
// From the output of "nft -j list ruleset": base chains at hook forward with policy drop, and
// firewalld's tables, except in tables whose name begins with "stoa_". Errors: corrupt.
Result<std::vector<ForwardDrop>> find_forward_drops(std::string_view ruleset_json);
// Asks nft. Errors: as list_tables.
Async<std::vector<ForwardDrop>> forward_drops();

}  // namespace stoa::host
