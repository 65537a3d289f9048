// Regions at a checkpoint: the frozen changes go into the bitmaps on disk, then the quarantine
// ends.
#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "base/mutant.h"
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
        if (regions_[r].entry.in_use && !regions_[r].persisted) frozen.fresh.push_back(r);
    }
    ++interval_;
    return frozen;
}

io::Task<Result<std::vector<uint64_t>>> Regions::read_live(uint32_t index) {
    const RegionEntry entry = regions_[index].entry;
    AlignedBuffer buffer(kBlockBytes);
    int error = 0;
    for (size_t place = 0; place < entry.places; ++place) {
        for (const uint64_t offset :
             {uint64_t{entry.bitmap_slot}, uint64_t{region_blocks_} - 2 + entry.bitmap_slot}) {
            const PhysicalPlace where = entry.place[place];
            const uint64_t block =
                devices_.list[where.device].layout.region_start(where.region) + offset;
            error = co_await devices_.read(where.device, block, buffer.bytes());
            if (error != 0) continue;
            if (checksums_.block(buffer.bytes(), bitmap_place(index), 0) != entry.bitmap_crc) {
                continue;
            }
            std::vector<uint64_t> live(region_blocks_ / 64);
            std::memcpy(live.data(), buffer.data(), live.size() * 8);
            const bool fixed =
                get_bit(live, 0) && get_bit(live, 1) && get_bit(live, region_blocks_ - 2) &&
                get_bit(live, region_blocks_ - 1) && count_zeros(live) == entry.free_blocks;
            if (fixed) co_return live;
        }
    }
    co_return Error(ErrorCode::corrupt,
                    fmt::format("bitmap of region {} cannot be read in any copy", index), error);
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
    FrozenSpace::Update update{index, static_cast<uint8_t>(1 - region.entry.bitmap_slot), 0,
                               free_blocks, false};
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
        co_await write_bitmap_copy(where.device, start + update.slot, buffer.bytes(), error);
        co_await write_bitmap_copy(where.device, start + region_blocks_ - 2 + update.slot,
                                   buffer.bytes(), error);
    }
    if (error != 0) {
        co_return Error(ErrorCode::io, fmt::format("bitmap of region {} cannot be written", index),
                        error);
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

io::Task<Result<void>> Regions::write_bitmaps(FrozenSpace& frozen) {
    const std::vector<Run> allocated = by_region(frozen.allocated, region_blocks_);
    const std::vector<Run> freed = by_region(frozen.freed, region_blocks_);
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
        co_await slots.acquire();
        group.spawn(update_bitmap_into(region, std::span(allocated).subspan(a, a_end - a),
                                       std::span(freed).subspan(f, f_end - f), frozen, slots,
                                       outcome));
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
    }
    for (const Run& run : by_region(frozen.allocated, region_blocks_)) {
        Region& region = regions_[region_of(run.address)];
        if (region.maps) {
            set_bits(region.maps->live, run.address & (region_blocks_ - 1), run.count, true);
        }
    }
    for (const Run& run : by_region(frozen.freed, region_blocks_)) {
        Region& region = regions_[region_of(run.address)];
        if (region.maps) {
            set_bits(region.maps->live, run.address & (region_blocks_ - 1), run.count, false);
        }
    }
    durable_interval_ = interval_ - 1;
    unreleased_ = &frozen;
}

void Regions::release(FrozenSpace& frozen) {
    for (const Run& run : by_region(frozen.freed, region_blocks_)) {
        const size_t c = class_index(run.address);
        Region& region = regions_[region_of(run.address)];
        quarantined_[c] -= run.count;
        used_[c] -= run.count;
        if (region.damaged) {
            used_[c] += run.count;
            continue;
        }
        free_[c] += run.count;
        if (region.maps) {
            set_bits(region.maps->busy, run.address & (region_blocks_ - 1), run.count, false);
            region.maps->free_count += static_cast<uint32_t>(run.count);
        }
    }
    for (const FrozenSpace::Update& update : frozen.updates) {
        if (!update.retire) continue;
        Region& region = regions_[update.region];
        const auto c = static_cast<size_t>(region.entry.region_class);
        free_[c] -= region_blocks_ - kRegionFixedBlocks;
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
