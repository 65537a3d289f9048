// stoa-pool explain: where one block of a volume lies, and who shares it.
#include <fmt/format.h>

#include <cstdio>

#include "apps/pool/commands.h"
#include "apps/pool/engine.h"
#include "apps/pool/json.h"
#include "apps/pool/size.h"
#include "base/output.h"

namespace stoa::apps::pool {

namespace {

std::string_view kind_name(block::ExtentKind kind) {
    switch (kind) {
        case block::ExtentKind::absent: return "absent";
        case block::ExtentKind::hole: return "hole";
        case block::ExtentKind::data: return "data";
        case block::ExtentKind::damaged: return "damaged";
    }
    return "unknown";
}

Result<Uuid> find(const stoa::pool::Pool& pool, const std::string& name) {
    if (auto uuid = Uuid::parse(name)) return *uuid;
    return pool.find_volume(name);
}

void print_json(const stoa::pool::BlockExplanation& block, uint64_t offset_bytes) {
    std::vector<std::string> shared;
    shared.reserve(block.shared_with.size());
    for (const Uuid& uuid : block.shared_with) shared.push_back(uuid.to_string());
    JsonObject json;
    json.add("offset", offset_bytes).add("kind", kind_name(block.kind));
    json.add("address", block.address).add("birth", block.birth);
    json.add("crc", fmt::format("{:08x}", block.crc)).add("device", block.device);
    json.add("device_offset", block.device_offset_bytes).add("checksum_ok", block.checksum_ok);
    stoa::print("{}\n", json.add("shared_with", shared).text());
}

void print_text(const stoa::pool::BlockExplanation& block, uint64_t offset_bytes) {
    stoa::print("offset      {} (block {})\n", offset_bytes, offset_bytes / 4096);
    stoa::print("kind        {}, born in epoch {}\n", kind_name(block.kind), block.birth);
    if (block.kind != block::ExtentKind::data) return;
    stoa::print("address     {}\n", block.address);
    stoa::print("device      {} at byte {}\n", block.device, block.device_offset_bytes);
    stoa::print("checksum    {:08x}, {}\n", block.crc, block.checksum_ok ? "good" : "does not fit");
    for (const Uuid& uuid : block.shared_with) stoa::print("shared with {}\n", uuid.to_string());
}

io::Task<int> explain(stoa::pool::Pool& pool, const ExplainCommand& command,
                      uint64_t offset_bytes) {
    const auto uuid = find(pool, command.volume);
    if (!uuid) co_return fail(uuid.error());
    const auto block = co_await pool.explain(*uuid, offset_bytes);
    if (!block) co_return fail(block.error());
    if (command.json) print_json(*block, offset_bytes);
    else print_text(*block, offset_bytes);
    co_return kOk;
}

}  // namespace

int run_explain(const ExplainCommand& command) {
    const auto offset_bytes = parse_size(command.offset);
    if (!offset_bytes) return fail(offset_bytes.error());
    return with_pool(command.devices, command.accept_missing_devices,
                     [&](stoa::pool::Pool& pool) { return explain(pool, command, *offset_bytes); });
}

}  // namespace stoa::apps::pool
