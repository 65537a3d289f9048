// Regions at a checkpoint: the frozen changes go into the bitmaps on disk, then the quarantine
// ends.
#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "base/mutant.h"
#include "dataplane/io/system_error.h"
#include "dataplane/pool/region_bits.h"
#include "dataplane/pool/regions.h"

namespace stoa::pool {

FrozenSpace Regions::freeze() {
    FrozenSpace frozen;
    frozen.allocated = std::move(allocated_);
    frozen.freed = std::move(freed_);
    frozen.bad_blocks = bad_blocks_;
    allocated_.clear();
    freed_.clear();
    for (uint32_t r = 0; r < regions_.size(); ++r) {
        Region& region = regions_[r];
        if (region.entry.in_use && (!region.persisted || region.renew)) frozen.fresh.push_back(r);
        region.renew = false;
    }
    ++interval_;
    return frozen;
}

io::Task<Result<std::vector<uint64_t>>> Regions::read_live(uint32_t index) {
    const RegionEntry entry = regions_[index].entry;
    std::vector<uint64_t> live;
    if (entry.bitmap_unwritten) {
        live = fresh_maps().live;
    } else {
        CO_TRY_ASSIGN(live, co_await read_written(index));
    }
    if (entry.delta != Entry{}) {
        CO_TRY_ASSIGN(const std::vector<uint64_t> delta, co_await read_delta(index));
        for (size_t i = 0; i < live.size(); ++i) live[i] ^= delta[i];
    }
    const bool fixed = get_bit(live, 0) && get_bit(live, 1) && get_bit(live, region_blocks_ - 2) &&
                       get_bit(live, region_blocks_ - 1);
    if (!fixed || count_zeros(live) != entry.free_blocks) {
        co_return Error(ErrorCode::corrupt,
                        fmt::format("bitmap of region {} is not what its table entry says", index));
    }
    co_return live;
}

// The bitmap as it is on the region's devices.
io::Task<Result<std::vector<uint64_t>>> Regions::read_written(uint32_t index) {
    const RegionEntry entry = regions_[index].entry;
    AlignedBuffer buffer(kBlockBytes);
    int error = 0;
    // What cannot be read costs space for as long as the pool is open: an I/O error may pass.
    constexpr size_t kAttempts = 4;
    for (size_t attempt = 0; attempt < kAttempts * 2 * entry.places; ++attempt) {
        const uint64_t offset =
            attempt % 2 == 0 ? entry.bitmap_slot : uint64_t{region_blocks_} - 2 + entry.bitmap_slot;
        const PhysicalPlace where = entry.place[attempt / 2 % entry.places];
        const uint64_t block =
            devices_.list[where.device].layout.region_start(where.region) + offset;
        const int result = co_await devices_.read(where.device, block, buffer.bytes());
        if (result != 0) error = result;
        if (result == 0 &&
            checksums_.block(buffer.bytes(), bitmap_place(index), 0) == entry.bitmap_crc) {
            std::vector<uint64_t> live(region_blocks_ / 64);
            std::memcpy(live.data(), buffer.data(), live.size() * 8);
            co_return live;
        }
        const bool all_seen = (attempt + 1) % (2 * entry.places) == 0;
        if (all_seen && error == 0) break;
    }
    co_return Error(ErrorCode::corrupt,
                    fmt::format("bitmap of region {} cannot be read in any copy", index), error);
}

io::Task<uint64_t> Regions::mend_bitmap(uint32_t index) {
    const RegionEntry entry = regions_[index].entry;
    if (!entry.in_use || !regions_[index].persisted || is_out_of_reach(entry)) co_return 0;
    AlignedBuffer good(kBlockBytes);
    AlignedBuffer block(kBlockBytes);
    std::vector<Location> bad;
    bool found = false;
    for (size_t i = 0; i < 2 * entry.places; ++i) {
        const PhysicalPlace where = entry.place[i / 2];
        if (!devices_.list[where.device].is_member()) continue;
        const uint64_t offset =
            i % 2 == 0 ? entry.bitmap_slot : uint64_t{region_blocks_} - 2 + entry.bitmap_slot;
        const Location at{where.device,
                          devices_.list[where.device].layout.region_start(where.region) + offset};
        const int error = co_await devices_.read(at.device, at.block, block.bytes());
        if (error == 0 &&
            checksums_.block(block.bytes(), bitmap_place(index), 0) == entry.bitmap_crc) {
            std::ranges::copy(block.bytes(), good.data());
            found = true;
        } else {
            bad.push_back(at);
        }
    }
    uint64_t repaired = 0;
    for (const Location& at : bad) {
        if (!found) break;
        if (co_await devices_.write_once(at.device, at.block, good.bytes()) == 0) ++repaired;
    }
    co_return repaired;
}

io::Task<void> Regions::write_bitmap_copy(size_t device, uint64_t block, ConstBytes from,
                                          int& error) {
    const int result = co_await devices_.write(device, block, from);
    if (result != 0) error = result;
}

io::Task<Result<void>> Regions::update_bitmap(uint32_t index, std::span<const Run> allocated,
                                              std::span<const Run> freed, FrozenSpace& frozen) {
    std::vector<uint64_t> live;
    if (!regions_[index].persisted) {
        live = fresh_maps().live;
    } else if (regions_[index].maps) {
        live = regions_[index].maps->live;
    } else {
        if (regions_[index].damaged && regions_[index].entry.delta != Entry{}) {
            co_return Result<void>{};  // its difference was not freed: it stays as it is
        }
        Result<std::vector<uint64_t>> read = co_await read_live(index);
        if (!read.ok()) {
            // Its frees are lost (a leak that fsck reports), nothing else is.
            mark_damaged(regions_[index]);
            co_return Result<void>{};
        }
        live = *std::move(read);
    }
    const uint64_t mask = region_blocks_ - 1;
    for (const Run& run : allocated) {
        for (uint64_t i = 0; i < run.count; ++i) {
            const uint64_t at = (run.address & mask) + i;
            if (get_bit(live, at)) {
                co_return Error(ErrorCode::corrupt,
                                fmt::format("block {} is allocated twice", run.address + i));
            }
            set_bits(live, at, 1, true);
        }
    }
    for (const Run& run : freed) {
        for (uint64_t i = 0; i < run.count; ++i) {
            const uint64_t at = (run.address & mask) + i;
            if (!get_bit(live, at)) {
                co_return Error(ErrorCode::corrupt,
                                fmt::format("block {} is freed twice", run.address + i));
            }
            set_bits(live, at, 1, false);
        }
    }
    if (MUTANT(4) && regions_[index].maps) live = regions_[index].maps->busy;  // foreground changes
    const uint32_t free_blocks = count_zeros(live);
    Region& region = regions_[index];
    FrozenSpace::Update update{.region = index,
                               .slot = static_cast<uint8_t>(1 - region.entry.bitmap_slot),
                               .crc = 0,
                               .free_blocks = free_blocks};
    const bool empty = free_blocks == region_blocks_ - kRegionFixedBlocks;
    if (empty && region.persisted && region.in_flight == 0 && region.changed_interval < interval_ &&
        !(has_open_[class_index(uint64_t{index} << shift_)] &&
          open_[class_index(uint64_t{index} << shift_)] == index)) {
        update.retire = true;
        region.retiring = true;
        frozen.updates.push_back(update);
        co_return Result<void>{};
    }
    AlignedBuffer buffer(kBlockBytes);
    std::ranges::fill(buffer.bytes(), std::byte{0});
    std::memcpy(buffer.data(), live.data(), live.size() * 8);
    update.crc = checksums_.block(buffer.bytes(), bitmap_place(index), 0);
    const RegionEntry entry = region.entry;
    int error = 0;
    for (size_t place = 0; place < entry.places; ++place) {
        const PhysicalPlace where = entry.place[place];
        const uint64_t start = devices_.list[where.device].layout.region_start(where.region);
        if (devices_.list[where.device].device == nullptr) continue;  // renewed when it returns
        co_await write_bitmap_copy(where.device, start + update.slot, buffer.bytes(), error);
        co_await write_bitmap_copy(where.device, start + region_blocks_ - 2 + update.slot,
                                   buffer.bytes(), error);
    }
    if (error != 0) {
        co_return io::failed_io(fmt::format("bitmap of region {} cannot be written", index), error);
    }
    frozen.updates.push_back(update);
    co_return Result<void>{};
}

io::Task<void> Regions::update_bitmap_into(uint32_t region, std::span<const Run> allocated,
                                           std::span<const Run> freed, FrozenSpace& frozen,
                                           io::Semaphore& slots, Result<void>& outcome) {
    Result<void> result = co_await update_bitmap(region, allocated, freed, frozen);
    if (!result.ok() && outcome.ok()) outcome = result;
    slots.release();
}

io::Task<Result<void>> Regions::write_bitmaps(FrozenSpace& frozen, BlockIo& blocks, Epoch birth) {
    CO_TRY(co_await write_deltas(frozen, blocks, birth));
    // Once for all that follows: nothing is added to them any more.
    frozen.allocated = by_region(frozen.allocated, region_blocks_);
    frozen.freed = by_region(frozen.freed, region_blocks_);
    const std::vector<Run>& allocated = frozen.allocated;
    const std::vector<Run>& freed = frozen.freed;
    const std::vector<uint32_t> fresh = frozen.fresh;  // ascending
    constexpr uint64_t kAtOnce = 32;
    io::Semaphore slots(executor_, kAtOnce);
    io::TaskGroup group(executor_);
    Result<void> outcome;
    size_t a = 0;
    size_t f = 0;
    size_t n = 0;
    while (outcome.ok() && (a < allocated.size() || f < freed.size() || n < fresh.size())) {
        uint32_t region = UINT32_MAX;
        if (a < allocated.size()) region = region_of(allocated[a].address);
        if (f < freed.size()) region = std::min(region, region_of(freed[f].address));
        if (n < fresh.size()) region = std::min(region, fresh[n]);
        size_t a_end = a;
        while (a_end < allocated.size() && region_of(allocated[a_end].address) == region) ++a_end;
        size_t f_end = f;
        while (f_end < freed.size() && region_of(freed[f_end].address) == region) ++f_end;
        if (n < fresh.size() && fresh[n] == region) ++n;
        const bool done = is_out_of_reach(regions_[region].entry);
        if (!done) {
            co_await slots.acquire();
            group.spawn(update_bitmap_into(region, std::span(allocated).subspan(a, a_end - a),
                                           std::span(freed).subspan(f, f_end - f), frozen, slots,
                                           outcome));
        }
        a = a_end;
        f = f_end;
    }
    co_await group.join();
    co_return outcome;
}

std::vector<RegionEntry> Regions::table_with(const FrozenSpace& frozen) const {
    std::vector<RegionEntry> table(regions_.size());
    for (size_t r = 0; r < regions_.size(); ++r) {
        // A region assigned since, without a bitmap yet, is not part of the state.
        if (regions_[r].persisted) table[r] = regions_[r].entry;
    }
    for (const FrozenSpace::Update& update : frozen.updates) {
        RegionEntry& entry = table[update.region];
        entry = regions_[update.region].entry;
        entry.bitmap_slot = update.slot;
        entry.bitmap_crc = update.crc;
        entry.free_blocks = update.free_blocks;
        entry.delta = update.delta;
        entry.bitmap_unwritten = update.bitmap_unwritten;
        if (update.retire) entry = RegionEntry{};
    }
    return table;
}

void Regions::make_durable(const FrozenSpace& frozen) {
    for (const FrozenSpace::Update& update : frozen.updates) {
        Region& region = regions_[update.region];
        if (update.retire) continue;
        region.persisted = true;
        region.entry.bitmap_slot = update.slot;
        region.entry.bitmap_crc = update.crc;
        region.entry.free_blocks = update.free_blocks;
        region.entry.delta = update.delta;
        region.entry.bitmap_unwritten = update.bitmap_unwritten;
    }
    for (const Run& run : frozen.allocated) {
        Region& region = regions_[region_of(run.address)];
        if (region.maps) {
            set_bits(region.maps->live, run.address & (region_blocks_ - 1), run.count, true);
        }
    }
    for (const Run& run : frozen.freed) {
        Region& region = regions_[region_of(run.address)];
        if (region.maps) {
            set_bits(region.maps->live, run.address & (region_blocks_ - 1), run.count, false);
        }
    }
    durable_interval_ = interval_ - 1;
    unreleased_ = &frozen;
}

void Regions::release(FrozenSpace& frozen) {
    for (const Run& run : frozen.freed) {
        const size_t c = class_index(run.address);
        Region& region = regions_[region_of(run.address)];
        quarantined_[c] -= run.count;
        used_[c] -= run.count;
        if (region.damaged) {
            used_[c] += run.count;
            continue;
        }
        free_of(region) += run.count;
        if (region.maps) {
            set_bits(region.maps->busy, run.address & (region_blocks_ - 1), run.count, false);
            region.maps->free_count += static_cast<uint32_t>(run.count);
        }
    }
    for (const FrozenSpace::Update& update : frozen.updates) {
        if (!update.retire) continue;
        Region& region = regions_[update.region];
        free_of(region) -= region_blocks_ - kRegionFixedBlocks;
        for (size_t i = 0; i < region.entry.places; ++i) {
            free_physical_[region.entry.place[i].device].push_back(region.entry.place[i].region);
        }
        region = Region{};
        unused_.push_back(update.region);
    }
    frozen = FrozenSpace{};
    unreleased_ = nullptr;
    drop_idle_maps();
}

void Regions::drop_idle_maps() {
    for (uint32_t r = 0; r < regions_.size(); ++r) {
        Region& region = regions_[r];
        if (!region.maps || region.in_flight > 0 || !region.persisted ||
            region.changed_interval > durable_interval_) {
            continue;
        }
        const auto c = static_cast<size_t>(region.entry.region_class);
        if (has_open_[c] && open_[c] == r) continue;
        region.maps.reset();
    }
}

}  // namespace stoa::pool
