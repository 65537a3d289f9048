// Encodes small valid pools for the tests of fsck, from docs/format/pool.md alone.
//
// Every block passes through `tamper` just before it gets its checksum, so that a change there
// yields wrong content with right checksums; damage() changes bytes without that.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "dataplane/pool/fsck/fsck.h"

namespace stoa::fsck::test {

using Block = std::array<std::byte, 4096>;

class MemorySource final : public Source {
public:
    explicit MemorySource(std::string name, size_t blocks)
        : bytes(blocks * 4096), name_(std::move(name)) {}
    uint64_t size_bytes() const override { return bytes.size(); }
    bool read(uint64_t offset, MutableBytes into) override {
        if (offset > bytes.size() || into.size() > bytes.size() - offset) return false;
        if (unreadable.contains(offset / 4096)) return false;
        std::memcpy(into.data(), bytes.data() + offset, into.size());
        return true;
    }
    const std::string& name() const override { return name_; }

    std::vector<std::byte> bytes;
    std::set<uint64_t> unreadable;  // blocks

private:
    std::string name_;
};

enum class What : uint8_t { label, superblock, index, table, bitmap, node, object, data, journal };

struct RawEntry {
    uint64_t low = 0;
    uint64_t high = 0;
};

inline RawEntry make_entry(uint64_t address, uint64_t birth, uint32_t crc, uint64_t kind) {
    return {address | birth << 40, (birth >> 24 & 0xFFFFFF) | uint64_t{crc} << 24 | kind << 56};
}

struct RawObject {
    uint8_t kind = 0;
    uint32_t flags = 0;
    uint64_t id = 0;
    uint64_t parent = 0;
    uint64_t epoch = 0;
    uint64_t size_bytes = 0;
    RawEntry root;
    uint64_t volume = 0;
    uint64_t cursor = 0;
    uint64_t mapped = 0;
    std::string name;
    uint64_t damage_first = 0;
    uint64_t damage_blocks = 0;

    std::array<std::byte, 512> encode() const {
        std::array<std::byte, 512> bytes{};
        std::byte* b = bytes.data();
        store_le<uint8_t>(b, kind);
        store_le<uint8_t>(b + 1, static_cast<uint8_t>(name.size()));
        store_le(b + 4, flags);
        store_le(b + 8, id);
        store_le(b + 16, id * 1000 + 7);  // uuid
        store_le(b + 32, parent);
        store_le(b + 40, epoch);
        store_le(b + 48, size_bytes);
        store_le(b + 56, root.low);
        store_le(b + 64, root.high);
        store_le(b + 72, volume);
        store_le(b + 112, cursor);
        store_le(b + 120, mapped);
        std::memcpy(b + 128, name.data(), name.size());
        store_le(b + 272, damage_first);
        store_le(b + 280, damage_blocks);
        return bytes;
    }
};

// One or more devices; logical regions 0 (class 3, physical 0 and 1 of device 0), 1 (class 2) and
// 2, 3 (class 1). Geometry: regions of 64 blocks, 16 journal blocks.
class TestPool {
public:
    static constexpr uint64_t kRegion = 64;
    static constexpr uint64_t kJournal = 16;
    static constexpr uint64_t kDataStart = 64;
    static constexpr uint32_t kPhysical = 8;
    static constexpr uint64_t kDeviceBlocks = kDataStart + kPhysical * kRegion;
    // Positions: label 0, superblocks 1 and 2, tables 3-6, journals 7 and 23, tables 39-42.
    static constexpr uint64_t kTables[2] = {3, 39};
    static constexpr uint64_t kJournals[2] = {7, 23};
    static constexpr uint64_t kSuperblocks[2] = {1, 43};
    static constexpr uint64_t kLabels[2] = {0, 45};

    explicit TestPool(size_t device_count = 1) {
        for (size_t i = 0; i < device_count; ++i) {
            devices.emplace_back("disk" + std::to_string(i), kDeviceBlocks);
        }
        for (size_t i = 0; i < 16; ++i) uuid[i] = std::byte{static_cast<uint8_t>(0xA0 + i)};
        for (uint64_t region = 0; region < 4; ++region) {
            for (const uint64_t fixed : {uint64_t{0}, uint64_t{1}, kRegion - 2, kRegion - 1}) {
                set_bit(region * kRegion + fixed);
            }
        }
    }

    // Takes the next free block of a region.
    uint64_t allocate(uint64_t region) {
        const uint64_t address = region * kRegion + next_[region]++;
        set_bit(address);
        return address;
    }
    void set_bit(uint64_t address) { bitmaps[address / kRegion][address % kRegion] = true; }

    RawEntry put_data(uint64_t birth, uint8_t fill, uint64_t address = 0) {
        if (address == 0) address = allocate(2);
        Block block;
        block.fill(std::byte{fill});
        return put(What::data, block, address, birth, 2);
    }

    // A node of `level` holding `entries` by index.
    RawEntry put_node(int level, uint64_t birth, const std::map<int, RawEntry>& entries,
                      What what = What::node, uint64_t leaf_region = 1) {
        Block block{};
        for (const auto& [index, entry] : entries) {
            store_le(block.data() + 16 * index, entry.low);
            store_le(block.data() + 16 * index + 8, entry.high);
        }
        return put(what, block, allocate(level == 0 ? leaf_region : 0), birth, 3);
    }
    // The path from a root to one leaf at index 0 of each level.
    RawEntry put_tree(uint64_t birth, const std::map<int, RawEntry>& leaf,
                      uint64_t leaf_region = 1) {
        RawEntry entry = put_node(0, birth, leaf, What::node, leaf_region);
        for (int level = 1; level <= 3; ++level) entry = put_node(level, birth, {{0, entry}});
        return entry;
    }

    void put_objects(const std::vector<RawObject>& objects, uint64_t birth) {
        std::map<int, RawEntry> leaf;
        for (size_t n = 0; n * 8 < objects.size(); ++n) {
            Block block{};
            for (size_t i = 0; i < 8 && n * 8 + i < objects.size(); ++i) {
                const auto bytes = objects[n * 8 + i].encode();
                std::memcpy(block.data() + 512 * i, bytes.data(), bytes.size());
            }
            leaf[static_cast<int>(n)] = put(What::object, block, allocate(0), birth, 2);
        }
        object_root = put_tree(birth, leaf, 0);
        object_slots = static_cast<uint32_t>(objects.size());
    }

    // One journal block per commit: `records` (with their headers) and the commit end.
    void commit(std::vector<std::byte> records, uint64_t count, uint64_t proven = 0) {
        const uint64_t number = ++last_commit;
        const size_t before = records.size();
        const uint32_t crc = crc32c(records);
        records.resize(before + 40);
        std::byte* end = records.data() + before;
        store_le<uint8_t>(end, 4);
        store_le<uint32_t>(end + 4, 40);
        store_le(end + 8, sequence + 1);
        store_le(end + 16, sequence += count);
        store_le(end + 24, static_cast<uint32_t>(before));
        store_le(end + 28, crc);
        put_journal(journal_next++, number, proven, 3, records);
    }
    void put_journal(uint64_t position, uint64_t number, uint64_t proven, uint16_t flags,
                     ConstBytes payload, uint64_t incarnation = 2, uint64_t generation = 4) {
        Block block{};
        std::byte* b = block.data();
        std::memcpy(b, "JRN1", 4);
        store_le(b + 8, position);
        store_le(b + 16, incarnation);
        store_le(b + 24, number);
        store_le(b + 32, generation);
        store_le(b + 40, proven);
        store_le(b + 52, flags);
        store_le(b + 54, static_cast<uint16_t>(payload.size()));
        std::ranges::copy(payload, b + 64);
        if (tamper) tamper(What::journal, position, block);
        store_le<uint32_t>(b + 4, 0);
        store_le(b + 4, seeded(block, load_le<uint64_t>(b + 8), load_le<uint64_t>(b + 16)));
        for (const uint64_t start : kJournals) write(0, start + position % kJournal, block);
    }

    // Writes bitmaps, tables, superblock (generation 4) and labels.
    void seal() {
        Block table{};
        static constexpr uint8_t classes[4] = {3, 2, 1, 1};
        for (uint64_t region = 0; region < 4; ++region) {
            Block bitmap{};
            uint32_t free = kRegion;
            for (const auto& [offset, set] : bitmaps[region]) {
                bitmap[offset / 8] |= std::byte{static_cast<uint8_t>(1u << offset % 8)};
                --free;
            }
            if (tamper) tamper(What::bitmap, region, bitmap);
            for (const uint64_t offset : {uint64_t{0}, kRegion - 2}) {
                write_address(region * kRegion + offset, bitmap);
            }
            std::byte* e = table.data() + 64 * region;
            store_le<uint8_t>(e, 1);
            store_le<uint8_t>(e + 1, classes[region]);
            store_le<uint8_t>(e + 2, region == 0 ? 2 : 1);
            store_le(e + 4, seeded(bitmap, (uint64_t{1} << 61) + region, 0));
            store_le(e + 8, free);
            store_le(e + 20, static_cast<uint32_t>(region == 0 ? 0 : region + 1));
            if (region == 0) store_le<uint32_t>(e + 28, 1);
        }
        if (tamper) tamper(What::table, 0, table);
        Block index{};
        store_le(index.data(), seeded(table, uint64_t{1} << 62, 0));
        if (tamper) tamper(What::index, 0, index);
        for (const uint64_t start : kTables) {
            write(0, start, index);
            write(0, start + 2, table);
        }
        seal_superblock(seeded(index, (uint64_t{3} << 61), 0));
        for (size_t i = 0; i < devices.size(); ++i) seal_label(i);
    }

    // Changes one byte of a device without mending any checksum.
    void damage(size_t device, uint64_t block, uint64_t offset = 100) {
        devices[device].bytes[block * 4096 + offset] ^= std::byte{0x5A};
    }
    // Where address lies on device 0; `place` 1 only in region 0.
    static uint64_t position(uint64_t address, uint64_t place = 0) {
        const uint64_t region = address / kRegion;
        const uint64_t physical = region == 0 ? place : region + 1;
        return kDataStart + physical * kRegion + address % kRegion;
    }

    Report check(Options options = {}) {
        std::vector<Source*> sources;
        sources.reserve(devices.size());
        for (MemorySource& device : devices) sources.push_back(&device);
        return fsck::check(sources, options);
    }

    std::vector<MemorySource> devices;
    std::array<std::byte, 16> uuid;
    std::function<void(What, uint64_t, Block&)> tamper;
    std::map<uint64_t, std::map<uint64_t, bool>> bitmaps;
    RawEntry object_root;
    uint32_t object_slots = 0;
    uint64_t next_object_id = 100;
    uint64_t bad_blocks = 0;
    uint32_t bad_leaves = 0;
    uint64_t superblock_flags = 0;
    uint64_t last_commit = 20;
    uint64_t journal_next = 37;
    uint64_t sequence = 500;

private:
    uint32_t seeded(const Block& block, uint64_t a, uint64_t b) const {
        std::array<std::byte, 32> seed;
        std::memcpy(seed.data(), uuid.data(), 16);
        store_le(seed.data() + 16, a);
        store_le(seed.data() + 24, b);
        return crc32c(block, crc32c(seed));
    }
    void write(size_t device, uint64_t position, const Block& block) {
        std::memcpy(devices[device].bytes.data() + position * 4096, block.data(), 4096);
    }
    void write_address(uint64_t address, const Block& block) {
        write(0, position(address, 0), block);
        if (address / kRegion == 0) write(0, position(address, 1), block);
    }
    RawEntry put(What what, Block block, uint64_t address, uint64_t birth, uint64_t kind) {
        if (tamper) tamper(what, address, block);
        write_address(address, block);
        return make_entry(address, birth, seeded(block, address, birth), kind);
    }

    void seal_superblock(uint32_t index_crc) {
        Block block{};
        std::byte* b = block.data();
        std::memcpy(b, "STOASB01", 8);
        store_le<uint32_t>(b + 12, 1);
        std::memcpy(b + 16, uuid.data(), 16);
        const uint64_t fields[] = {4, 2, 10, 37, 20, 500, superblock_flags};
        for (size_t i = 0; i < std::size(fields); ++i) store_le(b + 32 + 8 * i, fields[i]);
        store_le(b + 112, object_root.low);
        store_le(b + 120, object_root.high);
        store_le(b + 128, next_object_id);
        store_le(b + 140, static_cast<uint16_t>(devices.size()));
        store_le<uint32_t>(b + 144, 4);
        store_le(b + 148, object_slots);
        store_le<uint64_t>(b + 160, 2);
        store_le<uint32_t>(b + 168, 1);
        store_le(b + 176, bad_blocks);
        store_le(b + 248, bad_leaves);
        store_le<uint64_t>(b + 256, 30);
        store_le<uint64_t>(b + 264, 2);
        store_le<uint64_t>(b + 272, 400);
        for (size_t i = 0; i < devices.size(); ++i) {
            store_le<uint64_t>(b + 1024 + 32 * i, 0xD0 + i);
            store_le(b + 1024 + 32 * i + 16, kPhysical);
            store_le<uint8_t>(b + 1024 + 32 * i + 20, 1);
        }
        store_le(b + 2048, index_crc);
        if (tamper) tamper(What::superblock, 0, block);
        store_le<uint32_t>(b + 8, 0);
        store_le(b + 8, crc32c(block));
        for (size_t i = 0; i < devices.size(); ++i) {
            for (const uint64_t start : kSuperblocks) write(i, start, block);
        }
    }

    void seal_label(size_t device) {
        Block block{};
        std::byte* b = block.data();
        std::memcpy(b, "STOALBL1", 8);
        store_le<uint32_t>(b + 12, 1);
        std::memcpy(b + 16, uuid.data(), 16);
        store_le<uint64_t>(b + 32, 0xD0 + device);
        store_le(b + 48, static_cast<uint16_t>(device));
        store_le(b + 52, static_cast<uint32_t>(kRegion));
        store_le(b + 56, kJournal);
        store_le<uint32_t>(b + 64, 1);
        store_le<uint32_t>(b + 68, 1);
        store_le<uint32_t>(b + 72, 64);
        store_le(b + 80, kDataStart);
        std::memcpy(b + 128, "tank", 4);
        if (tamper) tamper(What::label, device, block);
        store_le<uint32_t>(b + 8, 0);
        store_le(b + 8, crc32c(block));
        for (const uint64_t at : kLabels) write(device, at, block);
    }

    std::map<uint64_t, uint64_t> next_{{0, 2}, {1, 2}, {2, 2}, {3, 2}};
};

// A snapshot with three blocks, its volume, which has since written block 0, a clone that has
// written nothing, and a damage range.
struct Family {
    uint64_t snapshot_data[3] = {};
    uint64_t volume_data = 0;
    RawEntry snapshot_root;
    RawEntry volume_root;
    RawEntry old_0;  // the snapshot's entry of block 0
    RawEntry new_0;  // the volume's
    std::vector<RawObject> objects;
};

inline uint64_t address_of(const RawEntry& entry) { return entry.low & ((uint64_t{1} << 40) - 1); }

// Puts trees and the objects that describe them, but neither object tree nor superblock.
inline Family put_family(TestPool& pool) {
    Family family;
    std::map<int, RawEntry> leaf;
    for (int i = 0; i < 3; ++i) {
        leaf[i] = pool.put_data(3, static_cast<uint8_t>(i + 1));
        family.snapshot_data[i] = address_of(leaf[i]);
    }
    leaf[4] = make_entry(0, 4, 0, 1);
    family.old_0 = leaf[0];
    family.snapshot_root = pool.put_tree(5, leaf);
    family.new_0 = leaf[0] = pool.put_data(7, 9);
    family.volume_data = address_of(leaf[0]);
    family.volume_root = pool.put_tree(7, leaf);

    const uint64_t size = 1 << 20;
    family.objects = {
        {2, 0, 1, 0, 5, size, family.snapshot_root, 2, 0, 3, "monday", 0, 0},
        {1, 0, 2, 1, 1, size, family.volume_root, 0, 0, 3, "web", 0, 0},
        {1, 0, 3, 1, 6, size, family.snapshot_root, 0, 0, 3, "copy", 0, 0},
        {4, 0, 4, 0, 0, 0, {}, 2, 0, 0, "", 7, 2},
    };
    return family;
}

}  // namespace stoa::fsck::test
