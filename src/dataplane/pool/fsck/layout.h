// The structures of docs/format/pool.md, decoded. No judgement beyond what one block can tell.
//
// Numbers stay plain integers here: they are raw bytes of a device until proved otherwise.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/uuid.h"

namespace stoa::fsck {

inline constexpr uint64_t kBlockBytes = 4096;
inline constexpr uint64_t kDevicesMax = 32;
inline constexpr uint64_t kEntriesPerNode = 256;
inline constexpr uint64_t kTreeBlocks = uint64_t{1} << 32;
inline constexpr int kRootLevel = 3;

using Block = std::array<std::byte, kBlockBytes>;

// Why something is not what it should be; a phrase for the end of a message.
using Reason = std::string;
template <class T>
using Decoded = std::expected<T, Reason>;

// What a checksum is seeded with: the kind of place and which birth.
inline constexpr uint64_t kBitmapSeed = uint64_t{1} << 61;
inline constexpr uint64_t kTableSeed = uint64_t{1} << 62;
inline constexpr uint64_t kIndexSeed = kTableSeed + kBitmapSeed;

[[nodiscard]] uint32_t block_crc(const Uuid& pool, ConstBytes content, uint64_t a, uint64_t b);
// For fields in which 0 means "never written": a checksum of 0 is stored as 1.
[[nodiscard]] uint32_t nonzero_crc(uint32_t crc);

struct Geometry {
    uint32_t region_blocks = 0;
    uint64_t journal_blocks = 0;
    uint32_t table_blocks = 0;
    uint32_t index_blocks = 0;
    uint32_t regions_max = 0;

    bool operator==(const Geometry&) const = default;

    // Positions on a device, in blocks. `copy` is 0 or 1.
    [[nodiscard]] uint64_t table_area_blocks() const;
    [[nodiscard]] uint64_t label(int copy) const;
    [[nodiscard]] uint64_t superblock(int copy, uint64_t slot) const;
    [[nodiscard]] uint64_t journal(int copy, uint64_t number) const;
    [[nodiscard]] uint64_t index_block(int copy, uint64_t slot, uint64_t i) const;
    [[nodiscard]] uint64_t table_block(int copy, uint64_t slot, uint64_t t) const;
};

struct Label {
    Uuid pool;
    Uuid device;
    uint16_t index = 0;
    Geometry geometry;
    uint64_t data_start = 0;
    uint64_t compat = 0;
    uint64_t read_only_compat = 0;
    uint64_t incompat = 0;
    Uuid creation;
    std::string name;
};

// The device may end before what the label says.
[[nodiscard]] Decoded<Label> decode_label(const Block& block);

// A map entry as stored, and its parts.
enum class Kind : uint8_t { absent = 0, hole = 1, data = 2, node = 3, damaged = 4 };
inline constexpr uint8_t kMoved = 16;
inline constexpr uint8_t kHydrated = 32;

struct Entry {
    uint64_t low = 0;
    uint64_t high = 0;

    bool operator==(const Entry&) const = default;
    [[nodiscard]] uint64_t address() const { return low & ((uint64_t{1} << 40) - 1); }
    [[nodiscard]] uint64_t birth() const { return low >> 40 | (high & 0xFFFFFF) << 24; }
    [[nodiscard]] uint32_t crc() const { return static_cast<uint32_t>(high >> 24); }
    [[nodiscard]] uint8_t kind_byte() const { return static_cast<uint8_t>(high >> 56); }
    [[nodiscard]] Kind kind() const { return static_cast<Kind>(kind_byte() & 15); }
};

[[nodiscard]] Entry load_entry(const std::byte* from);
// What is wrong with an entry that stands at `level` (0: leaf); nothing if it is legal.
[[nodiscard]] std::optional<Reason> entry_fault(const Entry& entry, int level);
[[nodiscard]] std::string_view to_string(Kind kind);

struct Cut {
    uint64_t journal_block = 0;
    uint64_t incarnation = 0;
    uint64_t sequence = 0;
};

struct DeviceSlot {
    Uuid uuid;
    uint32_t physical_regions = 0;
    uint8_t state = 0;  // 0 absent, 1 present, 2 missing
};

struct IndexSlot {
    uint32_t crc = 0;
    uint8_t slot = 0;
};

struct Superblock {
    uint64_t generation = 0;
    uint64_t incarnation = 0;
    uint64_t epoch = 0;
    uint64_t journal_start = 0;
    uint64_t commit = 0;
    uint64_t sequence = 0;
    uint64_t flags = 0;
    Uuid owner;
    uint64_t wall_ns = 0;
    Entry objects;
    uint64_t next_object_id = 0;
    std::array<uint16_t, 2> placement{};
    uint16_t device_count = 0;
    uint32_t region_count = 0;
    uint32_t object_slots = 0;
    uint64_t reserve_blocks = 0;
    uint64_t acknowledged_incarnation = 0;
    uint64_t bad_blocks = 0;
    uint32_t bad_leaves = 0;   // of them, in class 2
    uint32_t bad_doubled = 0;  // and in class 3
    uint64_t branch = 0;
    std::array<uint64_t, 7> branches_before{};  // newest first
    std::vector<Cut> cuts;
    std::array<DeviceSlot, kDevicesMax> devices;
    std::array<IndexSlot, 256> index;
};

[[nodiscard]] Decoded<Superblock> decode_superblock(const Block& block, const Uuid& pool,
                                                    const Geometry& geometry);

// Classes of regions.
inline constexpr uint8_t kDataClass = 1;
inline constexpr uint8_t kLeafClass = 2;
inline constexpr uint8_t kDoubledClass = 3;

struct RegionEntry {
    uint8_t state = 0;
    uint8_t region_class = 0;
    uint8_t places = 0;
    uint8_t bitmap_slot = 0;
    uint32_t bitmap_crc = 0;
    uint32_t free_blocks = 0;
    struct Place {
        uint16_t device = 0;
        uint32_t physical = 0;
    };
    std::array<Place, 3> place;
    Entry difference;  // of the bitmap, from the one on the devices
    uint8_t flags = 0;  // 1: from that of an empty region
};

[[nodiscard]] RegionEntry load_region_entry(const std::byte* from);

// Kinds of object slots.
inline constexpr uint8_t kFreeSlot = 0;
inline constexpr uint8_t kVolume = 1;
inline constexpr uint8_t kSnapshot = 2;
inline constexpr uint8_t kOrphan = 3;
inline constexpr uint8_t kDamageRange = 4;

// Flags of objects.
inline constexpr uint32_t kProtected = 1;
inline constexpr uint32_t kDeleted = 2;
inline constexpr uint32_t kTrimming = 4;
inline constexpr uint32_t kHasOrigin = 8;
inline constexpr uint32_t kHydratedCompletely = 16;
inline constexpr uint32_t kFlattening = 32;
inline constexpr uint32_t kHydrating = 64;

inline constexpr uint32_t kObjectBytes = 512;
inline constexpr uint32_t kObjectsPerBlock = 8;

struct Object {
    uint8_t kind = 0;
    uint32_t flags = 0;
    uint64_t id = 0;
    Uuid uuid;
    uint64_t parent = 0;
    uint64_t epoch = 0;
    uint64_t size_bytes = 0;
    Entry root;
    uint64_t volume = 0;
    uint64_t created_ns = 0;
    uint64_t branch = 0;
    uint64_t branch_parent = 0;
    uint64_t branch_epoch = 0;
    uint64_t cursor = 0;
    uint64_t mapped = 0;
    std::string name;
    Uuid origin;
    uint64_t damage_first = 0;
    uint64_t damage_blocks = 0;

    // The background job that handles blocks left of the cursor frees them.
    [[nodiscard]] bool being_reclaimed() const {
        return kind == kOrphan || ((flags & kDeleted) != 0 && kind <= kSnapshot);
    }
    [[nodiscard]] bool has_tree() const { return kind >= kVolume && kind <= kOrphan; }
};

// `from` has kObjectBytes bytes.
[[nodiscard]] Decoded<Object> decode_object(const std::byte* from);

struct JournalBlock {
    uint32_t crc = 0;
    uint64_t number = 0;
    uint64_t incarnation = 0;
    uint64_t commit = 0;
    uint64_t generation = 0;
    uint64_t proven = 0;
    uint32_t index = 0;
    uint16_t flags = 0;
    uint16_t payload_bytes = 0;
    uint32_t chain = 0;
};

// Flags of journal blocks.
inline constexpr uint16_t kFirstBlock = 1;
inline constexpr uint16_t kLastBlock = 2;
inline constexpr uint16_t kProofNote = 4;

inline constexpr uint64_t kJournalHeaderBytes = 64;
inline constexpr uint64_t kJournalPayloadBytes = kBlockBytes - kJournalHeaderBytes;

// Well-formed in itself: magic, checksum, payload length. Nothing otherwise.
[[nodiscard]] std::optional<JournalBlock> decode_journal_block(const Block& block,
                                                               const Uuid& pool);

// A name from a device for a message: quoted, control characters escaped.
[[nodiscard]] std::string quoted(std::string_view name);

}  // namespace stoa::fsck
