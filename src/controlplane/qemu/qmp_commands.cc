#include "controlplane/qemu/qmp_commands.h"

#include <map>
#include <utility>

#include <fmt/format.h>

#include "controlplane/qemu/arguments.h"
#include "controlplane/qemu/look.h"
#include "controlplane/qemu/qmp_message.h"

namespace stoa::qemu {

namespace {

constexpr std::string_view kNodePrefix = "disk-";
constexpr std::chrono::milliseconds kScreendumpLimit{10'000};

Error unexpected(std::string_view command, const Json& answer) {
    return {ErrorCode::io,
            fmt::format("{}: unexpected answer {}", command, cleaned(to_text(answer)))};
}

// For commands that answer nothing of interest.
Async<> done(Qmp& qmp, std::string command, JsonObject arguments = {},
             std::chrono::milliseconds limit = kQmpLimit) {
    const auto answer = co_await qmp.call(std::move(command), std::move(arguments), limit);
    if (!answer.ok()) co_return answer.error();
    co_return Result<void>();
}

// The name of a disk that arguments() made, out of its node's; empty: another node.
std::string name_of_node(const Json* node) {
    const auto* text = node == nullptr ? nullptr : node->if_string();
    if (text == nullptr || !std::string_view(*text).starts_with(kNodePrefix)) return {};
    return std::string(std::string_view(*text).substr(kNodePrefix.size()));
}

}  // namespace

Async<RunState> query_status(Qmp& qmp) {
    CO_TRY_ASSIGN(const Json answer, co_await qmp.call("query-status"));
    const auto word = text_at(answer, "status");
    if (!word) co_return unexpected("query-status", answer);
    constexpr auto kNames = enum_names(RunState{});
    for (size_t i = 0; i < kNames.size(); ++i) {
        if (kNames.at(i) == *word) co_return static_cast<RunState>(i);
    }
    co_return RunState::other;
}

Async<> cont(Qmp& qmp) { return done(qmp, "cont"); }
Async<> stop(Qmp& qmp, std::chrono::milliseconds limit) { return done(qmp, "stop", {}, limit); }
Async<> system_powerdown(Qmp& qmp) { return done(qmp, "system_powerdown"); }
Async<> system_reset(Qmp& qmp) { return done(qmp, "system_reset"); }

Async<> quit(Qmp& qmp) {
    const Result<void> answer = co_await done(qmp, "quit");
    if (!answer.ok() && answer.error().code() == ErrorCode::io && !qmp.is_connected()) {
        co_return Result<void>();
    }
    co_return answer;
}

Async<> screendump(Qmp& qmp, std::string path) {
    return done(qmp, "screendump", {{"filename", path}, {"format", "png"}}, kScreendumpLimit);
}

Async<> block_resize(Qmp& qmp, std::string_view disk_name, uint64_t size_bytes) {
    return done(qmp, "block_resize", {{"node-name", disk_node(disk_name)}, {"size", size_bytes}});
}

Async<std::vector<DiskState>> query_disks(Qmp& qmp) {
    CO_TRY_ASSIGN(const Json blocks, co_await qmp.call("query-block"));
    CO_TRY_ASSIGN(const Json all_stats, co_await qmp.call("query-blockstats"));
    if (!blocks.is_array()) co_return unexpected("query-block", blocks);
    if (!all_stats.is_array()) co_return unexpected("query-blockstats", all_stats);
    std::map<std::string, DiskState> disks;
    for (const Json& block : blocks.get_array()) {
        std::string name = name_of_node(member(member(&block, "inserted"), "node-name"));
        if (name.empty()) continue;
        const std::string status = text_at(block, "io-status").value_or("ok");
        DiskState& disk = disks[name];
        disk.is_failed = status != "ok";
        disk.is_full = status == "nospace";
        disk.name = std::move(name);
    }
    for (const Json& one : all_stats.get_array()) {
        const auto disk = disks.find(name_of_node(member(&one, "node-name")));
        const Json* stats = member(&one, "stats");
        if (disk == disks.end() || stats == nullptr) continue;
        const auto count = [&](std::string_view name) {
            return unsigned_at(*stats, name).value_or(0);
        };
        disk->second.reads = count("rd_operations");
        disk->second.writes = count("wr_operations");
        disk->second.flushes = count("flush_operations");
        disk->second.read_bytes = count("rd_bytes");
        disk->second.written_bytes = count("wr_bytes");
    }
    std::vector<DiskState> list;
    for (auto& [name, disk] : disks) list.push_back(std::move(disk));
    co_return list;
}

Async<> balloon(Qmp& qmp, uint64_t memory_bytes) {
    return done(qmp, "balloon", {{"value", memory_bytes}});
}

Async<uint64_t> query_balloon(Qmp& qmp) {
    CO_TRY_ASSIGN(const Json answer, co_await qmp.call("query-balloon"));
    const auto actual = unsigned_at(answer, "actual");
    if (!actual) co_return unexpected("query-balloon", answer);
    co_return *actual;
}

Async<std::vector<int32_t>> query_cpu_threads(Qmp& qmp) {
    CO_TRY_ASSIGN(const Json answer, co_await qmp.call("query-cpus-fast"));
    if (!answer.is_array()) co_return unexpected("query-cpus-fast", answer);
    std::map<int64_t, int32_t> threads;
    for (const Json& cpu : answer.get_array()) {
        const auto index = integer_at(cpu, "cpu-index");
        const auto thread = integer_at(cpu, "thread-id");
        if (!index || !thread || *thread < 1 || *thread > INT32_MAX) {
            co_return unexpected("query-cpus-fast", answer);
        }
        threads[*index] = static_cast<int32_t>(*thread);
    }
    std::vector<int32_t> list;
    for (const auto& [index, thread] : threads) list.push_back(thread);
    co_return list;
}

Async<std::string> query_uuid(Qmp& qmp) {
    CO_TRY_ASSIGN(const Json answer, co_await qmp.call("query-uuid"));
    const auto uuid = text_at(answer, "UUID");
    if (!uuid) co_return unexpected("query-uuid", answer);
    co_return *uuid;
}

}  // namespace stoa::qemu
