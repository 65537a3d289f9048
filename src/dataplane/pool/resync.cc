#include "dataplane/pool/resync.h"

#include <algorithm>

#include <fmt/format.h>

#include "dataplane/pool/checkpoint.h"
#include "dataplane/pool/scrub_system.h"

namespace stoa::pool {

namespace {

constexpr uint64_t kCopyBlocks = 256;

Error failed(const PoolDevice& device, const char* what, int error) {
    return {ErrorCode::io,
            fmt::format("device {} cannot be resynchronized: {}", device.device->name(), what),
            error};
}

io::Task<Result<void>> erase_superblocks(Core& core, size_t index) {
    const PoolDevice& device = core.devices.list[index];
    AlignedBuffer zeros(kBlockBytes);
    std::ranges::fill(zeros.bytes(), std::byte{0});
    for (const auto& copy : device.layout.superblock) {
        for (const uint64_t at : copy) {
            const int error = co_await core.devices.write(index, at, zeros.bytes());
            if (error != 0) co_return failed(device, "its superblocks", error);
        }
    }
    const int error = co_await core.devices.flush_touched();
    if (error != 0) co_return failed(device, "its superblocks", error);
    co_return Result<void>{};
}

// `count` blocks from another device. What cannot be read there becomes zeros: its reader finds
// that neither copy verifies, as before.
io::Task<Result<void>> copy_blocks(Core& core, size_t from_device, uint64_t from, size_t to_device,
                                   uint64_t to, uint64_t count) {
    AlignedBuffer window(kCopyBlocks * kBlockBytes);
    for (uint64_t done = 0; done < count;) {
        const uint64_t blocks = std::min(kCopyBlocks, count - done);
        const MutableBytes part = window.bytes().first(blocks * kBlockBytes);
        if (co_await core.devices.read(from_device, from + done, part) != 0) {
            for (uint64_t i = 0; i < blocks; ++i) {
                const MutableBytes one = part.subspan(i * kBlockBytes, kBlockBytes);
                if (co_await core.devices.read(from_device, from + done + i, one) != 0) {
                    std::ranges::fill(one, std::byte{0});
                }
            }
        }
        const int error = co_await core.devices.write(to_device, to + done, part);
        if (error != 0) {
            co_return failed(core.devices.list[to_device], "its tables, journal or nodes", error);
        }
        done += blocks;
    }
    co_return Result<void>{};
}

// The tables and the journal, if a copy of them belongs on this device.
io::Task<Result<void>> copy_system_area(Core& core, size_t index) {
    for (size_t copy = 0; copy < 2; ++copy) {
        const size_t source = core.superblock.placement[1 - copy];
        if (core.superblock.placement[copy] != index || source == index) continue;
        const DeviceLayout& from = core.devices.list[source].layout;
        const DeviceLayout& to = core.devices.list[index].layout;
        CO_TRY(co_await copy_blocks(
            core, source, from.table_area[1 - copy], index, to.table_area[copy],
            uint64_t{2} * core.label.index_blocks + uint64_t{2} * core.label.table_blocks));
        CO_TRY(co_await copy_blocks(core, source, from.journal[1 - copy], index, to.journal[copy],
                                    core.label.journal_blocks));
    }
    co_return Result<void>{};
}

// What was doubled on one device for want of another gets its second copy there.
io::Task<Result<void>> spread_copies(Core& core) {
    for (const uint32_t region : core.regions.doubled_on_one_device()) {
        const std::optional<PhysicalPlace> to = core.regions.take_place_elsewhere(region);
        if (!to) continue;
        const PhysicalPlace from = core.regions.entry(region).place[1];
        CO_TRY(co_await copy_blocks(
            core, from.device, core.devices.list[from.device].layout.region_start(from.region),
            to->device, core.devices.list[to->device].layout.region_start(to->region),
            core.label.region_blocks));
        core.regions.move_second_copy(region, *to);
    }
    co_return Result<void>{};
}

}  // namespace

io::Task<Result<void>> resynchronize(Core& core) {
    bool any = false;
    for (size_t d = 0; d < core.devices.list.size(); ++d) {
        if (core.devices.list[d].device == nullptr || !core.devices.list[d].stale) continue;
        any = true;
        core.event(fmt::format("device {} was away and is resynchronized",
                               core.devices.list[d].device->name()));
        CO_TRY(co_await erase_superblocks(core, d));
        CO_TRY_ASSIGN(const uint64_t labels, co_await mend_labels(core, d));
        static_cast<void>(labels);
        CO_TRY(co_await copy_system_area(core, d));
        core.regions.renew_bitmaps_of(d);
        core.devices.list[d].joins = true;
    }
    if (!any) co_return Result<void>{};
    CO_TRY(co_await spread_copies(core));
    // Its superblock lists them as present, and is durable elsewhere before it is written to them.
    Result<void> written = co_await write_checkpoint(core);
    if (!written.ok()) co_return written;
    core.regions.take_back_devices();
    co_return Result<void>{};
}

}  // namespace stoa::pool
