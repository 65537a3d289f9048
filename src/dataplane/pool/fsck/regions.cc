#include "dataplane/pool/fsck/regions.h"

#include <algorithm>
#include <bit>

namespace stoa::fsck {

Regions::Regions(const View& view, Findings& findings)
    : view_(view), findings_(findings), blocks_(view.geometry.region_blocks) {
    by_number_.resize(view.geometry.regions_max);
    for (size_t i = 0; i < kDevicesMax; ++i) {
        if (!view.devices[i]) continue;
        const Device& device = *view.devices[i];
        const uint64_t fit = (device.size_blocks - device.label.data_start) / blocks_;
        physical_used_[i].resize(
            std::min<uint64_t>(fit, view.superblock.devices[i].physical_regions));
    }
    for (uint64_t i = 0; i < view.geometry.index_blocks; ++i) {
        const auto index = read_index(view, view.superblock, i, &findings);
        if (!index) continue;
        const uint64_t end = std::min<uint64_t>(view.geometry.table_blocks, (i + 1) * 512);
        for (uint64_t t = i * 512; t < end; ++t) load_table(t, table_slot(*index, t));
    }
    for (Region& region : regions_) load_bitmap(region);
    for (const Region& region : regions_) claim_difference(region);
    findings.counts().regions = regions_.size();
}

void Regions::load_table(uint64_t t, const IndexSlot& slot) {
    const auto table = read_table(view_, view_.superblock, slot, t, &findings_);
    if (!table) return;
    for (uint64_t i = 0; i < 64; ++i) {
        const RegionEntry entry = load_region_entry(table->data() + 64 * i);
        const uint64_t number = 64 * t + i;
        if (entry.state == 0) continue;
        if (entry.state > 1) {
            findings_.problem("region {}: state is {}", number, entry.state);
            continue;
        }
        if (number >= view_.superblock.region_count) {
            findings_.problem("region {}: in use, but region_count is {}", number,
                              view_.superblock.region_count);
            continue;
        }
        if (const auto fault = take_places(entry)) {
            findings_.problem("region {}: {}", number, *fault);
            continue;
        }
        regions_.push_back({number, entry, false, {}, {}, {}, {}});
        by_number_[number] = static_cast<uint32_t>(regions_.size());
    }
}

// Checks class and places of a region in use, and marks its physical regions as taken.
std::optional<Reason> Regions::take_places(const RegionEntry& entry) {
    if (entry.region_class < kDataClass || entry.region_class > kDoubledClass) {
        return fmt::format("class is {}", entry.region_class);
    }
    if (entry.places != (entry.region_class == kDoubledClass ? 2 : 1)) {
        return fmt::format("class {} with {} places", entry.region_class, entry.places);
    }
    if (entry.bitmap_slot > 1) return fmt::format("bitmap slot is {}", entry.bitmap_slot);
    bool readable = false;
    for (size_t i = 0; i < entry.places; ++i) {
        const RegionEntry::Place& place = entry.place[i];
        if (place.device >= kDevicesMax || view_.superblock.devices[place.device].state == 0) {
            return fmt::format("lies on device {}, which the pool does not have", place.device);
        }
        if (place.physical >= view_.superblock.devices[place.device].physical_regions) {
            return fmt::format("lies at physical region {} of device {}, which has {}",
                               place.physical, place.device,
                               view_.superblock.devices[place.device].physical_regions);
        }
        auto& used = physical_used_[place.device];
        if (place.physical >= used.size()) continue;  // a missing or shrunk device, reported
        if (used[place.physical]) {
            return fmt::format("its physical region {} of device {} belongs to another one too",
                               place.physical, place.device);
        }
        used[place.physical] = true;
        readable = true;
    }
    if (!readable) return "none of its places is on a device that can be read";
    return std::nullopt;
}

// As it is on the region's devices; nothing if no copy verifies.
std::optional<Block> Regions::read_bitmap(const Region& region) {
    std::optional<Block> good;
    std::vector<std::string> bad;
    for (size_t place = 0; place < region.entry.places; ++place) {
        for (const uint64_t start : {uint64_t{0}, blocks_ - 2}) {
            const uint64_t offset = start + region.entry.bitmap_slot;
            const auto position = view_.position(region.entry.place[place], offset);
            Block block;
            if (position && view_.read(region.entry.place[place].device, *position, block) &&
                block_crc(view_.pool, block, kBitmapSeed + region.number, 0) ==
                    region.entry.bitmap_crc) {
                good = block;
            } else {
                bad.push_back(fmt::format("at offset {} of place {}", offset, place));
            }
        }
    }
    for (const std::string& where : bad) {
        if (!good) break;
        findings_.repairable("region {}: the bitmap copy {} is bad, another one is good",
                             region.number, where);
    }
    return good;
}

// Changes the bitmap that is on the devices into the one that counts.
bool Regions::add_difference(const Region& region, Block& bitmap) {
    const Entry& entry = region.entry.difference;
    if (entry == Entry{}) return true;
    if (address_fault(entry.address(), kDoubledClass)) return false;  // said by claim_difference
    const auto difference = read(entry, "the difference of a bitmap");
    if (!difference) return false;
    for (size_t i = 0; i < bitmap.size(); ++i) bitmap[i] ^= (*difference)[i];
    return true;
}

void Regions::claim_difference(const Region& region) {
    const Entry& entry = region.entry.difference;
    if (region.entry.flags > 1 || (region.entry.flags == 1 && entry == Entry{})) {
        findings_.problem("region {}: flags are {}", region.number, region.entry.flags);
    }
    if (entry == Entry{}) return;
    if (entry.kind() != Kind::data) {
        findings_.problem("region {}: the difference of its bitmap is not a DATA entry",
                          region.number);
        return;
    }
    if (const auto fault = address_fault(entry.address(), kDoubledClass)) {
        findings_.problem("region {}: the difference of its bitmap is at address {}: {}",
                          region.number, entry.address(), *fault);
        return;
    }
    constexpr uint64_t kDifferences = uint64_t{1} << 63;
    if (claim(entry.address(), kDifferences + region.number) != Claim::first) {
        findings_.problem(
            "region {}: address {}, with the difference of its bitmap, is also "
            "referred to as something else",
            region.number, entry.address());
    } else if (!allocated(entry.address())) {
        findings_.problem("region {}: address {}, with the difference of its bitmap, is free",
                          region.number, entry.address());
    }
    if (entry.birth() >= view_.superblock.epoch) {
        findings_.problem(
            "region {}: the difference of its bitmap has birth {}, the pool's epoch "
            "is {}",
            region.number, entry.birth(), view_.superblock.epoch);
    }
}

void Regions::load_bitmap(Region& region) {
    std::optional<Block> good;
    if (region.entry.flags == 1) {
        good = Block{};
        for (const uint64_t offset : {uint64_t{0}, uint64_t{1}, blocks_ - 2, blocks_ - 1}) {
            (*good)[offset / 8] |= static_cast<std::byte>(1 << offset % 8);
        }
    } else {
        good = read_bitmap(region);
    }
    // Unknown counts as allocated: nothing is then called free or leaked without proof.
    region.bits.assign(blocks_ / 8, 0xFF);
    if (!good || !add_difference(region, *good)) {
        findings_.problem("region {}: no copy of its bitmap can be read and verified",
                          region.number);
        return;
    }
    for (size_t i = 0; i < region.bits.size(); ++i) {
        region.bits[i] = std::to_integer<uint8_t>((*good)[i]);
    }
    region.bitmap_known = true;
    check_bitmap(region, *good);
}

void Regions::check_bitmap(const Region& region, const Block& bitmap) {
    if (!is_zero(ConstBytes(bitmap).subspan(region.bits.size()))) {
        findings_.problem("region {}: its bitmap has bits beyond block {}", region.number,
                          blocks_ - 1);
    }
    uint64_t set = 0;
    for (const uint8_t byte : region.bits) set += static_cast<uint64_t>(std::popcount(byte));
    if (blocks_ - set != region.entry.free_blocks) {
        findings_.problem("region {}: its table entry counts {} free blocks, its bitmap has {}",
                          region.number, region.entry.free_blocks, blocks_ - set);
    }
    for (const uint64_t offset : {uint64_t{0}, uint64_t{1}, blocks_ - 2, blocks_ - 1}) {
        if ((region.bits[offset / 8] >> (offset % 8) & 1) != 0) {
            --set;
        } else {
            findings_.problem("region {}: its bitmap calls bitmap block {} free", region.number,
                              offset);
        }
    }
    findings_.counts().allocated_blocks += set;
}

Regions::Region* Regions::find(uint64_t address) {
    const uint64_t number = address / blocks_;
    if (number >= by_number_.size() || by_number_[number] == 0) return nullptr;
    return &regions_[by_number_[number] - 1];
}

const Regions::Region* Regions::find(uint64_t address) const {
    return const_cast<Regions*>(this)->find(address);
}

bool Regions::is_bitmap_block(uint64_t offset) const { return offset < 2 || offset >= blocks_ - 2; }

std::optional<Reason> Regions::address_fault(uint64_t address, uint8_t region_class) const {
    const Region* region = find(address);
    if (region == nullptr) {
        return fmt::format("region {} is not in use", address / blocks_);
    }
    if (region->entry.region_class != region_class) {
        return fmt::format("region {} is of class {}, not {}", region->number,
                           region->entry.region_class, region_class);
    }
    if (is_bitmap_block(address % blocks_)) return "it is a bitmap block";
    return std::nullopt;
}

Claim Regions::claim(uint64_t address, uint64_t fingerprint) {
    Region& region = *find(address);
    if (region.fingerprints.empty()) region.fingerprints.resize(blocks_);
    uint64_t& known = region.fingerprints[address % blocks_];
    if (known == 0) {
        known = fingerprint;
        return Claim::first;
    }
    return known == fingerprint ? Claim::again : Claim::conflict;
}

bool Regions::claimed(uint64_t address) const {
    const Region* region = find(address);
    return !region->fingerprints.empty() && region->fingerprints[address % blocks_] != 0;
}

bool Regions::allocated(uint64_t address) const {
    const Region* region = find(address);
    const uint64_t offset = address % blocks_;
    return (region->bits[offset / 8] >> (offset % 8) & 1) != 0;
}

void Regions::add_holders(uint64_t address, uint64_t trees) {
    Region& region = *find(address);
    if (region.holders.empty()) region.holders.resize(blocks_);
    region.holders[address % blocks_] |= trees;
}

std::optional<Block> Regions::read(const Entry& entry, const char* what) {
    const Region& region = *find(entry.address());
    std::optional<Block> good;
    size_t bad_place = region.entry.places;
    for (size_t i = 0; i < region.entry.places; ++i) {
        const auto& place = region.entry.place[i];
        const auto position = view_.position(place, entry.address() % blocks_);
        Block block;
        if (position && view_.read(place.device, *position, block) &&
            block_crc(view_.pool, block, entry.address(), entry.birth()) == entry.crc()) {
            good = block;
        } else {
            bad_place = i;
        }
    }
    if (good && bad_place < region.entry.places && what != nullptr) {
        findings_.repairable("{} at address {}: the copy on device {} is bad, the other is good",
                             what, entry.address(),
                             view_.device_name(region.entry.place[bad_place].device));
    }
    return good;
}

void Regions::report_leaks(bool complete) {
    static constexpr size_t examples_max = 10;
    uint64_t leaked = 0;
    std::array<uint64_t, 4> leaked_of_class{};
    std::string examples;
    for (const Region& region : regions_) {
        if (!region.bitmap_known) {
            complete = false;
            continue;
        }
        for (uint64_t offset = 2; offset < blocks_ - 2; ++offset) {
            const bool set = (region.bits[offset / 8] >> (offset % 8) & 1) != 0;
            if (!set || (!region.fingerprints.empty() && region.fingerprints[offset] != 0)) {
                continue;
            }
            ++leaked_of_class[region.entry.region_class & 3];
            if (++leaked <= examples_max) {
                examples +=
                    fmt::format("{}{}", leaked == 1 ? "" : ", ", region.number * blocks_ + offset);
            }
        }
    }
    const uint64_t bad = view_.superblock.bad_blocks;
    findings_.counts().bad_blocks = bad;
    findings_.counts().leaked_blocks = leaked > bad ? leaked - bad : 0;
    if (leaked == bad) {
        const Superblock& superblock = view_.superblock;
        if (leaked_of_class[2] != superblock.bad_leaves ||
            leaked_of_class[3] != superblock.bad_doubled) {
            findings_.problem(
                "superblock: of the bad blocks {} are of class 2 and {} of class 3, but {} and {} "
                "are set aside",
                superblock.bad_leaves, superblock.bad_doubled, leaked_of_class[2],
                leaked_of_class[3]);
        }
        return;
    }
    if (!complete) {
        findings_.note(
            "{} blocks are allocated and not reached, {} of them bad; not everything "
            "could be read",
            leaked, bad);
    } else if (leaked > bad) {
        findings_.problem(
            "{} blocks are allocated, but nothing refers to them ({} are known as "
            "bad): {}{}",
            leaked, bad, examples, leaked > examples_max ? ", …" : "");
    } else {
        findings_.problem("superblock: bad_blocks is {}, but only {} blocks are set aside", bad,
                          leaked);
    }
}

std::optional<Reason> Regions::assign(uint64_t number, const RegionEntry& entry) {
    if (number >= by_number_.size()) {
        return fmt::format("region {} with regions_max {}", number, by_number_.size());
    }
    if (by_number_[number] != 0) return fmt::format("region {} is in use already", number);
    if (entry.state != 1) return fmt::format("region {} gets state {}", number, entry.state);
    if (entry.region_class != kDataClass) {
        return fmt::format("region {} gets class {}", number, entry.region_class);
    }
    if (auto fault = take_places(entry)) return fmt::format("region {}: {}", number, *fault);
    Region region{number, entry, true, {}, {}, {}, {}};
    region.bits.assign(blocks_ / 8, 0);
    regions_.push_back(std::move(region));
    by_number_[number] = static_cast<uint32_t>(regions_.size());
    return std::nullopt;
}

std::optional<Reason> Regions::allocate(uint64_t address) {
    if (auto fault = address_fault(address, kDataClass)) return fault;
    Region& region = *find(address);
    const uint64_t offset = address % blocks_;
    if (region.touched.empty()) region.touched.resize(blocks_);
    if (region.touched[offset]) return "it was allocated or freed since the superblock";
    if (region.bitmap_known && allocated(address)) return "it is allocated already";
    region.touched[offset] = true;
    region.bits[offset / 8] = static_cast<uint8_t>(region.bits[offset / 8] | 1 << offset % 8);
    return std::nullopt;
}

std::optional<Reason> Regions::share(uint64_t address) const {
    if (auto fault = address_fault(address, kDataClass)) return fault;
    if (find(address)->bitmap_known && !allocated(address)) return "it is free";
    return std::nullopt;
}

std::optional<Reason> Regions::release(uint64_t address) {
    Region* region = find(address);
    if (region == nullptr) return fmt::format("region {} is not in use", address / blocks_);
    const uint64_t offset = address % blocks_;
    if (is_bitmap_block(offset)) return "it is a bitmap block";
    if ((region->bits[offset / 8] >> (offset % 8) & 1) == 0) return "it is free already";
    if (region->touched.empty()) region->touched.resize(blocks_);
    region->touched[offset] = true;
    region->bits[offset / 8] = static_cast<uint8_t>(region->bits[offset / 8] & ~(1u << offset % 8));
    return std::nullopt;
}

}  // namespace stoa::fsck
