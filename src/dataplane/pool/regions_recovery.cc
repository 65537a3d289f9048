// Regions when a pool is opened: the table, and what the journal did after it.
#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "base/mutant.h"
#include "dataplane/pool/region_bits.h"
#include "dataplane/pool/regions.h"

namespace stoa::pool {

Result<void> Regions::load_table(std::vector<RegionEntry> table,
                                 std::span<const DeviceSlot> device_slots) {
    std::vector<std::vector<bool>> taken(kDevicesMax);
    for (size_t d = 0; d < kDevicesMax; ++d)
        taken[d].assign(device_slots[d].physical_regions, false);
    regions_.clear();
    regions_.resize(table.size());
    for (uint32_t r = 0; r < table.size(); ++r) {
        Region& region = regions_[r];
        region.entry = table[r];
        if (!region.entry.in_use) {
            unused_.push_back(r);
            continue;
        }
        region.persisted = true;
        for (size_t i = 0; i < region.entry.places; ++i) {
            const PhysicalPlace place = region.entry.place[i];
            if (place.device >= kDevicesMax || place.region >= taken[place.device].size() ||
                taken[place.device][place.region]) {
                return Error(ErrorCode::corrupt,
                             fmt::format("region {} lies at a place that is taken or outside: "
                                         "device {} region {}",
                                         r, place.device, place.region));
            }
            taken[place.device][place.region] = true;
        }
        if (region.entry.free_blocks > region_blocks_ - kRegionFixedBlocks) {
            return Error(ErrorCode::corrupt, fmt::format("region {} claims {} free blocks", r,
                                                         region.entry.free_blocks));
        }
        const auto c = static_cast<size_t>(region.entry.region_class);
        free_[c] += region.entry.free_blocks;
        used_[c] += region_blocks_ - kRegionFixedBlocks - region.entry.free_blocks;
    }
    std::ranges::reverse(unused_);
    for (size_t d = 0; d < kDevicesMax; ++d) {
        for (size_t r = taken[d].size(); r > 0; --r) {
            if (!taken[d][r - 1]) free_physical_[d].push_back(static_cast<uint32_t>(r - 1));
        }
    }
    return {};
}

Result<void> Regions::check_replayed(const Run& run, bool allocated) const {
    const uint64_t index = run.address >> shift_;
    const uint64_t offset = run.address & (region_blocks_ - 1);
    // Bitmaps lie at both ends of a region: no run reaches from one into the next.
    const bool content = index < regions_.size() && regions_[index].entry.in_use && offset >= 2 &&
                         run.count <= region_blocks_ && offset + run.count <= region_blocks_ - 2;
    if (content && (!allocated || regions_[index].entry.region_class == RegionClass::data)) {
        return {};
    }
    return Error(ErrorCode::corrupt,
                 fmt::format("the journal {} {} blocks from block {} on, where none can be",
                             allocated ? "allocates" : "frees", run.count, run.address));
}

io::Task<Result<void>> Regions::replay(std::vector<Run> allocated, std::vector<Run> freed) {
    // Before anything is cut into pieces: a record's length says little about its runs.
    for (const Run& run : freed) CO_TRY(check_replayed(run, false));
    for (const Run& run : allocated) CO_TRY(check_replayed(run, true));
    // Everything that was taken is loaded, so that it is busy; what was freed stays busy anyway.
    for (const Run& run : by_region(allocated, region_blocks_)) {
        const uint32_t index = region_of(run.address);
        Region& region = regions_[index];
        if (!region.maps) CO_TRY(co_await load_maps(index));
        Maps& maps = *regions_[index].maps;
        for (uint64_t i = 0; i < run.count; ++i) {
            const uint64_t at = (run.address & (region_blocks_ - 1)) + i;
            if (get_bit(maps.busy, at)) {
                co_return Error(ErrorCode::corrupt,
                                fmt::format("the journal allocates block {}, which is in use",
                                            run.address + i));
            }
            set_bits(maps.busy, at, 1, true);
        }
        maps.free_count -= static_cast<uint32_t>(run.count);
        take_from_free(regions_[index].entry.region_class, run.count);
        regions_[index].changed_interval = interval_;
        append_run(allocated_, run);
    }
    for (const Run& run : freed) free(run);
    replayed_frees_ = by_region(freed, region_blocks_);
    co_return Result<void>{};
}

Result<void> Regions::replay_assign(uint32_t index, const RegionEntry& entry) {
    const bool known = index < regions_.size() && regions_[index].entry.in_use;
    if (known || index >= regions_max_) {
        return Error(
            ErrorCode::corrupt,
            fmt::format("the journal assigns region {}, which is in use or too high", index));
    }
    for (size_t i = 0; i < entry.places; ++i) {
        auto& list = free_physical_[std::min<size_t>(entry.place[i].device, kDevicesMax - 1)];
        const auto found = std::ranges::find(list, entry.place[i].region);
        if (found == list.end()) {
            return Error(ErrorCode::corrupt,
                         fmt::format("the journal assigns region {} a place that is taken", index));
        }
        list.erase(found);
    }
    // Regions of nodes assigned meanwhile were lost with their checkpoint: gaps are unused.
    while (regions_.size() <= index) {
        unused_.push_back(static_cast<uint32_t>(regions_.size()));
        regions_.emplace_back();
    }
    std::erase(unused_, index);
    Region& region = regions_[index];
    region = Region{};
    region.entry = entry;
    region.entry.bitmap_slot = 1;
    region.maps = std::make_unique<Maps>(fresh_maps());
    region.changed_interval = interval_;
    free_[static_cast<size_t>(entry.region_class)] += region_blocks_ - kRegionFixedBlocks;
    return {};
}

void Regions::unassign(uint32_t index) {
    Region& region = regions_[index];
    free_[static_cast<size_t>(region.entry.region_class)] -= region_blocks_ - kRegionFixedBlocks;
    for (size_t i = 0; i < region.entry.places; ++i) {
        free_physical_[region.entry.place[i].device].push_back(region.entry.place[i].region);
    }
    region = Region{};
    unused_.push_back(index);
}

bool Regions::freed_by_replay(BlockAddress address) const {
    auto after = std::ranges::upper_bound(replayed_frees_, address, {}, &Run::address);
    if (after == replayed_frees_.begin()) return false;
    --after;
    return address < after->address + after->count;
}

void Regions::forget_replay() { replayed_frees_ = {}; }

}  // namespace stoa::pool
