// Regions on missing devices: changes of their bitmaps are kept elsewhere, and come home with the
// device. docs/format/pool.md, "Region and bitmap".
#include <algorithm>
#include <cerrno>
#include <set>

#include <fmt/format.h>

#include "dataplane/io/system_error.h"
#include "dataplane/pool/block_io.h"
#include "dataplane/pool/region_bits.h"
#include "dataplane/pool/regions.h"

namespace stoa::pool {

namespace {

constexpr int kWriteAttempts = 8;

}  // namespace

// The bits in which the bitmap differs from the one on the region's devices.
io::Task<Result<std::vector<uint64_t>>> Regions::read_delta(uint32_t index) {
    std::vector<uint64_t> delta(region_blocks_ / 64);
    const Entry entry = regions_[index].entry.delta;
    if (entry == Entry{}) co_return delta;
    if (!is_plausible(entry.address(), RegionClass::meta)) {
        co_return Error(ErrorCode::corrupt,
                        fmt::format("the bitmap difference of region {} lies at block {}, where "
                                    "none can be",
                                    index, entry.address()));
    }
    AlignedBuffer buffer(kBlockBytes);
    CO_TRY(co_await blocks_->read(entry, buffer.bytes()));
    std::memcpy(delta.data(), buffer.data(), delta.size() * 8);
    co_return delta;
}

io::Task<Result<void>> Regions::write_deltas(FrozenSpace& frozen, BlockIo& blocks, Epoch birth) {
    std::set<uint32_t> changed(frozen.fresh.begin(), frozen.fresh.end());
    for (const Run& run : frozen.allocated) changed.insert(region_of(run.address));
    for (const Run& run : frozen.freed) changed.insert(region_of(run.address));
    // A difference that is replaced is freed, and may itself lie in a region that is away.
    std::vector<uint32_t> open(changed.begin(), changed.end());
    while (!open.empty()) {
        const uint32_t index = open.back();
        open.pop_back();
        // No reference: regions may be assigned while something is read.
        const Entry delta = regions_[index].entry.delta;
        if (delta == Entry{} || regions_[index].damaged) continue;
        // Kept if what it belongs to cannot be read: the table goes on naming it.
        const auto read = is_out_of_reach(regions_[index].entry) ? co_await read_delta(index)
                                                                 : co_await read_live(index);
        if (!read.ok()) {
            regions_[index].damaged = true;
            continue;
        }
        free({delta.address(), 1}, &frozen);
        if (changed.insert(region_of(delta.address())).second) {
            open.push_back(region_of(delta.address()));
        }
    }
    for (const uint32_t region : changed) {
        if (!is_out_of_reach(regions_[region].entry)) continue;
        CO_TRY(co_await write_delta(region, frozen, blocks, birth));
    }
    co_return Result<void>{};
}

io::Task<Result<void>> Regions::write_delta(uint32_t index, FrozenSpace& frozen, BlockIo& blocks,
                                            Epoch birth) {
    // Its changes are lost if it is damaged: a leak, nothing else.
    if (regions_[index].damaged) co_return Result<void>{};
    CO_TRY_ASSIGN(std::vector<uint64_t> delta, co_await read_delta(index));
    Region& region = regions_[index];
    uint64_t free_blocks =
        region.persisted ? region.entry.free_blocks : region_blocks_ - kRegionFixedBlocks;
    const auto flip = [&](const Run& run, bool frees) {
        if (region_of(run.address) != index) return;
        for (uint64_t i = 0; i < run.count; ++i) {
            const uint64_t at = (run.address & (region_blocks_ - 1)) + i;
            set_bits(delta, at, 1, !get_bit(delta, at));
        }
        free_blocks = frees ? free_blocks + run.count : free_blocks - run.count;
    };
    for (const Run& run : by_region(frozen.allocated, region_blocks_)) flip(run, false);
    for (const Run& run : by_region(frozen.freed, region_blocks_)) flip(run, true);
    if (free_blocks > region_blocks_ - kRegionFixedBlocks) {
        co_return Error(ErrorCode::corrupt,
                        fmt::format("region {} on a missing device would have {} free blocks",
                                    index, free_blocks));
    }
    FrozenSpace::Update update{.region = index,
                               .slot = region.entry.bitmap_slot,
                               .crc = region.entry.bitmap_crc,
                               .free_blocks = static_cast<uint32_t>(free_blocks)};
    update.bitmap_unwritten = !region.persisted || region.entry.bitmap_unwritten;
    if (free_blocks == region_blocks_ - kRegionFixedBlocks && region.persisted) {
        update.retire = true;
        region.retiring = true;
        frozen.updates.push_back(update);
        co_return Result<void>{};
    }
    AlignedBuffer buffer(kBlockBytes);
    std::ranges::fill(buffer.bytes(), std::byte{0});
    std::memcpy(buffer.data(), delta.data(), delta.size() * 8);
    for (int attempt = 1;; ++attempt) {
        CO_TRY_ASSIGN(const BlockAddress address, co_await allocate_node(RegionClass::meta));
        const int error = co_await blocks.write(address, buffer.bytes());
        if (error == 0) {
            commit_allocated({address, 1}, &frozen);
            const uint32_t crc = checksums_.block(buffer.bytes(), address, birth);
            update.delta = Entry::make(EntryKind::data, address, birth, crc);
            break;
        }
        give_up(address, error, &frozen);
        if (attempt >= kWriteAttempts || !is_bad_place(error)) {
            co_return io::failed_io("a bitmap difference could not be written", error);
        }
    }
    frozen.updates.push_back(update);
    co_return Result<void>{};
}

void Regions::renew_bitmaps_of(size_t device) {
    for (Region& region : regions_) {
        if (!region.entry.in_use || is_out_of_reach(region.entry)) continue;
        bool here = false;
        bool elsewhere = region.entry.delta != Entry{};
        for (size_t i = 0; i < region.entry.places; ++i) {
            (region.entry.place[i].device == device ? here : elsewhere) = true;
        }
        region.renew = region.renew || (here && elsewhere);
    }
}

std::vector<uint32_t> Regions::doubled_on_one_device() const {
    std::vector<uint32_t> found;
    for (uint32_t r = 0; r < regions_.size(); ++r) {
        const Region& region = regions_[r];
        const RegionEntry& entry = region.entry;
        if (entry.in_use && entry.places == 2 && entry.place[0].device == entry.place[1].device &&
            region.persisted && !region.damaged && !region.away) {
            found.push_back(r);
        }
    }
    return found;
}

std::optional<PhysicalPlace> Regions::take_place_elsewhere(uint32_t region) {
    size_t best = kDevicesMax;
    for (size_t d = 0; d < devices_.list.size(); ++d) {
        const PoolDevice& device = devices_.list[d];
        if ((!device.is_member() && !device.joins) || free_physical_[d].empty()) continue;
        if (d == regions_[region].entry.place[0].device) continue;
        if (best == kDevicesMax || free_physical_[d].size() > free_physical_[best].size()) best = d;
    }
    if (best == kDevicesMax) return std::nullopt;
    const PhysicalPlace place{static_cast<uint16_t>(best), free_physical_[best].back()};
    free_physical_[best].pop_back();
    return place;
}

void Regions::move_second_copy(uint32_t region, PhysicalPlace to) {
    vacated_.push_back(regions_[region].entry.place[1]);
    regions_[region].entry.place[1] = to;
    regions_[region].renew = true;
}

void Regions::take_back_devices() {
    for (const PhysicalPlace& place : vacated_)
        free_physical_[place.device].push_back(place.region);
    vacated_.clear();
    for (Region& region : regions_) {
        if (!region.away || has_stranger(region.entry)) continue;
        const uint64_t count =
            region.entry.in_use && !region.damaged ? region.entry.free_blocks : 0;
        free_of(region) -= count;
        region.away = false;
        free_of(region) += count;
    }
}

}  // namespace stoa::pool
