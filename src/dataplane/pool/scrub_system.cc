#include "dataplane/pool/scrub_system.h"

#include <algorithm>

#include <fmt/format.h>

namespace stoa::pool {

namespace {

struct Copy {
    size_t device;
    uint64_t block;
};

// Copies of one fixed block; the good one has checksum `crc` at `place`.
io::Task<uint64_t> mend_fixed(Core& core, std::array<Copy, 2> copies, uint64_t place,
                              uint32_t crc) {
    AlignedBuffer good(kBlockBytes);
    AlignedBuffer block(kBlockBytes);
    std::vector<Copy> bad;
    bool found = false;
    for (const Copy& copy : copies) {
        if (!core.devices.list[copy.device].is_member()) continue;
        const int error = co_await core.devices.read(copy.device, copy.block, block.bytes());
        if (error == 0 && stored_crc(core.checksums.block(block.bytes(), place, 0)) == crc) {
            std::ranges::copy(block.bytes(), good.data());
            found = true;
        } else {
            bad.push_back(copy);
        }
    }
    uint64_t repaired = 0;
    for (const Copy& copy : bad) {
        if (!found) break;
        if (co_await core.devices.write_once(copy.device, copy.block, good.bytes()) == 0)
            ++repaired;
    }
    co_return repaired;
}

io::Task<uint64_t> mend_tables(Core& core) {
    const io::Mutex::Guard guard = co_await core.checkpoint_lock.lock();
    const Superblock superblock = core.superblock;
    const std::vector<CheckedSlot> tables = core.tables;
    uint64_t repaired = 0;
    const auto copies_of = [&](auto position) {
        std::array<Copy, 2> copies{};
        for (int copy = 0; copy < 2; ++copy) {
            const size_t device = superblock.placement[static_cast<size_t>(copy)];
            copies[static_cast<size_t>(copy)] = {device,
                                                 position(core.devices.list[device].layout, copy)};
        }
        return copies;
    };
    for (uint32_t i = 0; i < core.label.index_blocks; ++i) {
        const CheckedSlot slot = superblock.index[i];
        if (slot.crc == 0) continue;
        const auto copies = copies_of([&](const DeviceLayout& layout, int copy) {
            return layout.index_block(copy, slot.slot, i);
        });
        repaired += co_await mend_fixed(core, copies, index_place(i), slot.crc);
    }
    for (uint32_t t = 0; t < tables.size(); ++t) {
        const CheckedSlot slot = tables[t];
        if (slot.crc == 0) continue;
        const auto copies = copies_of([&](const DeviceLayout& layout, int copy) {
            return layout.table_block(copy, slot.slot, t);
        });
        repaired += co_await mend_fixed(core, copies, table_place(t), slot.crc);
    }
    co_return repaired;
}

// The newest superblock in its slots of every member; the older slots are the next one's.
io::Task<uint64_t> mend_superblocks(Core& core) {
    const io::Mutex::Guard guard = co_await core.checkpoint_lock.lock();
    AlignedBuffer wanted(kBlockBytes);
    AlignedBuffer found(kBlockBytes);
    encode_superblock(core.superblock, wanted.bytes());
    const uint64_t slot = core.superblock.generation % 2;
    uint64_t repaired = 0;
    for (size_t d = 0; d < core.devices.list.size(); ++d) {
        if (!core.devices.list[d].is_member()) continue;
        for (const auto& copy : core.devices.list[d].layout.superblock) {
            const int error = co_await core.devices.read(d, copy[slot], found.bytes());
            if (error == 0 && std::ranges::equal(found.bytes(), wanted.bytes())) continue;
            const Result<Superblock> other = decode_superblock(found.bytes());
            // Not ours any more: the next checkpoint will say so.
            if (error == 0 && other.ok() && other->pool == core.superblock.pool &&
                other->generation > core.superblock.generation) {
                co_return repaired;
            }
            if (co_await core.devices.write_once(d, copy[slot], wanted.bytes()) == 0) ++repaired;
        }
    }
    co_return repaired;
}

}  // namespace

io::Task<Result<uint64_t>> mend_labels(Core& core, size_t index) {
    const PoolDevice& device = core.devices.list[index];
    AlignedBuffer wanted(kBlockBytes);
    AlignedBuffer found(kBlockBytes);
    encode_label(device.label, wanted.bytes());
    uint64_t repaired = 0;
    for (const uint64_t at : device.layout.label) {
        int error = co_await core.devices.read(index, at, found.bytes());
        if (error == 0 && std::ranges::equal(found.bytes(), wanted.bytes())) continue;
        error = co_await core.devices.write_once(index, at, wanted.bytes());
        if (error == 0) error = co_await core.devices.flush_touched();
        if (error != 0) {
            co_return Error(
                ErrorCode::io,
                fmt::format("the label of device {} cannot be written", device.device->name()),
                error);
        }
        ++repaired;
    }
    co_return repaired;
}

io::Task<Result<void>> scrub_system_area(Core& core, ScrubReport& report) {
    for (size_t d = 0; d < core.devices.list.size(); ++d) {
        if (!core.devices.list[d].is_member()) continue;
        CO_TRY_ASSIGN(const uint64_t repaired, co_await mend_labels(core, d));
        report.blocks_repaired += repaired;
    }
    report.blocks_repaired += co_await mend_superblocks(core);
    report.blocks_repaired += co_await mend_tables(core);
    for (uint32_t region = 0; region < core.regions.region_count(); ++region) {
        if (core.closing) co_return core.closing_error();
        // Between two checkpoints: they move a bitmap from one slot to the other.
        const io::Mutex::Guard guard = co_await core.checkpoint_lock.lock();
        report.blocks_repaired += co_await core.regions.mend_bitmap(region);
    }
    co_return Result<void>{};
}

}  // namespace stoa::pool
