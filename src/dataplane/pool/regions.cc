#include "dataplane/pool/regions.h"

#include <algorithm>
#include <bit>

#include <fmt/format.h>

#include "base/mutant.h"

namespace stoa::pool {

namespace {

void set_bits(std::vector<uint64_t>& words, uint64_t from, uint64_t count, bool on) {
    for (uint64_t i = from; i < from + count; ++i) {
        const uint64_t bit = uint64_t{1} << (i % 64);
        if (on) words[i / 64] |= bit;
        else words[i / 64] &= ~bit;
    }
}

bool get_bit(const std::vector<uint64_t>& words, uint64_t i) {
    return (words[i / 64] >> (i % 64) & 1) != 0;
}

uint32_t count_zeros(const std::vector<uint64_t>& words) {
    uint32_t zeros = 0;
    for (const uint64_t w : words) zeros += static_cast<uint32_t>(std::popcount(~w));
    return zeros;
}

void append_run(std::vector<Run>& runs, Run run) {
    if (!runs.empty() && runs.back().address + runs.back().count == run.address) {
        runs.back().count += run.count;
    } else {
        runs.push_back(run);
    }
}

// Cuts runs at region borders and sorts them, so that each region's runs are neighbours.
std::vector<Run> by_region(const std::vector<Run>& runs, uint32_t region_blocks) {
    std::vector<Run> cut;
    cut.reserve(runs.size());
    for (Run run : runs) {
        while (run.count > 0) {
            const uint64_t left = region_blocks - run.address % region_blocks;
            const uint64_t take = std::min(run.count, left);
            cut.push_back({run.address, take});
            run.address += take;
            run.count -= take;
        }
    }
    std::ranges::sort(cut, {}, &Run::address);
    return cut;
}

}  // namespace

Regions::Regions(io::Executor& executor, Devices& devices, const Checksums& checksums,
                 uint32_t region_blocks, uint32_t regions_max, uint64_t reserve_blocks)
    : executor_(executor), devices_(devices), checksums_(checksums), region_blocks_(region_blocks),
      shift_(static_cast<unsigned>(std::countr_zero(region_blocks))), regions_max_(regions_max),
      reserve_blocks_(reserve_blocks), free_physical_(kDevicesMax) {}

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
}

Result<void> Regions::load_table(std::vector<RegionEntry> table,
                                 std::span<const DeviceSlot> device_slots) {
    std::vector<std::vector<bool>> taken(kDevicesMax);
    for (size_t d = 0; d < kDevicesMax; ++d) taken[d].assign(device_slots[d].physical_regions, false);
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

size_t Regions::unassigned_regions() const {
    size_t count = 0;
    for (size_t d = 0; d < devices_.list.size(); ++d) {
        if (devices_.list[d].device != nullptr) count += free_physical_[d].size();
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

bool Regions::may_assign(RegionClass wanted) const {
    const size_t unassigned = unassigned_regions();
    const uint64_t usable = region_blocks_ - kRegionFixedBlocks;
    switch (wanted) {
        case RegionClass::data:
            return unassigned > 0 && metadata_headroom() >= reserve_blocks_ + usable;
        case RegionClass::leaf:
            // Interior nodes need a pair of places: leaves leave it to them.
            return unassigned > (free_[3] > 0 ? 0U : 2U);
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
            if (devices_.list[d].device == nullptr || free_physical_[d].empty()) continue;
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
    const bool roomy = wanted != RegionClass::data ||
                       metadata_headroom() > 2 * reserve_blocks_ + region_blocks_;
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
                region.damaged || devices_.list[region.entry.place[0].device].device == nullptr) {
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

void Regions::set_bad(BlockAddress address) {
    commit_allocated({address, 1});
    ++bad_blocks_;
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
            const bool fixed = get_bit(live, 0) && get_bit(live, 1) &&
                               get_bit(live, region_blocks_ - 2) &&
                               get_bit(live, region_blocks_ - 1) &&
                               count_zeros(live) == entry.free_blocks;
            if (fixed) co_return live;
        }
    }
    co_return Error(ErrorCode::corrupt,
                    fmt::format("bitmap of region {} cannot be read in any copy", index), error);
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
        if (!region.damaged) {
            region.damaged = true;
            const auto c = static_cast<size_t>(region.entry.region_class);
            free_[c] -= region.entry.free_blocks;
            used_[c] += region.entry.free_blocks;
        }
        co_return live.take_error();
    }
    Maps maps;
    maps.busy = *live;
    maps.live = *std::move(live);
    if (unreleased_ != nullptr) {
        for (const Run& run : by_region(unreleased_->freed, region_blocks_)) {
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
            regions_[index].damaged = true;
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

io::Task<Result<void>> Regions::replay(std::vector<Run> allocated, std::vector<Run> freed) {
    // Everything that was taken is loaded, so that it is busy; what was freed stays busy anyway.
    for (const Run& run : by_region(allocated, region_blocks_)) {
        const uint32_t index = region_of(run.address);
        if (index >= regions_.size() || !regions_[index].entry.in_use) {
            co_return Error(ErrorCode::corrupt,
                            fmt::format("the journal allocates block {}, beyond the pool",
                                        run.address));
        }
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
    for (const Run& run : freed) {
        if (region_of(run.address) >= regions_.size()) {
            co_return Error(ErrorCode::corrupt,
                            fmt::format("the journal frees block {}, beyond the pool", run.address));
        }
        free(run);
    }
    replayed_frees_ = by_region(freed, region_blocks_);
    co_return Result<void>{};
}

Result<void> Regions::replay_assign(uint32_t index, const RegionEntry& entry) {
    const bool known = index < regions_.size() && regions_[index].entry.in_use;
    if (known || index >= regions_max_) {
        return Error(ErrorCode::corrupt,
                     fmt::format("the journal assigns region {}, which is in use or too high",
                                 index));
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

Regions::Figures Regions::figures() const {
    Figures f;
    uint64_t in_regions = 0;
    for (size_t d = 0; d < devices_.list.size(); ++d) {
        if (devices_.list[d].device == nullptr) continue;
        f.total += devices_.list[d].device->size_bytes() / kBlockBytes;
        f.free += uint64_t{free_physical_[d].size()} * region_blocks_;
    }
    f.free += free_[1] + reserved_ + free_[2] + 2 * free_[3];
    f.quarantine = quarantine();
    f.bad = bad_blocks_;
    f.data = used_[1] - quarantined_[1] - reserved_ - bad_blocks_;
    f.nodes = used_[2] - quarantined_[2] + 2 * (used_[3] - quarantined_[3]);
    in_regions = f.data + f.nodes + f.quarantine + f.bad + f.free;
    f.system = f.total - std::min(in_regions, f.total);
    return f;
}

}  // namespace stoa::pool
