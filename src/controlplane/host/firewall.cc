#include "controlplane/host/firewall.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "base/json.h"
#include "controlplane/host/cgroup_places.h"
#include "controlplane/host/command.h"
#include "controlplane/host/files.h"

namespace stoa::host {

namespace {

constexpr size_t kNftOutputBytesMax = size_t{16} << 20;
constexpr size_t kShownBytesMax = 1000;
constexpr size_t kNameBytesMax = 31;
constexpr std::array<std::string_view, 6> kFamilies = {"inet", "ip",     "ip6",
                                                       "arp",  "bridge", "netdev"};
constexpr const char* kLegacyTables = "/proc/net/ip_tables_names";

Result<void> check_name(const TableName& table) {
    const bool is_family = std::ranges::find(kFamilies, table.family) != kFamilies.end();
    const bool is_plain = std::ranges::all_of(table.name, [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '_';
    });
    const bool is_letter = !table.name.empty() && (table.name[0] < '0' || table.name[0] > '9');
    if (is_family && is_plain && is_letter && table.name.size() <= kNameBytesMax) return {};
    return Error(ErrorCode::invalid_argument,
                 fmt::format("nftables table \"{} {}\": no family or no name of letters, digits "
                             "and _, at most {}",
                             table.family, table.name, kNameBytesMax));
}

// Runs nft; the error says what nft said.
Async<std::string> nft(std::vector<std::string> arguments, std::string input) {
    CO_TRY_ASSIGN(const CommandResult result,
                  co_await run_command({.program = "nft",
                                        .arguments = std::move(arguments),
                                        .input = std::move(input),
                                        .output_bytes_max = kNftOutputBytesMax}));
    if (result.code == 0 && !result.output_cut) co_return result.output;
    std::string said = result.error_output.substr(0, kShownBytesMax);
    while (said.ends_with('\n')) said.pop_back();
    ErrorCode code = ErrorCode::invalid_argument;
    if (said.contains("Operation not permitted") || said.contains("you must be root")) {
        code = ErrorCode::denied;
    }
    if (result.signal || result.output_cut) code = ErrorCode::io;
    co_return Error(code, "nft: " + (said.empty() ? "no answer" : said));
}

// Declared first, so that there is one to delete: all of it is one transaction.
std::string replacement(const TableName& table, std::string_view body) {
    return fmt::format("table {0} {1}\ndelete table {0} {1}\ntable {0} {1} {{\n{2}\n}}\n",
                       table.family, table.name, body);
}

std::string text_field(const JsonObject& object, std::string_view name) {
    const Json* value = object.if_contains(name);
    return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

// Docker, ufw and the like are told by chains of theirs in the same table.
std::string owner_of(const std::string& table, const std::vector<std::string>& chains) {
    if (table.contains("firewalld")) return "firewalld";
    for (const std::string& chain : chains) {
        if (chain.starts_with("DOCKER")) return "Docker";
        if (chain.starts_with("ufw")) return "ufw";
    }
    return "another program";
}

Async<std::vector<ForwardDrop>> legacy_drops() {
    std::vector<ForwardDrop> drops;
    const auto tables = read_file(kLegacyTables, kNftOutputBytesMax);
    if (!tables.ok() || !tables->contains("filter")) co_return drops;
    const auto rules =
        co_await run_command({.program = "iptables-legacy", .arguments = {"-S"}, .input = {}});
    if (!rules.ok() || !rules->output.contains("-P FORWARD DROP")) co_return drops;
    std::vector<std::string> chains;
    for (const std::string_view line : split(rules->output, "\n")) {
        if (line.starts_with("-N ")) chains.emplace_back(line.substr(3));
    }
    drops.push_back({.table = "iptables-legacy filter",
                     .chain = "FORWARD",
                     .owner = owner_of("filter", chains)});
    co_return drops;
}

}  // namespace

std::vector<TableName> parse_tables(std::string_view text) {
    std::vector<TableName> tables;
    for (const std::string_view line : split(text, "\n")) {
        const auto words = split(line, " \t");
        if (words.size() < 3 || words[0] != "table") continue;
        tables.push_back({.family = std::string(words[1]), .name = std::string(words[2])});
    }
    return tables;
}

Result<std::vector<ForwardDrop>> find_forward_drops(std::string_view ruleset_json) {
    const auto json = parse_json(ruleset_json);
    const JsonObject* object = json.ok() ? json->if_object() : nullptr;
    const Json* list = object != nullptr ? object->if_contains("nftables") : nullptr;
    const JsonArray* items = list != nullptr ? list->if_array() : nullptr;
    if (items == nullptr) return Error(ErrorCode::corrupt, "nft: its JSON is not as expected");
    struct Chain {
        std::string table;
        std::string name;
        bool drops = false;
    };
    std::vector<Chain> forward;
    std::map<std::string, std::vector<std::string>> chains_of;
    for (const Json& item : *items) {
        const Json* chain = item.is_object() ? item.get_object().if_contains("chain") : nullptr;
        if (chain == nullptr || !chain->is_object()) continue;
        const JsonObject& fields = chain->get_object();
        const std::string table = text_field(fields, "table");
        const std::string name = text_field(fields, "name");
        const std::string whole = text_field(fields, "family") + " " + table;
        chains_of[whole].push_back(name);
        if (table.starts_with("stoa_") || text_field(fields, "hook") != "forward") continue;
        const bool drops = text_field(fields, "policy") == "drop" || table.contains("firewalld");
        forward.push_back({.table = whole, .name = name, .drops = drops});
    }
    std::vector<ForwardDrop> found;
    for (Chain& chain : forward) {
        if (!chain.drops) continue;
        const std::string owner = owner_of(chain.table, chains_of[chain.table]);
        found.push_back(
            {.table = std::move(chain.table), .chain = std::move(chain.name), .owner = owner});
    }
    return found;
}

Async<> replace_table(TableName table, std::string body) {
    CO_TRY(check_name(table));
    CO_TRY(co_await nft({"-f", "-"}, replacement(table, body)));
    co_return Result<void>();
}

Async<> check_table(TableName table, std::string body) {
    CO_TRY(check_name(table));
    CO_TRY(co_await nft({"-c", "-f", "-"}, replacement(table, body)));
    co_return Result<void>();
}

Async<> delete_table(TableName table) {
    CO_TRY(check_name(table));
    CO_TRY(co_await nft({"-f", "-"}, fmt::format("table {0} {1}\ndelete table {0} {1}\n",
                                                 table.family, table.name)));
    co_return Result<void>();
}

Async<std::vector<TableName>> list_tables() {
    CO_TRY_ASSIGN(const std::string output, co_await nft({"list", "tables"}, ""));
    co_return parse_tables(output);
}

Async<std::vector<ForwardDrop>> forward_drops() {
    CO_TRY_ASSIGN(const std::string output, co_await nft({"-j", "list", "chains"}, ""));
    CO_TRY_ASSIGN(std::vector<ForwardDrop> found, find_forward_drops(output));
    CO_TRY_ASSIGN(std::vector<ForwardDrop> legacy, co_await legacy_drops());
    found.insert(found.end(), legacy.begin(), legacy.end());
    co_return found;
}

}  // namespace stoa::host
