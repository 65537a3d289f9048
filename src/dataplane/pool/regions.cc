#include "dataplane/pool/regions.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "base/mutant.h"
#include "dataplane/pool/region_bits.h"

namespace stoa::pool {

Regions::Regions(io::Executor& executor, Devices& devices, const Checksums& checksums,
                 uint32_t region_blocks, uint32_t regions_max, uint64_t reserve_blocks)
    : executor_(executor), devices_(devices), checksums_(checksums), region_blocks_(region_blocks),
      shift_(static_cast<unsigned>(std::countr_zero(region_blocks))), regions_max_(regions_max),
      reserve_blocks_(reserve_blocks), free_physical_(kDevicesMax), physical_count_(kDevicesMax) {}

Regions::Maps Regions::fresh_maps() const {
    Maps maps;
    maps.live.assign(region_blocks_ / 64, 0);
    set_bits(maps.live, 0, 2, true);
    set_bits(maps.live, region_blocks_ - 2, 2, true);
    maps.busy = maps.live;
    maps.free_count = region_blocks_ - kRegionFixedBlocks;
    return maps;
}

void Regions::add_device_space(size_t device, uint32_t from_region, uint32_t to_region) {
    auto& list = free_physical_[device];
    for (uint32_t r = to_region; r > from_region; --r) list.insert(list.begin(), r - 1);
    std::ranges::sort(list, std::greater<>());
    physical_count_[device] = to_region;
}

bool Regions::is_plausible(BlockAddress address, RegionClass wanted) const {
    const uint64_t region = address >> shift_;
    if (region >= regions_.size()) return false;
    const RegionEntry& entry = regions_[region].entry;
    const uint64_t offset = address & (region_blocks_ - 1);
    return entry.in_use && entry.region_class == wanted && offset >= 2 &&
           offset < region_blocks_ - 2;
}

Location Regions::locate(BlockAddress address, size_t place) const {
    const RegionEntry& entry = regions_[region_of(address)].entry;
    const PhysicalPlace where = entry.place[place];
    const PoolDevice& device = devices_.list[where.device];
    return {where.device,
            device.layout.region_start(where.region) + (address & (region_blocks_ - 1))};
}

bool Regions::is_out_of_reach(const RegionEntry& entry) const {
    for (size_t i = 0; i < entry.places; ++i) {
        if (devices_.list[entry.place[i].device].device != nullptr) return false;
    }
    return true;
}

bool Regions::has_stranger(const RegionEntry& entry) const {
    for (size_t i = 0; i < entry.places; ++i) {
        if (!devices_.list[entry.place[i].device].is_member()) return true;
    }
    return false;
}

bool Regions::is_away(BlockAddress address) const {
    const uint32_t region = region_of(address);
    return region < regions_.size() && regions_[region].entry.in_use &&
           is_out_of_reach(regions_[region].entry);
}

size_t Regions::unassigned_regions() const {
    size_t count = 0;
    for (size_t d = 0; d < devices_.list.size(); ++d) {
        if (devices_.list[d].is_member()) count += free_physical_[d].size();
    }
    return count;
}

uint64_t Regions::metadata_headroom() const {
    return free_[2] + 2 * free_[3] + unassigned_regions() * (region_blocks_ - kRegionFixedBlocks);
}

uint64_t Regions::data_available() const {
    // Data may take unassigned regions while nodes keep the reserve.
    uint64_t available = free_[1] + reserved_;
    const uint64_t headroom = metadata_headroom();
    if (headroom > reserve_blocks_) {
        const uint64_t usable = region_blocks_ - kRegionFixedBlocks;
        const uint64_t regions =
            std::min<uint64_t>((headroom - reserve_blocks_) / usable, unassigned_regions());
        available += regions * usable;
    }
    return available;
}

bool Regions::nodes_available(uint64_t count) const {
    return (free_[2] >= count || may_assign(RegionClass::leaf)) &&
           (free_[3] >= std::min(count, kMetaKept) || unassigned_regions() >= 2);
}

bool Regions::may_assign(RegionClass wanted) const {
    const size_t unassigned = unassigned_regions();
    const uint64_t usable = region_blocks_ - kRegionFixedBlocks;
    // Interior nodes need a pair of places: the last one is theirs while they have little else.
    const bool leaves_pair =
        unassigned > 0 && free_[3] + (unassigned - 1) / 2 * usable >= kMetaKept;
    switch (wanted) {
        case RegionClass::data:
            return leaves_pair && metadata_headroom() >= reserve_blocks_ + usable;
        case RegionClass::leaf: return leaves_pair;
        case RegionClass::meta: return unassigned >= 2;
        case RegionClass::none: break;
    }
    return false;
}

Result<uint32_t> Regions::assign(RegionClass wanted) {
    if (!may_assign(wanted)) return Error(ErrorCode::no_space, "no region is left");
    uint32_t index = 0;
    if (!unused_.empty()) {
        index = unused_.back();
    } else if (regions_.size() < regions_max_) {
        index = static_cast<uint32_t>(regions_.size());
    } else {
        return Error(ErrorCode::no_space,
                     fmt::format("the pool has its maximum of {} regions", regions_max_));
    }
    // The emptiest device first; a second place on another device where there is one.
    std::array<PhysicalPlace, 3> place{};
    const uint8_t places = wanted == RegionClass::meta ? 2 : 1;
    for (uint8_t i = 0; i < places; ++i) {
        size_t best = kDevicesMax;
        for (size_t d = 0; d < devices_.list.size(); ++d) {
            if (!devices_.list[d].is_member() || free_physical_[d].empty()) continue;
            const bool repeats = i == 1 && d == place[0].device;
            const bool best_repeats = i == 1 && best == place[0].device;
            if (best == kDevicesMax || (best_repeats && !repeats) ||
                (best_repeats == repeats &&
                 free_physical_[d].size() > free_physical_[best].size())) {
                best = d;
            }
        }
        CHECK(best < kDevicesMax);
        auto& list = free_physical_[best];
        // The second copy on one device lies far from the first.
        const bool far = i == 1 && best == place[0].device;
        const auto at = far ? list.begin() : list.end() - 1;
        place[i] = {static_cast<uint16_t>(best), *at};
        list.erase(at);
    }
    if (!unused_.empty()) unused_.pop_back();
    else regions_.emplace_back();
    Region& region = regions_[index];
    region = Region{};
    region.entry.in_use = true;
    region.entry.region_class = wanted;
    region.entry.places = places;
    region.entry.place = place;
    region.entry.bitmap_slot = 1;  // the first checkpoint writes slot 0
    region.maps = std::make_unique<Maps>(fresh_maps());
    region.changed_interval = interval_;
    free_[static_cast<size_t>(wanted)] += region_blocks_ - kRegionFixedBlocks;
    if (wanted == RegionClass::data && on_assign_) on_assign_(index, region.entry);
    return index;
}

void Regions::take_from_free(RegionClass region_class, uint64_t count) {
    const auto c = static_cast<size_t>(region_class);
    CHECK(free_[c] >= count);
    free_[c] -= count;
    used_[c] += count;
}

Run Regions::try_allocate(RegionClass wanted, uint64_t want) {
    const auto c = static_cast<size_t>(wanted);
    if (!has_open_[c]) return {};
    Region& region = regions_[open_[c]];
    Maps& maps = *region.maps;
    uint32_t at = maps.cursor;
    while (at < region_blocks_) {
        const uint64_t rest = ~maps.busy[at / 64] >> (at % 64);
        if (rest != 0) {
            at += static_cast<uint32_t>(std::countr_zero(rest));
            break;
        }
        at = (at / 64 + 1) * 64;
    }
    if (at >= region_blocks_) {
        has_open_[c] = false;
        return {};
    }
    uint32_t end = at;
    while (end < region_blocks_ && end - at < want && !get_bit(maps.busy, end)) ++end;
    const uint32_t count = end - at;
    set_bits(maps.busy, at, count, true);
    maps.free_count -= count;
    maps.cursor = end;
    region.in_flight += count;
    take_from_free(wanted, count);
    return {(BlockAddress{open_[c]} << shift_) + at, count};
}

Run Regions::try_allocate(Stream& stream, uint64_t want) {
    constexpr uint64_t kStreamBlocks = 256;
    if (stream.run.count == 0) {
        const bool plenty = data_available() > 64 * kStreamBlocks;
        stream.run = try_allocate(RegionClass::data, plenty ? std::max(want, kStreamBlocks) : want);
        if (stream.run.count == 0) return {};
        reserved_ += stream.run.count;
    }
    const Run taken{stream.run.address, std::min(want, stream.run.count)};
    stream.run.address += taken.count;
    stream.run.count -= taken.count;
    reserved_ -= taken.count;
    return taken;
}

void Regions::give_back(Stream& stream) {
    if (stream.run.count == 0) return;
    reserved_ -= stream.run.count;
    cancel_allocated(stream.run);
    stream.run = {};
}

io::Task<Result<void>> Regions::refill(RegionClass wanted) {
    const auto c = static_cast<size_t>(wanted);
    if (has_open_[c]) co_return Result<void>{};
    // Fresh regions first: whole runs. When they are needed elsewhere, the emptiest used one.
    const bool roomy =
        wanted != RegionClass::data || metadata_headroom() > 2 * reserve_blocks_ + region_blocks_;
    if (roomy && free_[c] < region_blocks_ / 4) {
        if (Result<uint32_t> fresh = assign(wanted); fresh.ok()) {
            open_[c] = *fresh;
            has_open_[c] = true;
            co_return Result<void>{};
        }
    }
    for (;;) {
        uint32_t best = UINT32_MAX;
        uint32_t best_free = 0;
        for (uint32_t r = 0; r < regions_.size(); ++r) {
            const Region& region = regions_[r];
            if (region.entry.region_class != wanted || !region.entry.in_use || region.retiring ||
                region.damaged || region.away) {
                continue;
            }
            const uint32_t available =
                region.maps ? region.maps->free_count : region.entry.free_blocks;
            if (available > best_free) {
                best = r;
                best_free = available;
            }
        }
        if (best == UINT32_MAX) break;
        if (!regions_[best].maps) {
            Result<void> loaded = co_await load_maps(best);
            if (has_open_[c]) co_return Result<void>{};  // somebody else was faster
            if (!loaded.ok()) {
                if (loaded.error().code() == ErrorCode::corrupt) continue;  // now marked damaged
                co_return loaded;
            }
            // It may have begun to retire, or have been emptied, while it was read.
            if (regions_[best].retiring || !regions_[best].maps ||
                regions_[best].maps->free_count == 0) {
                continue;
            }
        }
        regions_[best].maps->cursor = 0;
        open_[c] = best;
        has_open_[c] = true;
        co_return Result<void>{};
    }
    CO_TRY_ASSIGN(const uint32_t fresh, assign(wanted));
    open_[c] = fresh;
    has_open_[c] = true;
    co_return Result<void>{};
}

io::Task<Result<BlockAddress>> Regions::allocate_node(RegionClass wanted) {
    for (;;) {
        const Run run = try_allocate(wanted, 1);
        if (run.count == 1) co_return run.address;
        CO_TRY(co_await refill(wanted));
    }
}

void Regions::commit_allocated(Run run, FrozenSpace* frozen) {
    Region& region = regions_[region_of(run.address)];
    CHECK(region.in_flight >= run.count);
    region.in_flight -= static_cast<uint32_t>(run.count);
    region.changed_interval = interval_;
    append_run(frozen != nullptr ? frozen->allocated : allocated_, run);
}

void Regions::cancel_allocated(Run run) {
    Region& region = regions_[region_of(run.address)];
    CHECK(region.in_flight >= run.count);
    region.in_flight -= static_cast<uint32_t>(run.count);
    // The write may have reached the device: until the next checkpoint the address rests, so that
    // no address is written twice between two superblocks. It is as if it was used and freed.
    region.changed_interval = interval_;
    append_run(allocated_, run);
    free(run);
}

void Regions::set_bad(BlockAddress address, FrozenSpace* frozen) {
    commit_allocated({address, 1}, frozen);
    ++bad_blocks_[class_index(address)];
    if (frozen != nullptr) ++frozen->bad_blocks[class_index(address)];
}

void Regions::give_up(BlockAddress address, int error, FrozenSpace* frozen) {
    if (is_bad_place(error)) return set_bad(address, frozen);
    commit_allocated({address, 1}, frozen);
    free({address, 1}, frozen);
}

void Regions::free(Run run, FrozenSpace* frozen) {
    quarantined_[class_index(run.address)] += run.count;
    append_run(frozen != nullptr ? frozen->freed : freed_, run);
    if (MUTANT(3)) {  // quarantine ends at the free itself
        Region& region = regions_[region_of(run.address)];
        if (region.maps) {
            const uint64_t at = run.address & (region_blocks_ - 1);
            for (uint64_t i = 0; i < run.count; ++i) {
                if (get_bit(region.maps->busy, at + i)) ++region.maps->free_count;
            }
            set_bits(region.maps->busy, at, run.count, false);
            region.maps->cursor = 0;
            free_[class_index(run.address)] += run.count;
            used_[class_index(run.address)] -= run.count;
        }
    }
}

uint64_t Regions::quarantine() const {
    return quarantined_[1] + quarantined_[2] + 2 * quarantined_[3];
}

void Regions::mark_damaged(Region& region) {
    if (region.damaged) return;
    region.damaged = true;
    free_of(region) -= region.entry.free_blocks;
    used_[static_cast<size_t>(region.entry.region_class)] += region.entry.free_blocks;
}

io::Task<Result<void>> Regions::load_maps(uint32_t index) {
    // A checkpoint may make another slot count while this one is read.
    const RegionEntry before = regions_[index].entry;
    Result<std::vector<uint64_t>> live = co_await read_live(index);
    if (regions_[index].entry.in_use && !regions_[index].maps &&
        (regions_[index].entry.bitmap_slot != before.bitmap_slot ||
         regions_[index].entry.bitmap_crc != before.bitmap_crc)) {
        co_return co_await load_maps(index);
    }
    Region& region = regions_[index];
    if (!region.entry.in_use) co_return Result<void>{};  // it was given up meanwhile
    if (region.maps) co_return Result<void>{};  // loaded by somebody else meanwhile
    if (!live.ok()) {
        mark_damaged(region);
        co_return live.take_error();
    }
    Maps maps;
    maps.busy = *live;
    maps.live = *std::move(live);
    if (unreleased_ != nullptr) {
        for (const Run& run : unreleased_->freed) {
            if (region_of(run.address) == index) {
                set_bits(maps.busy, run.address & (region_blocks_ - 1), run.count, true);
            }
        }
    }
    maps.free_count = count_zeros(maps.busy);
    region.maps = std::make_unique<Maps>(std::move(maps));
    region.changed_interval = std::max(region.changed_interval, interval_);
    co_return Result<void>{};
}

Regions::Figures Regions::figures() const {
    Figures f;
    uint64_t in_regions = 0;
    for (size_t d = 0; d < devices_.list.size(); ++d) {
        const PoolDevice& device = devices_.list[d];
        f.total += device.device != nullptr ? device.device->size_bytes() / kBlockBytes
                                            : device.layout.region_start(physical_count_[d]);
        (device.is_member() ? f.free : f.away) += free_physical_[d].size() * region_blocks_;
    }
    f.free += free_[1] + reserved_ + free_[2] + 2 * free_[3];
    f.away += free_away_[1] + free_away_[2] + 2 * free_away_[3];
    f.quarantine = quarantine();
    f.bad = bad_blocks_[1] + bad_blocks_[2] + 2 * bad_blocks_[3];
    f.data = used_[1] - quarantined_[1] - reserved_ - bad_blocks_[1];
    f.nodes = used_[2] - quarantined_[2] - bad_blocks_[2] +
              2 * (used_[3] - quarantined_[3] - bad_blocks_[3]);
    in_regions = f.data + f.nodes + f.quarantine + f.bad + f.free + f.away;
    f.system = f.total - std::min(in_regions, f.total);
    return f;
}

}  // namespace stoa::pool
