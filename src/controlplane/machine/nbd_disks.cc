#include "controlplane/machine/nbd_disks.h"

#include <algorithm>
#include <map>
#include <set>

#include <fmt/format.h>

namespace stoa::machine {

namespace {

// FNV-1a, from two starts: spreads what an attachment is known by over an id.
uint64_t mix(uint64_t hash, std::string_view text) {
    for (const char c : text) {
        hash ^= static_cast<unsigned char>(c);
        hash *= 0x100000001b3;
    }
    return hash;
}

}  // namespace

Uuid attachment_id(const Uuid& vm, uint64_t epoch, std::string_view disk) {
    const std::string text = fmt::format("{}/{}/{}", vm.to_string(), epoch, disk);
    return Uuid::from_random(mix(0xcbf29ce484222325, text), mix(0x84222325cbf29ce4, text));
}

Result<Uuid> NbdDisks::pool_of_volume(const Uuid& volume) const {
    const auto* record = records_.get<model::Volume>(volume);
    if (record != nullptr) return record->spec.pool;
    return Error(ErrorCode::not_found,
                 fmt::format("volume {} does not exist any more", volume.to_string()));
}

Result<Uuid> NbdDisks::pool_of(const model::VmDisk& disk) const {
    // A CD is the snapshot of an image, which has no record of a volume.
    if (disk.pool) return *disk.pool;
    return pool_of_volume(disk.volume);
}

Async<std::vector<qemu::DiskArgument>> NbdDisks::attach(DiskUser user,
                                                        std::vector<model::VmDisk> disks) {
    std::vector<qemu::DiskArgument> arguments;
    for (const model::VmDisk& disk : disks) {
        CO_TRY_ASSIGN(const Uuid pool, pool_of(disk));
        qemu::DiskArgument argument;
        argument.name = disk.name;
        argument.socket = fmt::format("{}/disk-{}.sock", user.run_directory, disk.name);
        argument.bus = disk.bus;
        argument.media = disk.media;
        argument.read_only = disk.read_only || disk.media == model::DiskMedia::cdrom;
        rpc::AttachmentCreate wanted;
        wanted.uuid = attachment_id(user.vm, user.epoch, disk.name);
        wanted.pool = pool.to_string();
        wanted.object = disk.volume.to_string();
        wanted.listen = "unix:" + argument.socket;
        wanted.epoch = argument.read_only ? 0 : user.epoch;
        wanted.read_only = argument.read_only;
        wanted.owner = user.uid;
        wanted.group = user.gid;
        auto made = co_await blockd_.attachment_create(std::move(wanted));
        if (!made.ok()) co_return made.error().with_context("disk " + disk.name);
        arguments.push_back(std::move(argument));
    }
    co_return arguments;
}

Async<> NbdDisks::detach(Uuid vm, uint64_t epoch, std::vector<model::VmDisk> disks) {
    Result<void> all;
    for (const model::VmDisk& disk : disks) {
        auto done = co_await blockd_.attachment_delete(attachment_id(vm, epoch, disk.name));
        if (!done.ok() && all.ok()) all = done.error().with_context("disk " + disk.name);
    }
    co_return all;
}

size_t NbdDisks::pools_of(const std::vector<model::SnapshotPart>& parts) const {
    std::set<Uuid> pools;
    for (const model::SnapshotPart& part : parts) {
        const auto pool = pool_of_volume(part.volume);
        if (pool.ok()) pools.insert(*pool);
    }
    return pools.size();
}

Async<> NbdDisks::take_snapshots(std::string name, std::vector<model::SnapshotPart> parts) {
    std::map<Uuid, std::vector<rpc::SnapshotSpec>> by_pool;
    for (const model::SnapshotPart& part : parts) {
        CO_TRY_ASSIGN(const Uuid pool, pool_of_volume(part.volume));
        by_pool[pool].push_back({part.volume.to_string(), name, part.snapshot});
    }
    for (auto& [pool, snapshots] : by_pool) {
        auto taken = co_await blockd_.snapshot_create({pool.to_string(), std::move(snapshots)});
        if (!taken.ok()) co_return taken.take_error();
    }
    co_return Result<void>();
}

Async<bool> NbdDisks::has_snapshots(std::vector<model::SnapshotPart> parts) {
    for (const model::SnapshotPart& part : parts) {
        CO_TRY_ASSIGN(const Uuid pool, pool_of_volume(part.volume));
        CO_TRY_ASSIGN(const auto found, co_await blockd_.snapshot_get(pool, part.snapshot));
        if (!found) co_return false;
    }
    co_return true;
}

Async<> NbdDisks::drop_snapshots(std::vector<model::SnapshotPart> parts) {
    for (const model::SnapshotPart& part : parts) {
        const auto pool = pool_of_volume(part.volume);
        if (!pool.ok()) continue;
        CO_TRY(co_await blockd_.snapshot_delete(*pool, part.snapshot));
    }
    co_return Result<void>();
}

Async<size_t> NbdDisks::remove_leftovers(std::vector<Uuid> kept) {
    CO_TRY_ASSIGN(const auto all, co_await blockd_.attachment_list());
    const std::string mine = "unix:" + runtime_ + "/vm/";
    size_t removed = 0;
    for (const rpc::AttachmentStatus& each : all.attachments) {
        if (!each.listen.starts_with(mine) || std::ranges::find(kept, each.uuid) != kept.end()) {
            continue;
        }
        CO_TRY(co_await blockd_.attachment_delete(each.uuid));
        ++removed;
    }
    co_return removed;
}

}  // namespace stoa::machine
