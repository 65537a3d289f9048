#include "dataplane/pool/format.h"

#include <algorithm>
#include <bit>
#include <string_view>

#include <fmt/format.h>

#include "base/crc32c.h"

namespace stoa::pool {

namespace {

constexpr std::string_view kLabelMagic = "STOALBL1";
constexpr std::string_view kSuperblockMagic = "STOASB01";

void put_text(std::byte* to, std::string_view text) { std::memcpy(to, text.data(), text.size()); }

bool has_magic(ConstBytes block, std::string_view magic) {
    return std::memcmp(block.data(), magic.data(), magic.size()) == 0;
}

void put_uuid(std::byte* to, const Uuid& id) { std::memcpy(to, id.bytes.data(), 16); }

Uuid get_uuid(const std::byte* from) {
    Uuid id;
    std::memcpy(id.bytes.data(), from, 16);
    return id;
}

// The CRC at offset 8 covers the block with those four bytes zero.
uint32_t self_crc(ConstBytes block) {
    constexpr std::byte kZero[4] = {};
    const uint32_t crc = crc32c(kZero, crc32c(block.first(8)));
    return crc32c(block.subspan(12), crc);
}

Error corrupt(std::string text) { return {ErrorCode::corrupt, std::move(text)}; }

// Fills s.devices; region_count and device_count are known.
Result<void> decode_devices(const std::byte* from, Superblock& s) {
    uint64_t physical_regions = 0;
    for (size_t i = 0; i < kDevicesMax; ++i) {
        const std::byte* device = from + i * 32;
        const auto state = load_le<uint8_t>(device + 20);
        if (state > 2) return corrupt("superblock has an unknown device state");
        s.devices[i] = {get_uuid(device), load_le<uint32_t>(device + 16),
                        static_cast<DeviceState>(state)};
        const uint32_t regions = s.devices[i].physical_regions;
        if (i >= s.device_count && regions > 0) {
            return corrupt(fmt::format("superblock gives device {} {} regions", i, regions));
        }
        physical_regions += regions;
    }
    // Each region lies somewhere, and numbers are used again.
    if (s.region_count > physical_regions || physical_regions > kPhysicalRegionsMax) {
        return corrupt(fmt::format("superblock counts {} regions in {} places", s.region_count,
                                   physical_regions));
    }
    return {};
}

}  // namespace

bool is_legal_entry(const Entry& entry, int level) {
    const uint8_t flags = entry.flags();
    switch (entry.kind()) {
        case EntryKind::absent: return entry.low == 0 && entry.high == uint64_t{0};
        case EntryKind::hole:
            return entry.address() == 0 && entry.crc() == 0 && (flags & ~Entry::kHydrated) == 0;
        case EntryKind::data:
            return level == 0 && entry.address() != 0 &&
                   (flags & ~(Entry::kHydrated | Entry::kMoved)) == 0;
        case EntryKind::node: return level > 0 && entry.address() != 0 && flags == 0;
        case EntryKind::damaged:
            return level == 0 && entry.address() == 0 && entry.crc() == 0 && flags == 0;
    }
    return false;
}

Checksums::Checksums(const Uuid& pool) : pool_seed_(crc32c(pool.bytes)) {}

uint32_t Checksums::block(ConstBytes content, uint64_t place, uint64_t birth) const {
    std::byte seed[16];
    store_le(seed, place);
    store_le(seed + 8, birth);
    return crc32c(content, crc32c(seed, pool_seed_));
}

void encode_label(const Label& label, MutableBytes block) {
    std::ranges::fill(block, std::byte{0});
    std::byte* p = block.data();
    put_text(p, kLabelMagic);
    store_le(p + 12, kFormatVersion);
    put_uuid(p + 16, label.pool);
    put_uuid(p + 32, label.device);
    store_le(p + 48, label.device_index);
    store_le(p + 52, label.region_blocks);
    store_le(p + 56, label.journal_blocks);
    store_le(p + 64, label.table_blocks);
    store_le(p + 68, label.index_blocks);
    store_le(p + 72, label.regions_max);
    store_le(p + 80, label.data_start);
    store_le(p + 88, label.compat);
    store_le(p + 96, label.read_only_compat);
    store_le(p + 104, label.incompat);
    put_uuid(p + 112, label.creation);
    put_text(p + 128, std::string_view(label.name).substr(0, kPoolNameBytesMax));
    store_le(p + 8, self_crc(block));
}

Result<Label> decode_label(ConstBytes block) {
    if (!has_magic(block, kLabelMagic)) {
        return Error(ErrorCode::not_found, "no pool label (magic STOALBL1 missing)");
    }
    const std::byte* p = block.data();
    if (load_le<uint32_t>(p + 8) != self_crc(block)) return corrupt("label fails its checksum");
    if (const auto version = load_le<uint32_t>(p + 12); version != kFormatVersion) {
        return Error(ErrorCode::unsupported,
                     fmt::format("pool format version {}, this program knows version {}", version,
                                 kFormatVersion));
    }
    Label label;
    label.pool = get_uuid(p + 16);
    label.device = get_uuid(p + 32);
    label.device_index = load_le<uint16_t>(p + 48);
    label.region_blocks = load_le<uint32_t>(p + 52);
    label.journal_blocks = load_le<uint64_t>(p + 56);
    label.table_blocks = load_le<uint32_t>(p + 64);
    label.index_blocks = load_le<uint32_t>(p + 68);
    label.regions_max = load_le<uint32_t>(p + 72);
    label.data_start = load_le<uint64_t>(p + 80);
    label.compat = load_le<uint64_t>(p + 88);
    label.read_only_compat = load_le<uint64_t>(p + 96);
    label.incompat = load_le<uint64_t>(p + 104);
    label.creation = get_uuid(p + 112);
    const auto* name = reinterpret_cast<const char*>(p + 128);
    label.name.assign(name, strnlen(name, kPoolNameBytesMax));
    if (label.incompat != 0) {
        return Error(ErrorCode::unsupported,
                     fmt::format("pool '{}' uses features this program does not know (incompat "
                                 "flags {:#x})",
                                 label.name, label.incompat));
    }
    const bool geometry = label.device_index < kDevicesMax &&
                          std::has_single_bit(label.region_blocks) &&
                          label.region_blocks >= kRegionBlocksMin &&
                          label.region_blocks <= kRegionBlocksMax && label.journal_blocks >= 16 &&
                          label.journal_blocks <= (uint64_t{1} << 24) && label.regions_max >= 1 &&
                          label.table_blocks == (label.regions_max + kRegionsPerTableBlock - 1) /
                                                    kRegionsPerTableBlock &&
                          label.index_blocks == (label.table_blocks + kTablesPerIndexBlock - 1) /
                                                    kTablesPerIndexBlock &&
                          label.index_blocks <= kIndexBlocksMax &&
                          label.data_start >= DeviceLayout::system_blocks(label) &&
                          label.data_start < (uint64_t{1} << 40);
    if (!geometry) return corrupt("label has an impossible geometry");
    return label;
}

DeviceLayout::DeviceLayout(const Label& l)
    : superblock{}, table_area{}, journal{}, label{0, 0}, data_start(l.data_start),
      table_blocks(l.table_blocks), index_blocks(l.index_blocks), region_blocks(l.region_blocks) {
    const uint64_t area = uint64_t{2} * l.index_blocks + uint64_t{2} * l.table_blocks;
    superblock[0][0] = 1;
    superblock[0][1] = 2;
    table_area[0] = 3;
    journal[0] = table_area[0] + area;
    journal[1] = journal[0] + l.journal_blocks;
    table_area[1] = journal[1] + l.journal_blocks;
    superblock[1][0] = table_area[1] + area;
    superblock[1][1] = superblock[1][0] + 1;
    label[1] = superblock[1][1] + 1;
}

uint64_t DeviceLayout::system_blocks(const Label& label) {
    const uint64_t area = uint64_t{2} * label.index_blocks + uint64_t{2} * label.table_blocks;
    return 3 + 2 * area + 2 * label.journal_blocks + 3;
}

void encode_superblock(const Superblock& s, MutableBytes block) {
    std::ranges::fill(block, std::byte{0});
    std::byte* p = block.data();
    put_text(p, kSuperblockMagic);
    store_le(p + 12, kFormatVersion);
    put_uuid(p + 16, s.pool);
    store_le(p + 32, s.generation);
    store_le(p + 40, s.incarnation);
    store_le(p + 48, s.epoch);
    store_le(p + 56, s.journal_start);
    store_le(p + 64, s.commit);
    store_le(p + 72, s.sequence);
    store_le(p + 80, s.flags);
    put_uuid(p + 88, s.owner);
    store_le(p + 104, s.wall_ns);
    store_le(p + 112, s.object_root.low);
    store_le(p + 120, s.object_root.high);
    store_le(p + 128, s.next_object);
    store_le(p + 136, s.placement[0]);
    store_le(p + 138, s.placement[1]);
    store_le(p + 140, s.device_count);
    store_le(p + 144, s.region_count);
    store_le(p + 148, s.object_slots);
    store_le(p + 152, s.reserve_blocks);
    store_le(p + 160, s.acknowledged_incarnation);
    store_le(p + 168, static_cast<uint32_t>(s.cuts.size()));
    store_le(p + 176, s.bad_blocks);
    store_le(p + 184, s.branch);
    for (size_t i = 0; i < kBranchesKept; ++i) store_le(p + 192 + i * 8, s.branches_before[i]);
    store_le(p + 248, s.bad_leaves);
    store_le(p + 252, s.bad_doubled);
    for (size_t i = 0; i < s.cuts.size(); ++i) {
        std::byte* cut = p + 256 + i * 24;
        store_le(cut, s.cuts[i].journal_block);
        store_le(cut + 8, s.cuts[i].incarnation);
        store_le(cut + 16, s.cuts[i].sequence);
    }
    for (size_t i = 0; i < kDevicesMax; ++i) {
        std::byte* device = p + 1024 + i * 32;
        put_uuid(device, s.devices[i].uuid);
        store_le(device + 16, s.devices[i].physical_regions);
        store_le(device + 20, static_cast<uint8_t>(s.devices[i].state));
    }
    for (size_t i = 0; i < kIndexBlocksMax; ++i) {
        store_le(p + 2048 + i * 8, s.index[i].crc);
        store_le(p + 2048 + i * 8 + 4, s.index[i].slot);
    }
    store_le(p + 8, self_crc(block));
}

Result<Superblock> decode_superblock(ConstBytes block) {
    if (!has_magic(block, kSuperblockMagic)) return corrupt("superblock magic missing");
    const std::byte* p = block.data();
    if (load_le<uint32_t>(p + 8) != self_crc(block)) {
        return corrupt("superblock fails its checksum");
    }
    if (load_le<uint32_t>(p + 12) != kFormatVersion) {
        return Error(ErrorCode::unsupported,
                     fmt::format("superblock of format version {}, this program knows version {}",
                                 load_le<uint32_t>(p + 12), kFormatVersion));
    }
    Superblock s;
    s.pool = get_uuid(p + 16);
    s.generation = load_le<uint64_t>(p + 32);
    s.incarnation = load_le<uint64_t>(p + 40);
    s.epoch = load_le<uint64_t>(p + 48);
    s.journal_start = load_le<uint64_t>(p + 56);
    s.commit = load_le<uint64_t>(p + 64);
    s.sequence = load_le<uint64_t>(p + 72);
    s.flags = load_le<uint64_t>(p + 80);
    s.owner = get_uuid(p + 88);
    s.wall_ns = load_le<uint64_t>(p + 104);
    s.object_root = {load_le<uint64_t>(p + 112), load_le<uint64_t>(p + 120)};
    s.next_object = load_le<uint64_t>(p + 128);
    s.placement = {load_le<uint16_t>(p + 136), load_le<uint16_t>(p + 138)};
    s.device_count = load_le<uint16_t>(p + 140);
    s.region_count = load_le<uint32_t>(p + 144);
    s.object_slots = load_le<uint32_t>(p + 148);
    s.reserve_blocks = load_le<uint64_t>(p + 152);
    s.acknowledged_incarnation = load_le<uint64_t>(p + 160);
    const auto cut_count = load_le<uint32_t>(p + 168);
    s.bad_blocks = load_le<uint64_t>(p + 176);
    s.branch = load_le<uint64_t>(p + 184);
    for (size_t i = 0; i < kBranchesKept; ++i) {
        s.branches_before[i] = load_le<uint64_t>(p + 192 + i * 8);
    }
    s.bad_leaves = load_le<uint32_t>(p + 248);
    s.bad_doubled = load_le<uint32_t>(p + 252);
    if (uint64_t{s.bad_leaves} + s.bad_doubled > s.bad_blocks || cut_count < 1 ||
        cut_count > kCutsMax || s.device_count < 1 || s.device_count > kDevicesMax ||
        s.placement[0] >= s.device_count || s.placement[1] >= s.device_count ||
        s.epoch >= kEpochMax || s.generation == 0 || s.object_slots > kObjectsMax ||
        !is_legal_entry(s.object_root, kRootLevel + 1)) {
        return corrupt("superblock has impossible fields");
    }
    for (const uint64_t count : {s.generation, s.incarnation, s.journal_start, s.commit, s.sequence,
                                 s.next_object, s.acknowledged_incarnation}) {
        if (count >= kCountMax) return corrupt(fmt::format("superblock counts up to {}", count));
    }
    for (size_t i = 0; i < cut_count; ++i) {
        const std::byte* cut = p + 256 + i * 24;
        s.cuts.push_back(
            {load_le<uint64_t>(cut), load_le<uint64_t>(cut + 8), load_le<uint64_t>(cut + 16)});
        const uint64_t first = i == 0 ? 0 : s.cuts[i - 1].journal_block;
        const bool rises = i == 0 || s.cuts[i].incarnation > s.cuts[i - 1].incarnation;
        if (s.cuts[i].journal_block >= kCountMax || s.cuts[i].journal_block < first || !rises) {
            return corrupt(fmt::format("superblock has cut {} out of order", i));
        }
    }
    if (s.cuts.front().journal_block > s.journal_start ||
        s.cuts.back().incarnation > s.incarnation) {
        return corrupt("superblock has cuts that do not fit its journal");
    }
    TRY(decode_devices(p + 1024, s));
    for (size_t i = 0; i < kIndexBlocksMax; ++i) {
        s.index[i] = {load_le<uint32_t>(p + 2048 + i * 8),
                      static_cast<uint8_t>(load_le<uint8_t>(p + 2048 + i * 8 + 4) & 1)};
    }
    return s;
}

void encode_region(const RegionEntry& e, std::byte* to) {
    std::memset(to, 0, kRegionEntryBytes);
    if (!e.in_use) return;
    store_le(to, uint8_t{1});
    store_le(to + 1, static_cast<uint8_t>(e.region_class));
    store_le(to + 2, e.places);
    store_le(to + 3, e.bitmap_slot);
    store_le(to + 4, e.bitmap_crc);
    store_le(to + 8, e.free_blocks);
    for (size_t i = 0; i < e.places; ++i) {
        store_le(to + 16 + i * 8, e.place[i].device);
        store_le(to + 20 + i * 8, e.place[i].region);
    }
    store_le(to + 40, e.delta.low);
    store_le(to + 48, e.delta.high);
    store_le(to + 56, static_cast<uint8_t>(e.bitmap_unwritten ? 1 : 0));
}

Result<RegionEntry> decode_region(const std::byte* from, uint64_t region) {
    RegionEntry e;
    const auto state = load_le<uint8_t>(from);
    if (state == 0) return e;
    e.in_use = true;
    const auto region_class = load_le<uint8_t>(from + 1);
    e.places = load_le<uint8_t>(from + 2);
    e.bitmap_slot = load_le<uint8_t>(from + 3);
    e.bitmap_crc = load_le<uint32_t>(from + 4);
    e.free_blocks = load_le<uint32_t>(from + 8);
    if (state != 1 || region_class < 1 || region_class > 3 || e.bitmap_slot > 1 ||
        e.places != (region_class == 3 ? 2 : 1)) {
        return corrupt(fmt::format("region {} has an impossible table entry", region));
    }
    e.region_class = static_cast<RegionClass>(region_class);
    for (size_t i = 0; i < e.places; ++i) {
        e.place[i] = {load_le<uint16_t>(from + 16 + i * 8), load_le<uint32_t>(from + 20 + i * 8)};
    }
    e.delta = {load_le<uint64_t>(from + 40), load_le<uint64_t>(from + 48)};
    const auto flags = load_le<uint8_t>(from + 56);
    e.bitmap_unwritten = flags == 1;
    const bool has_delta = e.delta != Entry{};
    if (flags > 1 || (e.bitmap_unwritten && !has_delta) ||
        (has_delta && (e.delta.kind_byte() != static_cast<uint8_t>(EntryKind::data) ||
                       !is_legal_entry(e.delta, 0)))) {
        return corrupt(fmt::format("region {} has an impossible bitmap difference", region));
    }
    return e;
}

void encode_object(const ObjectRecord& o, std::byte* to) {
    std::memset(to, 0, kObjectBytes);
    store_le(to, static_cast<uint8_t>(o.kind));
    store_le(to + 1, static_cast<uint8_t>(o.name.size()));
    store_le(to + 2, static_cast<uint16_t>(o.tags.size()));
    store_le(to + 4, o.flags);
    store_le(to + 8, o.id);
    put_uuid(to + 16, o.uuid);
    store_le(to + 32, o.parent);
    store_le(to + 40, o.epoch);
    store_le(to + 48, o.size_bytes);
    store_le(to + 56, o.root.low);
    store_le(to + 64, o.root.high);
    store_le(to + 72, o.volume);
    store_le(to + 80, o.created_ns);
    store_le(to + 88, o.branch);
    store_le(to + 96, o.branch_parent);
    store_le(to + 104, o.branch_epoch);
    store_le(to + 112, o.cursor);
    store_le(to + 120, o.mapped);
    put_text(to + 128, o.name);
    put_uuid(to + 192, o.origin);
    store_le(to + 272, o.damage_first);
    store_le(to + 280, o.damage_blocks);
    if (!o.tags.empty()) std::memcpy(to + 320, o.tags.data(), o.tags.size());
}

Result<ObjectRecord> decode_object(const std::byte* from) {
    ObjectRecord o;
    const auto kind = load_le<uint8_t>(from);
    const auto name_bytes = load_le<uint8_t>(from + 1);
    const auto tags_bytes = load_le<uint16_t>(from + 2);
    if (kind > 4 || name_bytes > kNameBytesMax || tags_bytes > kTagsBytesMax) {
        return corrupt(fmt::format("object of unknown kind {} or impossible lengths", kind));
    }
    o.kind = static_cast<ObjectKind>(kind);
    if (o.kind == ObjectKind::free) return o;
    o.flags = load_le<uint32_t>(from + 4);
    o.id = load_le<uint64_t>(from + 8);
    o.uuid = get_uuid(from + 16);
    o.parent = load_le<uint64_t>(from + 32);
    o.epoch = load_le<uint64_t>(from + 40);
    o.size_bytes = load_le<uint64_t>(from + 48);
    o.root = {load_le<uint64_t>(from + 56), load_le<uint64_t>(from + 64)};
    o.volume = load_le<uint64_t>(from + 72);
    o.created_ns = load_le<uint64_t>(from + 80);
    o.branch = load_le<uint64_t>(from + 88);
    o.branch_parent = load_le<uint64_t>(from + 96);
    o.branch_epoch = load_le<uint64_t>(from + 104);
    o.cursor = load_le<uint64_t>(from + 112);
    o.mapped = load_le<uint64_t>(from + 120);
    o.name.assign(reinterpret_cast<const char*>(from + 128), name_bytes);
    o.origin = get_uuid(from + 192);
    o.damage_first = load_le<uint64_t>(from + 272);
    o.damage_blocks = load_le<uint64_t>(from + 280);
    o.tags.assign(from + 320, from + 320 + tags_bytes);
    if (o.id == 0 || o.id >= kCountMax || o.epoch >= kEpochMax || o.size_bytes > kVolumeBytesMax ||
        o.size_bytes % kSectorBytes != 0 ||
        (o.is_tree() && !is_legal_entry(o.root, kRootLevel + 1)) || o.cursor > kBlocksPerTree ||
        o.damage_first > kBlocksPerTree || o.damage_blocks > kBlocksPerTree - o.damage_first) {
        return corrupt(fmt::format("object {} has impossible fields", o.id));
    }
    // What has no meaning for its kind is not looked at.
    o.mapped = std::min<uint64_t>(o.mapped, kBlocksPerTree);
    if (o.kind != ObjectKind::volume) {
        o.flags &= ~(ObjectRecord::kTrimming | ObjectRecord::kFlattening);
    }
    if (o.kind == ObjectKind::damage) {
        o.flags = 0;
        o.parent = 0;
        o.root = Entry{};
    }
    return o;
}

}  // namespace stoa::pool
