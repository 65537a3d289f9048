#include "dataplane/pool/fsck/layout.h"

#include <fmt/format.h>

#include <bit>
#include <cstring>

#include "base/crc32c.h"
#include "base/utf8.h"

namespace stoa::fsck {

namespace {

uint8_t u8(const std::byte* from) { return std::to_integer<uint8_t>(*from); }
uint16_t u16(const std::byte* from) { return load_le<uint16_t>(from); }
uint32_t u32(const std::byte* from) { return load_le<uint32_t>(from); }
uint64_t u64(const std::byte* from) { return load_le<uint64_t>(from); }

Uuid load_uuid(const std::byte* from) {
    Uuid uuid;
    std::memcpy(uuid.bytes.data(), from, uuid.bytes.size());
    return uuid;
}

// The checksum of a block whose four bytes at `field` count as zero.
uint32_t crc_without(const Block& block, size_t field, uint32_t seed) {
    static constexpr std::array<std::byte, 4> zero{};
    const ConstBytes bytes(block);
    const uint32_t before = crc32c(bytes.first(field), seed);
    return crc32c(bytes.subspan(field + 4), crc32c(zero, before));
}

uint32_t seed_crc(const Uuid& pool, uint64_t a, uint64_t b) {
    std::array<std::byte, 32> seed;
    std::memcpy(seed.data(), pool.bytes.data(), 16);
    store_le(seed.data() + 16, a);
    store_le(seed.data() + 24, b);
    return crc32c(seed);
}

bool has_magic(const std::byte* from, std::string_view magic) {
    return std::memcmp(from, magic.data(), magic.size()) == 0;
}

// The text in a zero-padded field; nothing if the padding is not zero.
std::optional<std::string> padded_text(const std::byte* from, size_t length, size_t field_bytes) {
    if (!is_zero({from + length, field_bytes - length})) return std::nullopt;
    return std::string(reinterpret_cast<const char*>(from), length);
}

constexpr uint64_t kJournalBlocksMax = uint64_t{1} << 24;

Decoded<void> check_geometry(const Label& label) {
    const Geometry& g = label.geometry;
    if (!std::has_single_bit(g.region_blocks) || g.region_blocks < 64 || g.region_blocks > 32768) {
        return std::unexpected(fmt::format("region_blocks is {}", g.region_blocks));
    }
    if (g.journal_blocks < 16 || g.journal_blocks > kJournalBlocksMax) {
        return std::unexpected(fmt::format("journal_blocks is {}", g.journal_blocks));
    }
    if (g.regions_max == 0 || g.table_blocks != (uint64_t{g.regions_max} + 63) / 64) {
        return std::unexpected(
            fmt::format("table_blocks is {} with regions_max {}", g.table_blocks, g.regions_max));
    }
    if (g.index_blocks == 0 || g.index_blocks > 256 ||
        g.index_blocks != (uint64_t{g.table_blocks} + 511) / 512) {
        return std::unexpected(
            fmt::format("index_blocks is {} with table_blocks {}", g.index_blocks, g.table_blocks));
    }
    if (label.data_start % 64 != 0 || label.data_start <= g.label(1)) {
        return std::unexpected(fmt::format("data_start is {}, the system area ends at {}",
                                           label.data_start, g.label(1) + 1));
    }
    if (label.data_start >> 40 != 0) {
        return std::unexpected(fmt::format("data_start is {}", label.data_start));
    }
    return {};
}

}  // namespace

uint32_t block_crc(const Uuid& pool, ConstBytes content, uint64_t a, uint64_t b) {
    return crc32c(content, seed_crc(pool, a, b));
}

uint32_t nonzero_crc(uint32_t crc) { return crc == 0 ? 1 : crc; }

uint64_t Geometry::table_area_blocks() const { return 2 * (uint64_t{index_blocks} + table_blocks); }

uint64_t Geometry::label(int copy) const {
    return copy == 0 ? 0 : 3 + 2 * table_area_blocks() + 2 * journal_blocks + 2;
}

uint64_t Geometry::superblock(int copy, uint64_t slot) const {
    return copy == 0 ? 1 + slot : label(1) - 2 + slot;
}

uint64_t Geometry::journal(int copy, uint64_t number) const {
    const uint64_t start = 3 + table_area_blocks() + (copy == 0 ? 0 : journal_blocks);
    return start + number % journal_blocks;
}

uint64_t Geometry::index_block(int copy, uint64_t slot, uint64_t i) const {
    const uint64_t area = copy == 0 ? 3 : 3 + table_area_blocks() + 2 * journal_blocks;
    return area + slot * index_blocks + i;
}

uint64_t Geometry::table_block(int copy, uint64_t slot, uint64_t t) const {
    return index_block(copy, 2, 0) + slot * table_blocks + t;
}

Decoded<Label> decode_label(const Block& block) {
    const std::byte* b = block.data();
    if (!has_magic(b, "STOALBL1")) return std::unexpected("no magic");
    if (const uint32_t crc = crc_without(block, 8, 0); crc != u32(b + 8)) {
        return std::unexpected(
            fmt::format("fails its checksum (expected {:08x}, found {:08x})", u32(b + 8), crc));
    }
    if (u32(b + 12) != 1) return std::unexpected(fmt::format("version is {}", u32(b + 12)));
    Label label;
    label.pool = load_uuid(b + 16);
    label.device = load_uuid(b + 32);
    label.index = u16(b + 48);
    label.geometry = {u32(b + 52), u64(b + 56), u32(b + 64), u32(b + 68), u32(b + 72)};
    label.data_start = u64(b + 80);
    label.compat = u64(b + 88);
    label.read_only_compat = u64(b + 96);
    label.incompat = u64(b + 104);
    label.creation = load_uuid(b + 112);
    const auto* name = reinterpret_cast<const char*>(b + 128);
    const auto padded = padded_text(b + 128, strnlen(name, 32), 32);
    if (!padded || !is_utf8(*padded)) return std::unexpected("its pool name is not text");
    label.name = *padded;
    if (label.index >= kDevicesMax) {
        return std::unexpected(fmt::format("device index is {}", label.index));
    }
    if (auto geometry = check_geometry(label); !geometry) {
        return std::unexpected(geometry.error());
    }
    return label;
}

Entry load_entry(const std::byte* from) { return {u64(from), u64(from + 8)}; }

std::string_view to_string(Kind kind) {
    switch (kind) {
        case Kind::absent: return "ABSENT";
        case Kind::hole: return "HOLE";
        case Kind::data: return "DATA";
        case Kind::node: return "NODE";
        case Kind::damaged: return "DAMAGED";
    }
    return "unknown";
}

std::optional<Reason> entry_fault(const Entry& entry, int level) {
    const Kind kind = entry.kind();
    if (kind > Kind::damaged) return fmt::format("has kind {}", entry.kind_byte() & 15);
    if ((kind == Kind::data || kind == Kind::damaged) && level != 0) {
        return fmt::format("is {} above the leaves", to_string(kind));
    }
    if (kind == Kind::node && level == 0) return "is NODE in a leaf";
    uint8_t allowed = 0;
    if (kind == Kind::data) allowed = kMoved | kHydrated;
    if (kind == Kind::hole) allowed = kHydrated;
    if ((entry.kind_byte() & 0xF0 & ~allowed) != 0) {
        return fmt::format("has kind byte 0x{:02x}", entry.kind_byte());
    }
    if (kind == Kind::absent && entry.birth() != 0) return "is ABSENT with a birth";
    const bool refers = kind == Kind::data || kind == Kind::node;
    if (!refers && (entry.address() != 0 || entry.crc() != 0)) {
        return fmt::format("is {} with an address or a checksum", to_string(kind));
    }
    return std::nullopt;
}

Decoded<Superblock> decode_superblock(const Block& block, const Uuid& pool,
                                      const Geometry& geometry) {
    const std::byte* b = block.data();
    if (!has_magic(b, "STOASB01")) return std::unexpected("no magic");
    if (const uint32_t crc = crc_without(block, 8, 0); crc != u32(b + 8)) {
        return std::unexpected(
            fmt::format("fails its checksum (expected {:08x}, found {:08x})", u32(b + 8), crc));
    }
    if (u32(b + 12) != 1) return std::unexpected(fmt::format("version is {}", u32(b + 12)));
    if (load_uuid(b + 16) != pool) {
        return std::unexpected(fmt::format("is of pool {}", load_uuid(b + 16).to_string()));
    }
    Superblock s;
    s.generation = u64(b + 32);
    s.incarnation = u64(b + 40);
    s.epoch = u64(b + 48);
    s.journal_start = u64(b + 56);
    s.commit = u64(b + 64);
    s.sequence = u64(b + 72);
    s.flags = u64(b + 80);
    s.owner = load_uuid(b + 88);
    s.wall_ns = u64(b + 104);
    s.objects = load_entry(b + 112);
    s.next_object_id = u64(b + 128);
    s.placement = {u16(b + 136), u16(b + 138)};
    s.device_count = u16(b + 140);
    s.region_count = u32(b + 144);
    s.object_slots = u32(b + 148);
    s.reserve_blocks = u64(b + 152);
    s.acknowledged_incarnation = u64(b + 160);
    s.bad_blocks = u64(b + 176);
    s.bad_leaves = u32(b + 248);
    s.bad_doubled = u32(b + 252);
    s.branch = u64(b + 184);
    for (size_t i = 0; i < s.branches_before.size(); ++i) {
        s.branches_before[i] = u64(b + 192 + 8 * i);
    }
    const uint32_t cut_count = u32(b + 168);
    if (s.generation == 0) return std::unexpected("generation is 0");
    if (cut_count == 0 || cut_count > 32) {
        return std::unexpected(fmt::format("cut_count is {}", cut_count));
    }
    if (s.region_count > geometry.regions_max) {
        return std::unexpected(fmt::format("region_count is {} with regions_max {}", s.region_count,
                                           geometry.regions_max));
    }
    if (s.placement[0] >= kDevicesMax || s.placement[1] >= kDevicesMax) {
        return std::unexpected(
            fmt::format("placement is {} and {}", s.placement[0], s.placement[1]));
    }
    for (uint32_t i = 0; i < cut_count; ++i) {
        const std::byte* cut = b + 256 + size_t{24} * i;
        s.cuts.push_back({u64(cut), u64(cut + 8), u64(cut + 16)});
    }
    for (size_t i = 0; i < kDevicesMax; ++i) {
        const std::byte* slot = b + 1024 + 32 * i;
        s.devices[i] = {load_uuid(slot), u32(slot + 16), u8(slot + 20)};
    }
    for (size_t i = 0; i < s.index.size(); ++i) {
        s.index[i] = {u32(b + 2048 + 8 * i), u8(b + 2048 + 8 * i + 4)};
    }
    return s;
}

RegionEntry load_region_entry(const std::byte* from) {
    RegionEntry entry;
    entry.state = u8(from);
    entry.region_class = u8(from + 1);
    entry.places = u8(from + 2);
    entry.bitmap_slot = u8(from + 3);
    entry.bitmap_crc = u32(from + 4);
    entry.free_blocks = u32(from + 8);
    for (size_t i = 0; i < 3; ++i) {
        entry.place[i] = {u16(from + 16 + 8 * i), u32(from + 16 + 8 * i + 4)};
    }
    entry.difference = load_entry(from + 40);
    entry.flags = u8(from + 56);
    return entry;
}

Decoded<Object> decode_object(const std::byte* from) {
    Object object;
    object.kind = u8(from);
    const uint8_t name_length = u8(from + 1);
    object.flags = u32(from + 4);
    object.id = u64(from + 8);
    object.uuid = load_uuid(from + 16);
    object.parent = u64(from + 32);
    object.epoch = u64(from + 40);
    object.size_bytes = u64(from + 48);
    object.root = load_entry(from + 56);
    object.volume = u64(from + 72);
    object.created_ns = u64(from + 80);
    object.branch = u64(from + 88);
    object.branch_parent = u64(from + 96);
    object.branch_epoch = u64(from + 104);
    object.cursor = u64(from + 112);
    object.mapped = u64(from + 120);
    object.origin = load_uuid(from + 192);
    object.damage_first = u64(from + 272);
    object.damage_blocks = u64(from + 280);
    if (object.kind > kDamageRange) {
        return std::unexpected(fmt::format("has kind {}", object.kind));
    }
    if (object.kind == kFreeSlot) return object;
    if (name_length > 63)
        return std::unexpected(fmt::format("has a name of {} bytes", name_length));
    if (u16(from + 2) > 192)
        return std::unexpected(fmt::format("has {} bytes of tags", u16(from + 2)));
    const auto name = padded_text(from + 128, name_length, 64);
    if (!name) return std::unexpected("has bytes after its name");
    object.name = *name;
    return object;
}

std::optional<JournalBlock> decode_journal_block(const Block& block, const Uuid& pool) {
    const std::byte* b = block.data();
    if (!has_magic(b, "JRN1")) return std::nullopt;
    JournalBlock j;
    j.crc = u32(b + 4);
    j.number = u64(b + 8);
    j.incarnation = u64(b + 16);
    j.commit = u64(b + 24);
    j.generation = u64(b + 32);
    j.proven = u64(b + 40);
    j.index = u32(b + 48);
    j.flags = u16(b + 52);
    j.payload_bytes = u16(b + 54);
    j.chain = u32(b + 56);
    if (j.payload_bytes > kJournalPayloadBytes) return std::nullopt;
    if (crc_without(block, 4, seed_crc(pool, j.number, j.incarnation)) != j.crc) {
        return std::nullopt;
    }
    return j;
}

std::string quoted(std::string_view name) {
    std::string text = "\"";
    for (const char c : name) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte < 0x20 || byte == 0x7F) text += fmt::format("\\x{:02x}", byte);
        else if (c == '"' || c == '\\') (text += '\\') += c;
        else text += c;
    }
    return text + '"';
}

}  // namespace stoa::fsck
