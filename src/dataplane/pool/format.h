// The pool's on-disk structures: pure encoding, decoding and checksums; no I/O.
//
// Layout: docs/format/pool.md. Decoders survive any bytes: they return corrupt, never CHECK.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/uuid.h"
#include "dataplane/pool/limits.h"

namespace stoa::pool {

using BlockAddress = uint64_t;  // logical: region * region_blocks + offset; 0 = none
using Epoch = uint64_t;         // 48 bits, pool-wide, only grows
using ObjectId = uint64_t;      // 0 = none
using BlockIndex = uint64_t;    // block within a volume

inline constexpr uint32_t kFormatVersion = 1;
inline constexpr uint64_t kFanout = 256;
inline constexpr int kRootLevel = 3;
inline constexpr BlockIndex kBlocksPerTree = uint64_t{1} << 32;
inline constexpr uint32_t kRegionBlocksMin = 64;
inline constexpr uint32_t kRegionBlocksMax = 32768;
inline constexpr uint32_t kRegionFixedBlocks = 4;  // bitmap slots and their copies
inline constexpr uint64_t kObjectBytes = 512;
inline constexpr uint64_t kObjectsPerBlock = kBlockBytes / kObjectBytes;

// Blocks covered by one entry of a node at `level`.
constexpr uint64_t entry_blocks(int level) { return uint64_t{1} << (8 * level); }
constexpr size_t entry_index(BlockIndex block, int level) { return (block >> (8 * level)) & 255; }

enum class EntryKind : uint8_t { absent = 0, hole = 1, data = 2, node = 3, damaged = 4 };

// One map entry, 16 bytes as on disk. In memory a NODE entry may be a handle: its address is
// then the index of a node in the cache (never written to disk).
struct Entry {
    static constexpr uint8_t kMoved = 0x10;
    static constexpr uint8_t kHydrated = 0x20;
    static constexpr uint8_t kHandle = 0x80;

    uint64_t low = 0;
    uint64_t high = 0;

    static Entry make(EntryKind kind, BlockAddress address, Epoch birth, uint32_t crc,
                      uint8_t flags = 0) {
        const auto byte = static_cast<uint8_t>(static_cast<uint8_t>(kind) | flags);
        return {address | birth << 40,
                (birth >> 24 & 0xFFFFFF) | uint64_t{crc} << 24 | uint64_t{byte} << 56};
    }
    static Entry hole(Epoch birth, uint8_t flags = 0) {
        return make(EntryKind::hole, 0, birth, 0, flags);
    }

    [[nodiscard]] BlockAddress address() const { return low & 0xFFFFFFFFFFULL; }
    [[nodiscard]] Epoch birth() const { return low >> 40 | (high & 0xFFFFFF) << 24; }
    [[nodiscard]] uint32_t crc() const { return static_cast<uint32_t>(high >> 24); }
    [[nodiscard]] uint8_t kind_byte() const { return static_cast<uint8_t>(high >> 56); }
    [[nodiscard]] EntryKind kind() const { return static_cast<EntryKind>(kind_byte() & 0x0F); }
    [[nodiscard]] uint8_t flags() const { return kind_byte() & 0xF0; }
    [[nodiscard]] bool is_handle() const { return (kind_byte() & kHandle) != 0; }
    [[nodiscard]] bool birth_proves_nothing() const {
        return (kind_byte() & (kMoved | kHydrated)) != 0;
    }
    [[nodiscard]] bool reads_nothing() const {
        return kind() == EntryKind::absent || kind() == EntryKind::hole;
    }
    bool operator==(const Entry&) const = default;
};
static_assert(sizeof(Entry) == 16);

// Legal on disk as an entry of a node at `level` (root entry of a tree: kRootLevel + 1)?
[[nodiscard]] bool is_legal_entry(const Entry& entry, int level);

// Checksums seeded with the pool, the place and the birth (docs/format/pool.md, "Checksums").
class Checksums {
public:
    Checksums() = default;
    explicit Checksums(const Uuid& pool);
    [[nodiscard]] uint32_t block(ConstBytes content, uint64_t place, uint64_t birth) const;

private:
    uint32_t pool_seed_ = 0;
};

// Numbers that only grow stay below these in any pool's life: nothing that counts on from what a
// device says wraps around.
inline constexpr uint64_t kCountMax = uint64_t{1} << 62;  // ids, commits, sequences, positions
inline constexpr Epoch kEpochMax = uint64_t{1} << 47;     // of a superblock
inline constexpr Epoch kRecordEpochMax = uint64_t{1} << 46;  // of a journal record

constexpr uint64_t bitmap_place(uint64_t region) { return (uint64_t{1} << 61) + region; }
constexpr uint64_t table_place(uint64_t block) { return (uint64_t{1} << 62) + block; }
constexpr uint64_t index_place(uint64_t block) {
    return (uint64_t{1} << 62) + (uint64_t{1} << 61) + block;
}

struct Label {
    Uuid pool;
    Uuid device;
    uint16_t device_index = 0;
    uint32_t region_blocks = 0;
    uint64_t journal_blocks = 0;
    uint32_t table_blocks = 0;
    uint32_t index_blocks = 0;
    uint32_t regions_max = 0;
    uint64_t data_start = 0;
    uint64_t compat = 0;
    uint64_t read_only_compat = 0;
    uint64_t incompat = 0;
    Uuid creation;
    std::string name;
};

void encode_label(const Label& label, MutableBytes block);
// Errors: not_found (no magic), corrupt, unsupported (version or incompat flags).
Result<Label> decode_label(ConstBytes block);

// Where the system area of a device lies, in blocks; pure arithmetic on a label.
struct DeviceLayout {
    explicit DeviceLayout(const Label& label);
    uint64_t superblock[2][2];  // [copy][slot]
    uint64_t table_area[2];     // [copy]
    uint64_t journal[2];        // [copy]
    uint64_t label[2];
    uint64_t data_start;
    uint32_t table_blocks;
    uint32_t index_blocks;
    uint32_t region_blocks;

    [[nodiscard]] uint64_t index_block(int copy, int slot, uint64_t i) const {
        return table_area[copy] + static_cast<uint64_t>(slot) * index_blocks + i;
    }
    [[nodiscard]] uint64_t table_block(int copy, int slot, uint64_t t) const {
        return table_area[copy] + uint64_t{2} * index_blocks +
               static_cast<uint64_t>(slot) * table_blocks + t;
    }
    [[nodiscard]] uint64_t region_start(uint64_t physical_region) const {
        return data_start + physical_region * region_blocks;
    }
    // First block after the system area's last structure.
    static uint64_t system_blocks(const Label& label);
};

struct Cut {
    uint64_t journal_block = 0;
    uint64_t incarnation = 0;
    uint64_t sequence = 0;
};

enum class DeviceState : uint8_t { absent = 0, present = 1, missing = 2 };

struct DeviceSlot {
    Uuid uuid;
    uint32_t physical_regions = 0;
    DeviceState state = DeviceState::absent;
};

struct CheckedSlot {
    uint32_t crc = 0;  // 0: never written, stands for zeros
    uint8_t slot = 0;
};

// How a checksum is kept in a CheckedSlot: 0 has another meaning there.
constexpr uint32_t stored_crc(uint32_t crc) { return crc == 0 ? 1 : crc; }

inline constexpr size_t kCutsMax = 32;
inline constexpr size_t kBranchesKept = 7;
inline constexpr size_t kIndexBlocksMax = 256;

struct Superblock {
    static constexpr uint64_t kClean = 1;

    Uuid pool;
    uint64_t generation = 0;
    uint64_t incarnation = 0;
    Epoch epoch = 0;
    uint64_t journal_start = 0;
    uint64_t commit = 0;
    uint64_t sequence = 0;
    uint64_t flags = 0;
    Uuid owner;
    uint64_t wall_ns = 0;
    Entry object_root;
    ObjectId next_object = 1;
    std::array<uint16_t, 2> placement{};
    uint16_t device_count = 0;
    uint32_t region_count = 0;
    uint32_t object_slots = 0;
    uint64_t reserve_blocks = 0;
    uint64_t acknowledged_incarnation = 0;
    uint64_t bad_blocks = 0;   // of all classes
    uint32_t bad_leaves = 0;   // those of class leaf
    uint32_t bad_doubled = 0;  // and of class meta
    // Drawn anew (not 0) when the pool is opened for writing without a device that the superblock
    // lists as present; then the branches before it, newest first, 0 = none.
    uint64_t branch = 0;
    std::array<uint64_t, kBranchesKept> branches_before{};
    std::vector<Cut> cuts;  // 1 .. kCutsMax, ascending
    std::array<DeviceSlot, kDevicesMax> devices{};
    std::array<CheckedSlot, kIndexBlocksMax> index{};
};

void encode_superblock(const Superblock& superblock, MutableBytes block);
Result<Superblock> decode_superblock(ConstBytes block);

enum class RegionClass : uint8_t { none = 0, data = 1, leaf = 2, meta = 3 };
inline constexpr size_t kRegionClasses = 4;

struct PhysicalPlace {
    uint16_t device = 0;
    uint32_t region = 0;
    bool operator==(const PhysicalPlace&) const = default;
};

struct RegionEntry {
    bool in_use = false;
    RegionClass region_class = RegionClass::none;
    uint8_t places = 0;
    uint8_t bitmap_slot = 0;
    uint32_t bitmap_crc = 0;
    uint32_t free_blocks = 0;
    std::array<PhysicalPlace, 3> place{};
    // Not zero: an object-class block with the bits in which the bitmap differs from the one on
    // the region's device, which was missing when they changed.
    Entry delta;
    bool bitmap_unwritten = false;  // with a delta: to the bitmap of an empty region
};

inline constexpr size_t kRegionEntryBytes = 64;
inline constexpr size_t kRegionsPerTableBlock = kBlockBytes / kRegionEntryBytes;
inline constexpr size_t kTablesPerIndexBlock = kBlockBytes / 8;

void encode_region(const RegionEntry& entry, std::byte* to);
Result<RegionEntry> decode_region(const std::byte* from, uint64_t region);

enum class ObjectKind : uint8_t { free = 0, volume = 1, snapshot = 2, orphan = 3, damage = 4 };

struct ObjectRecord {
    static constexpr uint32_t kProtected = 1;
    static constexpr uint32_t kDeleted = 2;
    static constexpr uint32_t kTrimming = 4;
    static constexpr uint32_t kHasOrigin = 8;
    static constexpr uint32_t kHydrated = 16;
    static constexpr uint32_t kFlattening = 32;
    static constexpr uint32_t kHydrating = 64;

    ObjectKind kind = ObjectKind::free;
    uint32_t flags = 0;
    ObjectId id = 0;
    Uuid uuid;
    ObjectId parent = 0;
    Epoch epoch = 0;
    uint64_t size_bytes = 0;
    Entry root;
    ObjectId volume = 0;
    uint64_t created_ns = 0;
    uint64_t branch = 0;
    ObjectId branch_parent = 0;
    Epoch branch_epoch = 0;
    BlockIndex cursor = 0;
    uint64_t mapped = 0;
    std::string name;
    Uuid origin;
    BlockIndex damage_first = 0;
    uint64_t damage_blocks = 0;
    std::vector<std::byte> tags;

    [[nodiscard]] bool has(uint32_t flag) const { return (flags & flag) != 0; }
    void set(uint32_t flag, bool on) { flags = on ? flags | flag : flags & ~flag; }
    [[nodiscard]] bool is_tree() const {
        return kind == ObjectKind::volume || kind == ObjectKind::snapshot ||
               kind == ObjectKind::orphan;
    }
    [[nodiscard]] uint64_t size_blocks() const {
        return (size_bytes + kBlockBytes - 1) / kBlockBytes;
    }
};

void encode_object(const ObjectRecord& object, std::byte* to);
Result<ObjectRecord> decode_object(const std::byte* from);

}  // namespace stoa::pool
