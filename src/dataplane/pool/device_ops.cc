#include "dataplane/pool/device_ops.h"

#include <fmt/format.h>

#include "dataplane/pool/checkpoint.h"
#include "dataplane/pool/format_device.h"
#include "dataplane/pool/takeover.h"

namespace stoa::pool {

namespace {

Result<void> check_capacity(const Core& core, uint32_t more_regions) {
    uint64_t regions = more_regions;
    for (const DeviceSlot& slot : core.superblock.devices) regions += slot.physical_regions;
    if (regions > core.label.regions_max) {
        return Error(
            ErrorCode::out_of_range,
            fmt::format("pool '{}' was created for at most {} bytes; it would get {}",
                        core.label.name,
                        uint64_t{core.label.regions_max} * core.label.region_blocks * kBlockBytes,
                        regions * core.label.region_blocks * kBlockBytes));
    }
    return {};
}

}  // namespace

io::Task<Result<void>> grow_device(Core& core, size_t index) {
    if (!core.writable()) co_return core.read_only_error();
    if (index >= core.devices.list.size() || core.devices.list[index].device == nullptr) {
        co_return Error(ErrorCode::not_found, fmt::format("the pool has no device {}", index));
    }
    io::Device& device = *core.devices.list[index].device;
    CO_TRY_ASSIGN(const uint64_t size, device.refresh_size());
    static_cast<void>(size);
    io::Mutex::Guard guard = co_await core.checkpoint_lock.lock();
    const uint32_t before = core.superblock.devices[index].physical_regions;
    const uint32_t now = physical_regions(device, core.label);
    if (now <= before) co_return Result<void>{};
    CO_TRY(check_capacity(core, now - before));
    Superblock next = core.superblock;
    next.devices[index].physical_regions = now;
    Result<void> written = co_await write_superblock(core, next);
    if (!written.ok()) {
        core.fail(written.error());
        co_return written;
    }
    core.regions.add_device_space(index, before, now);
    core.room.notify_all();
    co_return Result<void>{};
}

io::Task<Result<void>> add_device(Core& core, io::Device& device, bool force,
                                  io::ForeignData* foreign) {
    if (!core.writable()) co_return core.read_only_error();
    if (!force) CO_TRY(co_await check_device_is_free(device, foreign));
    io::Mutex::Guard guard = co_await core.checkpoint_lock.lock();
    for (const PoolDevice& other : core.devices.list) {
        if (other.device != &device) continue;
        co_return Error(ErrorCode::already_exists,
                        fmt::format("device {} belongs to the pool already", device.name()));
    }
    const size_t index = core.devices.list.size();
    if (index >= kDevicesMax) {
        co_return Error(
            ErrorCode::out_of_range,
            fmt::format("pool '{}' has its maximum of {} devices", core.label.name, kDevicesMax));
    }
    const uint32_t regions = physical_regions(device, core.label);
    if (regions == 0) {
        co_return Error(ErrorCode::no_space,
                        fmt::format("device {} has {} bytes, too few for one region behind the "
                                    "system area",
                                    device.name(), device.size_bytes()));
    }
    CO_TRY(check_capacity(core, regions));
    Label label = core.label;
    label.device = core.random_uuid();
    label.device_index = static_cast<uint16_t>(index);
    CO_TRY(co_await check_writable(device, DeviceLayout(label)));
    if (force) CO_TRY(co_await clear_device(device, foreign));
    CO_TRY(co_await write_labels(device, label));
    core.devices.list.push_back({&device, label, DeviceLayout(label), false});
    Superblock next = core.superblock;
    next.devices[index] = {label.device, regions, DeviceState::present};
    next.device_count = static_cast<uint16_t>(index + 1);
    Result<void> written = co_await write_superblock(core, next);
    if (!written.ok()) {
        core.fail(written.error());
        co_return written;
    }
    core.regions.add_device_space(index, 0, regions);
    core.room.notify_all();
    co_return Result<void>{};
}

}  // namespace stoa::pool
