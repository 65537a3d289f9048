// A pool image whose structures can be changed at will and then get right checksums again, from
// the leaves up to the superblock: content that is wrong in spite of checksums that are right.
//
// Used by open_fuzz.cc. The layout is read with the decoders of format.h.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "base/crc32c.h"
#include "dataplane/io/sim/image.h"
#include "dataplane/pool/format.h"
#include "dataplane/pool/records.h"

namespace stoa::pool::hostile {

using Block = std::array<std::byte, kBlockBytes>;

inline Entry load_entry(const std::byte* from) {
    return {load_le<uint64_t>(from), load_le<uint64_t>(from + 8)};
}
inline void store_entry(std::byte* to, const Entry& entry) {
    store_le(to, entry.low);
    store_le(to + 8, entry.high);
}

// What there is to change in an untouched image.
struct Catalog {
    std::vector<BlockAddress> map_nodes;  // of volumes and snapshots
    std::vector<BlockAddress> object_nodes;
    std::vector<BlockAddress> object_blocks;
    std::vector<BlockAddress> data;
    std::set<BlockAddress> kept;  // reached by the volume that must not suffer
    std::vector<ObjectId> objects;
    std::vector<uint64_t> journal;  // numbers of its valid blocks, ascending
    uint64_t journal_next = 0;
    uint64_t commit_next = 0;
};

class HostileImage {
public:
    // `image` is one device that holds a whole pool.
    explicit HostileImage(io::sim::Image image) : image_(std::move(image)) {
        Block block;
        read(0, block);
        label_ = *decode_label(block);
        checksums_ = Checksums(label_.pool);
        layout_.emplace_back(label_);
        for (uint64_t slot = 0; slot < 2; ++slot) {
            read(layout().superblock[0][slot], block);
            const Result<Superblock> found = decode_superblock(block);
            if (!found.ok() || found->generation <= superblock_.generation) continue;
            superblock_ = *found;
            superblock_slot_ = slot;
        }
        load_table();
    }

    [[nodiscard]] const io::sim::Image& image() const { return image_; }
    [[nodiscard]] const Superblock& superblock() const { return superblock_; }
    [[nodiscard]] const Checksums& checksums() const { return checksums_; }
    [[nodiscard]] const DeviceLayout& layout() const { return layout_.front(); }
    [[nodiscard]] uint32_t region_count() const { return static_cast<uint32_t>(table_.size()); }
    [[nodiscard]] const RegionEntry& region(uint32_t index) const { return table_[index]; }
    [[nodiscard]] uint64_t device_blocks() const { return image_.size_bytes() / kBlockBytes; }
    [[nodiscard]] uint64_t journal_blocks() const { return label_.journal_blocks; }

    void read(uint64_t block, Block& into) const { image_.read(block * kBlockBytes, into); }
    void write(uint64_t block, const Block& from) { image_.write(block * kBlockBytes, from); }

    // Positions of the copies of each kind of structure.
    [[nodiscard]] std::vector<uint64_t> label_places() const {
        return {layout().label[0], layout().label[1]};
    }
    [[nodiscard]] std::vector<uint64_t> superblock_places() const {
        return {layout().superblock[0][superblock_slot_], layout().superblock[1][superblock_slot_]};
    }
    [[nodiscard]] std::vector<uint64_t> index_places() const {
        const int slot = superblock_.index[0].slot;
        return {layout().index_block(0, slot, 0), layout().index_block(1, slot, 0)};
    }
    [[nodiscard]] std::vector<uint64_t> table_places() const {
        return {layout().table_block(0, table_slot_.slot, 0),
                layout().table_block(1, table_slot_.slot, 0)};
    }
    [[nodiscard]] std::vector<uint64_t> journal_places(uint64_t number) const {
        const uint64_t at = number % label_.journal_blocks;
        return {layout().journal[0] + at, layout().journal[1] + at};
    }
    // Of a block of the address space; none if it lies nowhere on the device.
    [[nodiscard]] std::vector<uint64_t> places(BlockAddress address) const {
        std::vector<uint64_t> found;
        const uint64_t index = address / label_.region_blocks;
        if (index >= table_.size() || !table_[index].in_use) return found;
        for (size_t i = 0; i < std::min<size_t>(table_[index].places, 3); ++i) {
            const uint64_t block = layout().region_start(table_[index].place[i].region) +
                                   address % label_.region_blocks;
            if (block < device_blocks()) found.push_back(block);
        }
        return found;
    }
    [[nodiscard]] std::vector<uint64_t> bitmap_places(uint32_t index) const {
        const uint64_t first = uint64_t{index} * label_.region_blocks;
        const unsigned slot = table_[index].bitmap_slot & 1U;
        std::vector<uint64_t> found = places(first + slot);
        for (const uint64_t at : places(first + label_.region_blocks - 2 + slot)) {
            found.push_back(at);
        }
        return found;
    }

    // Calls `change(block)` and stores the result in every copy.
    template <class Change>
    void edit(const std::vector<uint64_t>& at, Change&& change) {
        if (at.empty()) return;
        Block block;
        read(at[0], block);
        change(block);
        for (const uint64_t place : at) write(place, block);
    }

    // Adds a commit to the journal that holds `records`; a proof makes it count unconditionally.
    void append_commit(std::vector<std::byte> records, uint64_t count, bool proof,
                       Catalog& catalog) {
        CommitEnd end;
        end.first_sequence = superblock_.sequence + 1000 * (catalog.commit_next + 1);
        end.last_sequence = end.first_sequence + count - 1;
        end.payload_bytes = static_cast<uint32_t>(records.size());
        end.payload_crc = crc32c(records);
        encode_record(end, records);
        for (size_t at = 0, i = 0; at < records.size(); at += 4032, ++i) {
            const size_t bytes = std::min<size_t>(4032, records.size() - at);
            const auto flags =
                static_cast<uint16_t>((at == 0 ? 1 : 0) | (at + bytes == records.size() ? 2 : 0));
            put_journal(catalog, {records.data() + at, bytes}, static_cast<uint32_t>(i), flags);
        }
        if (proof) {
            put_journal(catalog, {}, 0, 4);
            --catalog.journal_next;  // the next commit overwrites it
        }
        ++catalog.commit_next;
    }

    // Makes every checksum right that can be.
    void seal(const Catalog& catalog) {
        load_table();  // as it is now
        sealed_.clear();
        Block super;
        read(superblock_places()[0], super);
        Entry root = load_entry(super.data() + 112);
        if (is_legal_entry(root, kRootLevel + 1)) seal_entry(root, kRootLevel, true);
        store_entry(super.data() + 112, root);
        seal_tables(super);
        seal_self(super);
        for (const uint64_t at : superblock_places()) write(at, super);
        edit(label_places(), seal_self);
        seal_journal(catalog);
    }

    // Walks the untouched image. `kept` is the id of the volume that must not suffer.
    Catalog survey(ObjectId kept) {
        Catalog catalog;
        survey_tree(catalog, superblock_.object_root, kRootLevel, true, false);
        for (const BlockAddress address : catalog.object_blocks) {
            Block block;
            read(places(address)[0], block);
            for (size_t i = 0; i < kObjectsPerBlock; ++i) {
                const Result<ObjectRecord> record = decode_object(block.data() + i * kObjectBytes);
                if (!record.ok() || record->kind == ObjectKind::free) continue;
                catalog.objects.push_back(record->id);
                if (!record->is_tree()) continue;
                survey_tree(catalog, record->root, kRootLevel, false, record->id == kept);
            }
        }
        const auto tidy = [&](std::vector<BlockAddress>& list) {
            std::ranges::sort(list);
            list.erase(std::ranges::unique(list).begin(), list.end());
            std::erase_if(list, [&](BlockAddress a) { return catalog.kept.contains(a); });
        };
        tidy(catalog.map_nodes);
        tidy(catalog.data);
        survey_journal(catalog);
        return catalog;
    }

private:
    static void seal_self(Block& block) {
        store_le(block.data() + 8, uint32_t{0});
        store_le(block.data() + 8, crc32c(block));
    }

    void load_table() {
        Block super;
        Block block;
        read(superblock_places()[0], super);
        const int slot = load_le<uint8_t>(super.data() + 2048 + 4) & 1;
        read(layout().index_block(0, slot, 0), block);
        table_slot_.slot = load_le<uint8_t>(block.data() + 4) & 1;
        read(table_places()[0], block);
        const auto count = std::min<uint32_t>(load_le<uint32_t>(super.data() + 144), 64);
        table_.assign(count, RegionEntry{});
        for (uint32_t r = 0; r < count; ++r) {
            const std::byte* p = block.data() + r * kRegionEntryBytes;
            RegionEntry& e = table_[r];
            e.in_use = load_le<uint8_t>(p) == 1;
            e.region_class = static_cast<RegionClass>(load_le<uint8_t>(p + 1) & 3);
            e.places = load_le<uint8_t>(p + 2);
            e.bitmap_slot = load_le<uint8_t>(p + 3);
            e.free_blocks = load_le<uint32_t>(p + 8);
            for (size_t i = 0; i < 3; ++i) {
                e.place[i] = {load_le<uint16_t>(p + 16 + i * 8), load_le<uint32_t>(p + 20 + i * 8)};
            }
        }
    }

    // Brings everything below `entry` in order, then its checksum.
    void seal_entry(Entry& entry, int level, bool objects) {
        const std::vector<uint64_t> at = places(entry.address());
        if (at.empty()) return;
        Block block;
        read(at[0], block);
        const bool node = entry.kind() == EntryKind::node;
        // A block that is its own ancestor keeps a wrong checksum.
        if ((node || objects) && sealed_.insert(entry.address()).second) {
            if (node) seal_node(block, level, objects);
            else seal_objects(block);
            for (const uint64_t place : at) write(place, block);
        }
        const uint32_t crc = checksums_.block(block, entry.address(), entry.birth());
        entry = Entry::make(entry.kind(), entry.address(), entry.birth(), crc, entry.flags());
    }

    void seal_node(Block& block, int level, bool objects) {
        for (size_t i = 0; i < kFanout; ++i) {
            Entry entry = load_entry(block.data() + i * 16);
            if (entry.reads_nothing() || !is_legal_entry(entry, level)) continue;
            if (entry.kind() == EntryKind::damaged) continue;
            seal_entry(entry, level - 1, objects);
            store_entry(block.data() + i * 16, entry);
        }
    }

    void seal_objects(Block& block) {
        for (size_t i = 0; i < kObjectsPerBlock; ++i) {
            std::byte* object = block.data() + i * kObjectBytes;
            Entry root = load_entry(object + 56);
            if (root.kind() != EntryKind::node || !is_legal_entry(root, kRootLevel + 1)) continue;
            seal_entry(root, kRootLevel, false);
            store_entry(object + 56, root);
        }
    }

    void seal_tables(Block& super) {
        Block table;
        Block block;
        read(table_places()[0], table);
        for (uint32_t r = 0; r < table_.size(); ++r) {
            if (!table_[r].in_use || bitmap_places(r).empty()) continue;
            read(bitmap_places(r)[0], block);
            store_le(table.data() + r * kRegionEntryBytes + 4,
                     checksums_.block(block, bitmap_place(r), 0));
        }
        for (const uint64_t at : table_places()) write(at, table);
        const int slot = load_le<uint8_t>(super.data() + 2048 + 4) & 1;
        const std::vector<uint64_t> index{layout().index_block(0, slot, 0),
                                          layout().index_block(1, slot, 0)};
        edit(index, [&](Block& content) {
            store_le(content.data(), stored_crc(checksums_.block(table, table_place(0), 0)));
            block = content;
        });
        store_le(super.data() + 2048, stored_crc(checksums_.block(block, index_place(0), 0)));
    }

    // ---- journal

    void put_journal(Catalog& catalog, ConstBytes payload, uint32_t index, uint16_t flags) {
        Block block{};
        const uint64_t number = catalog.journal_next++;
        const bool proof = (flags & 4) != 0;
        store_le(block.data(), uint32_t{0x314E524A});
        store_le(block.data() + 8, number);
        store_le(block.data() + 16, superblock_.cuts.back().incarnation);
        store_le(block.data() + 24, catalog.commit_next);
        store_le(block.data() + 32, superblock_.generation);
        store_le(block.data() + 40, catalog.commit_next - (proof ? 0 : 1));
        store_le(block.data() + 48, index);
        store_le(block.data() + 52, flags);
        store_le(block.data() + 54, static_cast<uint16_t>(payload.size()));
        std::ranges::copy(payload, block.begin() + 64);
        for (const uint64_t at : journal_places(number)) write(at, block);
        if (catalog.journal.empty() || catalog.journal.back() < number) {
            catalog.journal.push_back(number);
        }
    }

    void seal_journal(const Catalog& catalog) {
        std::vector<std::byte> payload;
        uint32_t chain = 0;
        for (const uint64_t number : catalog.journal) {
            Block block;
            read(journal_places(number)[0], block);
            const auto flags = load_le<uint16_t>(block.data() + 52);
            const auto bytes = std::min<size_t>(load_le<uint16_t>(block.data() + 54), 4032);
            if (load_le<uint32_t>(block.data() + 48) == 0) {
                payload.clear();
                chain = 0;
            }
            payload.insert(payload.end(), block.begin() + 64,
                           block.begin() + static_cast<ptrdiff_t>(64 + bytes));
            if ((flags & 2) != 0 && bytes >= 40) {
                const size_t before = payload.size() - 40;
                store_le(block.data() + 64 + bytes - 40 + 28,
                         crc32c(ConstBytes(payload).first(before)));
            }
            store_le(block.data() + 56, chain);
            store_le(block.data() + 4, uint32_t{0});
            chain = checksums_.block(block, load_le<uint64_t>(block.data() + 8),
                                     load_le<uint64_t>(block.data() + 16));
            store_le(block.data() + 4, chain);
            for (const uint64_t at : journal_places(number)) write(at, block);
        }
    }

    // ---- survey

    void survey_tree(Catalog& catalog, const Entry& entry, int level, bool objects, bool kept) {
        if (entry.kind() != EntryKind::node && entry.kind() != EntryKind::data) return;
        if (kept) catalog.kept.insert(entry.address());
        if (entry.kind() == EntryKind::data) {
            (objects ? catalog.object_blocks : catalog.data).push_back(entry.address());
            return;
        }
        (objects ? catalog.object_nodes : catalog.map_nodes).push_back(entry.address());
        Block block;
        read(places(entry.address())[0], block);
        for (size_t i = 0; i < kFanout; ++i) {
            survey_tree(catalog, load_entry(block.data() + i * 16), level - 1, objects, kept);
        }
    }

    void survey_journal(Catalog& catalog) {
        catalog.commit_next = superblock_.commit + 1;
        uint64_t number = superblock_.journal_start;
        for (;; ++number) {
            Block block;
            read(journal_places(number)[0], block);
            if (load_le<uint32_t>(block.data()) != 0x314E524A ||
                load_le<uint64_t>(block.data() + 8) != number ||
                load_le<uint64_t>(block.data() + 16) != superblock_.cuts.back().incarnation ||
                (load_le<uint16_t>(block.data() + 52) & 4) != 0) {
                break;
            }
            catalog.journal.push_back(number);
            catalog.commit_next = load_le<uint64_t>(block.data() + 24) + 1;
        }
        catalog.journal_next = number;
    }

    io::sim::Image image_;
    Label label_;
    Checksums checksums_;
    std::vector<DeviceLayout> layout_;  // one
    Superblock superblock_;
    uint64_t superblock_slot_ = 0;
    CheckedSlot table_slot_;
    std::vector<RegionEntry> table_;
    std::set<BlockAddress> sealed_;
};

}  // namespace stoa::pool::hostile
