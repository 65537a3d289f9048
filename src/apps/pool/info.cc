// stoa-pool info: devices, space, volumes and snapshots of a pool.
#include <fmt/format.h>

#include <cstdio>

#include "apps/pool/commands.h"
#include "apps/pool/engine.h"
#include "apps/pool/json.h"
#include "apps/pool/size.h"
#include "base/output.h"
#include "base/utf8.h"

namespace stoa::apps::pool {

namespace {

constexpr uint64_t kBlockBytes = 4096;

std::string space_json(const stoa::pool::SpaceInfo& space) {
    JsonObject json;
    json.add("total_blocks", space.total).add("system_blocks", space.system);
    json.add("data_blocks", space.data).add("node_blocks", space.nodes);
    json.add("quarantine_blocks", space.quarantine).add("bad_blocks", space.bad);
    json.add("free_blocks", space.free).add("reserve_blocks", space.reserve);
    return json.add("settling", space.settling).text();
}

void print_json(const stoa::pool::Pool& pool) {
    const stoa::pool::PoolInfo info = pool.info();
    std::vector<std::string> devices;
    for (const auto& device : info.devices) {
        JsonObject json;
        json.add("uuid", device.uuid.to_string()).add("name", device.name);
        devices.push_back(
            json.add("size_bytes", device.size_bytes).add("missing", device.missing).text());
    }
    std::vector<std::string> volumes;
    for (const auto& volume : pool.volumes()) {
        JsonObject json;
        json.add("uuid", volume.uuid.to_string()).add("name", volume.name);
        json.add("size_bytes", volume.size_bytes).add("mapped_bytes", volume.mapped_bytes);
        json.add("created_ns", volume.created_ns).add("parent", volume.parent.to_string());
        json.add("origin", volume.origin.to_string()).add("hydrated", volume.hydrated);
        json.add("protected", volume.is_protected).add("deleting", volume.deleting);
        volumes.push_back(json.add("snapshots", volume.snapshot_count).text());
    }
    std::vector<std::string> snapshots;
    for (const auto& snapshot : pool.snapshots(std::nullopt)) {
        JsonObject json;
        json.add("uuid", snapshot.uuid.to_string()).add("name", snapshot.name);
        json.add("volume", snapshot.volume.to_string());
        json.add("parent", snapshot.parent.to_string()).add("size_bytes", snapshot.size_bytes);
        json.add("mapped_bytes", snapshot.mapped_bytes).add("created_ns", snapshot.created_ns);
        json.add("protected", snapshot.is_protected);
        snapshots.push_back(json.add("deleting", snapshot.deleting).text());
    }
    JsonObject json;
    json.add("uuid", info.uuid.to_string()).add("name", info.name);
    json.add("read_only_reason", info.read_only_reason).add("generation", info.generation);
    json.add("incarnation", info.incarnation).add("region_blocks", info.region_blocks);
    json.raw("space", space_json(info.space)).raw("devices", json_array(devices));
    json.raw("volumes", json_array(volumes)).raw("snapshots", json_array(snapshots));
    stoa::print("{}\n", json.text());
}

void print_devices(const stoa::pool::PoolInfo& info) {
    for (size_t i = 0; i < info.devices.size(); ++i) {
        const auto& device = info.devices[i];
        if (device.name.empty()) {
            stoa::print("device      {} is missing ({})\n", i, device.uuid.to_string());
            continue;
        }
        stoa::print("device      {} ({}) {}{}\n", device.name, device.uuid.to_string(),
                    format_size(device.size_bytes),
                    device.missing
                        ? ", was away: not up to date until the pool is opened for writing"
                        : "");
    }
}

void print_text(const stoa::pool::Pool& pool) {
    const stoa::pool::PoolInfo info = pool.info();
    stoa::print("pool        {} ({})\n", to_plain_text(info.name), info.uuid.to_string());
    stoa::print("state       generation {}, incarnation {}\n", info.generation, info.incarnation);
    if (!info.read_only_reason.empty()) stoa::print("read-only   {}\n", info.read_only_reason);
    const auto blocks = [](uint64_t count) { return format_size(count * kBlockBytes); };
    const stoa::pool::SpaceInfo& space = info.space;
    stoa::print("space       {} total, {} free ({} of it reserved)\n", blocks(space.total),
                blocks(space.free), blocks(space.reserve));
    stoa::print("used        {} data, {} map, {} system, {} freed soon, {} bad{}\n",
                blocks(space.data), blocks(space.nodes), blocks(space.system),
                blocks(space.quarantine), blocks(space.bad),
                space.settling ? "; deletions are still running" : "");
    if (space.away > 0) stoa::print("away        {} free on missing devices\n", blocks(space.away));
    print_devices(info);
    for (const auto& volume : pool.volumes()) {
        stoa::print("volume      {} ({}) {}, {} mapped, {}{}{}\n", to_plain_text(volume.name),
                    volume.uuid.to_string(), format_size(volume.size_bytes),
                    format_size(volume.mapped_bytes), count_of(volume.snapshot_count, "snapshot"),
                    volume.is_protected ? ", protected" : "",
                    volume.deleting ? ", being deleted" : "");
        for (const auto& snapshot : pool.snapshots(volume.uuid)) {
            stoa::print("  snapshot  {} ({}) {}, {}{}\n", to_plain_text(snapshot.name),
                        snapshot.uuid.to_string(), format_size(snapshot.size_bytes),
                        count_of(snapshot.clones.size(), "clone"),
                        snapshot.deleting ? ", being deleted" : "");
        }
    }
}

io::Task<int> show(stoa::pool::Pool& pool, bool json) {
    if (json) print_json(pool);
    else print_text(pool);
    co_return kOk;
}

}  // namespace

int run_info(const InfoCommand& command) {
    return with_pool(command.devices, command.accept_missing_devices,
                     [&](stoa::pool::Pool& pool) { return show(pool, command.json); });
}

}  // namespace stoa::apps::pool
