// Changes of a hostile image, steered by a fuzzer's bytes (open_fuzz.cc): fields of each structure,
// entries that name other trees' blocks, copied nodes and objects, records added to the journal.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "dataplane/pool/test_hostile_image.h"

namespace stoa::pool::hostile {

struct Edit {
    uint8_t what;
    uint8_t where;
    uint8_t index;
    uint8_t field;
    uint8_t mode;
    uint64_t value;
    uint8_t more;
};

struct Field {
    uint16_t offset;
    uint8_t bytes;
};

class Editor {
public:
    Editor(HostileImage& image, Catalog& catalog) : image_(image), catalog_(catalog) {}

    // False: it may hit more than the maps of single volumes.
    bool apply(const Edit& edit) {
        switch (edit.what % 16) {
            case 0: return in_fixed(edit, image_.label_places(), kLabelFields, 0);
            case 1: return in_fixed(edit, image_.superblock_places(), kSuperblockFields, 0);
            case 2: return in_fixed(edit, image_.index_places(), kRegionFields, 0);
            case 3:
                return in_fixed(edit, image_.table_places(), kRegionFields,
                                edit.index % (image_.region_count() + 2U) * kRegionEntryBytes);
            case 4: return in_bitmap(edit);
            case 5: return in_node(edit, catalog_.object_nodes) && false;
            case 6:
                return in_fixed(edit, place_of(catalog_.object_blocks, edit.where), kObjectFields,
                                edit.index % kObjectsPerBlock * kObjectBytes);
            case 7: return copy_object(edit);
            case 8:
            case 9: return in_node(edit, catalog_.map_nodes);
            case 10: return copy_entry(edit);
            case 11: return in_journal(edit);
            case 12: return add_map_record(edit);
            case 13: return add_structure(edit);
            case 14: return add_reclaim(edit);
            default: return copy_node(edit);
        }
    }

private:
    static constexpr std::array<uint64_t, 16> kEdges = {0,
                                                        1,
                                                        63,
                                                        64,
                                                        255,
                                                        4096,
                                                        0xFFFF,
                                                        0xFFFFFFFF,
                                                        uint64_t{1} << 32,
                                                        (uint64_t{1} << 40) - 1,
                                                        uint64_t{1} << 44,
                                                        (uint64_t{1} << 47) - 1,
                                                        (uint64_t{1} << 48) - 1,
                                                        uint64_t{1} << 62,
                                                        ~uint64_t{0} - 1,
                                                        ~uint64_t{0}};

    static constexpr std::array<Field, 14> kLabelFields = {{{16, 8},
                                                            {32, 8},
                                                            {48, 2},
                                                            {52, 4},
                                                            {56, 8},
                                                            {64, 4},
                                                            {68, 4},
                                                            {72, 4},
                                                            {80, 8},
                                                            {88, 8},
                                                            {96, 8},
                                                            {104, 8},
                                                            {112, 8},
                                                            {128, 1}}};
    static constexpr std::array<Field, 32> kSuperblockFields = {
        {{32, 8},  {40, 8},   {48, 8},   {56, 8},   {64, 8},   {72, 8},   {80, 8},   {88, 8},
         {112, 8}, {120, 8},  {128, 8},  {136, 2},  {138, 2},  {140, 2},  {144, 4},  {148, 4},
         {152, 8}, {160, 8},  {168, 4},  {176, 8},  {256, 8},  {264, 8},  {272, 8},  {280, 8},
         {288, 8}, {1024, 8}, {1040, 4}, {1044, 1}, {1072, 4}, {1076, 1}, {2016, 4}, {2052, 1}}};
    static constexpr std::array<Field, 11> kRegionFields = {{{0, 1},
                                                             {1, 1},
                                                             {2, 1},
                                                             {3, 1},
                                                             {4, 4},
                                                             {8, 4},
                                                             {16, 2},
                                                             {20, 4},
                                                             {24, 2},
                                                             {28, 4},
                                                             {36, 4}}};
    static constexpr std::array<Field, 24> kObjectFields = {
        {{0, 1},   {1, 1},   {2, 2},   {4, 4},   {8, 8},   {16, 8},  {32, 8},  {40, 8},
         {48, 8},  {56, 8},  {64, 8},  {72, 8},  {88, 8},  {96, 8},  {104, 8}, {112, 8},
         {120, 8}, {128, 8}, {136, 1}, {192, 8}, {272, 8}, {280, 8}, {320, 1}, {4, 1}}};
    static constexpr std::array<Field, 11> kJournalFields = {{{8, 8},
                                                              {16, 8},
                                                              {24, 8},
                                                              {32, 8},
                                                              {40, 8},
                                                              {48, 4},
                                                              {52, 2},
                                                              {54, 2},
                                                              {56, 4},
                                                              {0, 4},
                                                              {60, 4}}};

    std::vector<uint64_t> place_of(const std::vector<BlockAddress>& list, size_t which) const {
        if (list.empty()) return {};
        return image_.places(list[which % list.size()]);
    }
    ObjectId object(uint64_t which) const {
        if (which % 16 == 15) return which;
        return catalog_.objects[which % catalog_.objects.size()];
    }
    BlockAddress address(uint64_t value) const {
        const auto pick = [value](const std::vector<BlockAddress>& list) {
            return list.empty() ? BlockAddress{0} : list[(value >> 8) % list.size()];
        };
        switch (value % 6) {
            case 0: return pick(catalog_.map_nodes);
            case 1: return pick(catalog_.data);
            case 2: return pick(catalog_.object_nodes);
            case 3: return pick(catalog_.object_blocks);
            case 4: return (value >> 8) % (uint64_t{image_.region_count() + 1} * 64);
            default: return value >> 8 & 0xFFFFFFFFFF;
        }
    }
    uint64_t resolve(const Edit& edit, uint64_t now) const {
        switch (edit.mode % 8) {
            case 0: return edit.value;
            case 1: return kEdges[edit.value % kEdges.size()];
            case 2: return now + static_cast<uint64_t>(static_cast<int8_t>(edit.value));
            case 3: return object(edit.value);
            case 4: return image_.superblock().epoch + edit.value % 8 - 4;
            case 5: return address(edit.value);
            case 6: return now ^ uint64_t { 1 } << edit.value % 64;
            default: return kEdges[edit.value % kEdges.size()] + (edit.value >> 8) % 16 - 8;
        }
    }
    void put(const Edit& edit, std::byte* at, size_t bytes) const {
        uint64_t now = 0;
        std::memcpy(&now, at, bytes);
        now = resolve(edit, now);
        std::memcpy(at, &now, bytes);
    }
    template <size_t N>
    bool in_fixed(const Edit& edit, const std::vector<uint64_t>& at,
                  const std::array<Field, N>& fields, size_t base) {
        const Field field = fields[edit.field % N];
        image_.edit(at, [&](Block& block) {
            if (base + field.offset + field.bytes <= block.size()) {
                put(edit, block.data() + base + field.offset, field.bytes);
            }
        });
        return false;
    }

    // Marks a block used or free, or one of the rest; the count in the table goes with it.
    bool in_bitmap(const Edit& edit) {
        const uint64_t at = address(edit.value);
        const auto region = static_cast<uint32_t>(at / 64 % image_.region_count());
        int change = 0;
        image_.edit(image_.bitmap_places(region), [&](Block& block) {
            std::byte& byte = block[at % 64 / 8 + (edit.mode % 16 == 0 ? 64 : 0)];
            const std::byte bit{static_cast<uint8_t>(1U << at % 8)};
            change = (byte & bit) == std::byte{0} ? -1 : 1;
            byte ^= bit;
        });
        if (edit.more % 4 == 0) return false;
        image_.edit(image_.table_places(), [&](Block& block) {
            std::byte* free = block.data() + region * kRegionEntryBytes + 8;
            store_le(free, load_le<uint32_t>(free) + static_cast<uint32_t>(change));
        });
        return false;
    }

    // The n-th used entry, or any.
    static size_t entry_at(const Block& block, uint8_t index) {
        if (index >= 224) return (index - 224U) * 8U;
        std::vector<size_t> used;
        for (size_t i = 0; i < kFanout; ++i) {
            if (load_entry(block.data() + i * 16) != Entry{}) used.push_back(i);
        }
        return used.empty() ? index : used[index % used.size()];
    }
    bool in_node(const Edit& edit, const std::vector<BlockAddress>& list) {
        image_.edit(place_of(list, edit.where), [&](Block& block) {
            std::byte* at = block.data() + entry_at(block, edit.index) * 16;
            const Entry now = load_entry(at);
            Entry next = now;
            switch (edit.field % 6) {
                case 0: put(edit, at, 8); return;
                case 1: put(edit, at + 8, 8); return;
                case 2:
                    next = Entry::make(now.kind(), address(edit.value), now.birth(), now.crc(),
                                       now.flags());
                    break;
                case 3:
                    next = Entry::make(now.kind(), now.address(),
                                       resolve(edit, now.birth()) & 0xFFFFFFFFFFFF, now.crc(),
                                       now.flags());
                    break;
                case 4:
                    next = Entry::make(static_cast<EntryKind>(edit.value % 8), now.address(),
                                       now.birth(), now.crc(), edit.more);
                    break;
                default:
                    next = Entry::make(static_cast<EntryKind>(edit.more % 6), address(edit.value),
                                       image_.superblock().epoch - edit.mode % 16, 0);
                    break;
            }
            store_entry(at, next);
        });
        return true;
    }
    bool copy_entry(const Edit& edit) {
        const std::vector<uint64_t> from = place_of(catalog_.map_nodes, edit.more);
        if (from.empty()) return true;
        Block source;
        image_.read(from[0], source);
        image_.edit(place_of(catalog_.map_nodes, edit.where), [&](Block& block) {
            const Entry entry = load_entry(source.data() + entry_at(source, edit.field) * 16);
            store_entry(block.data() + entry_at(block, edit.index) * 16, entry);
        });
        return true;
    }
    bool copy_node(const Edit& edit) {
        const std::vector<uint64_t> from =
            place_of(edit.mode % 4 == 0 ? catalog_.object_nodes : catalog_.map_nodes, edit.more);
        if (from.empty()) return true;
        Block source;
        image_.read(from[0], source);
        image_.edit(place_of(catalog_.map_nodes, edit.where),
                    [&](Block& block) { block = source; });
        return true;
    }
    // Whole, or everything but the id.
    bool copy_object(const Edit& edit) {
        const std::vector<uint64_t> from = place_of(catalog_.object_blocks, edit.more);
        Block source;
        image_.read(from[0], source);
        image_.edit(place_of(catalog_.object_blocks, edit.where), [&](Block& block) {
            std::byte* to = block.data() + edit.index % 8 * kObjectBytes;
            const std::byte* object = source.data() + edit.field % 8 * kObjectBytes;
            const uint64_t id = edit.mode % 2 == 0 ? load_le<uint64_t>(object + 8)
                                                   : image_.superblock().next_object - 1;
            std::memmove(to, object, kObjectBytes);
            store_le(to + 8, id);
        });
        return false;
    }

    // ---- journal

    bool in_journal(const Edit& edit) {
        if (catalog_.journal.empty()) return false;
        const uint64_t number = catalog_.journal[edit.where % catalog_.journal.size()];
        image_.edit(image_.journal_places(number), [&](Block& block) {
            if (edit.more % 4 == 0) {
                const Field field = kJournalFields[edit.field % kJournalFields.size()];
                put(edit, block.data() + field.offset, field.bytes);
                return;
            }
            const size_t words = load_le<uint16_t>(block.data() + 54) / 8;
            if (words == 0 || words > 500) return;
            const size_t word = (edit.index + size_t{256} * edit.field) % words;
            put(edit, block.data() + 64 + word * 8, edit.more % 4 == 1 ? 4 : 8);
        });
        return false;
    }
    void append(const std::vector<std::byte>& record, const Edit& edit) {
        if (catalog_.journal.size() + 2 < image_.journal_blocks()) {
            image_.append_commit(record, 1, edit.mode % 4 != 0, catalog_);
        }
    }
    bool add_map_record(const Edit& edit) {
        MapRecord record;
        record.object = object(edit.where);
        const size_t count = edit.more % 8 == 0 ? edit.index + size_t{1} : 1 + edit.more % 3U;
        record.first = edit.index % 16 * 16 * (edit.index > 127 ? kFanout : 1);
        if (record.first % kFanout + count > kFanout) record.first -= record.first % kFanout;
        const BlockAddress first = address(edit.value);
        const Epoch birth = image_.superblock().epoch + edit.field % 16 - 4;
        Block content{};
        for (size_t i = 0; i < count; ++i) {
            const std::vector<uint64_t> at = image_.places(first + i);
            if (!at.empty()) image_.read(at[0], content);
            const uint32_t crc = image_.checksums().block(content, first + i, birth);
            record.now.push_back(edit.mode % 16 > 12
                                     ? Entry::hole(birth)
                                     : Entry::make(EntryKind::data, first + i, birth, crc));
            record.old.push_back(
                edit.field > 127
                    ? Entry::make(EntryKind::data, address(edit.value >> 16) + i, birth - 1, 0)
                    : Entry{});
            record.freed.push_back(edit.field > 127 && (edit.field & 64) != 0);
        }
        std::vector<std::byte> encoded;
        encode_record(record, encoded);
        append(encoded, edit);
        return false;
    }
    bool add_structure(const Edit& edit) {
        StructureRecord change;
        const std::vector<uint64_t> at = place_of(catalog_.object_blocks, edit.where);
        Block block{};
        image_.read(at[0], block);
        std::byte* slot = block.data() + edit.index % 8 * kObjectBytes;
        switch (edit.mode / 4 % 6) {
            case 0: {
                const Field field = kObjectFields[edit.field % kObjectFields.size()];
                put({0, 0, 0, 0, static_cast<uint8_t>(edit.more), edit.value, 0},
                    slot + field.offset, field.bytes);
                break;
            }
            case 1: change.copy(object(edit.field), object(edit.value)); break;
            case 2: change.remove(object(edit.field)); break;
            case 3: change.set_epoch(resolve(edit, 1) & 0x7FFFFFFFFFFF); break;
            case 4: {
                change.items.emplace_back();
                StructureItem& item = change.items.back();
                item.what = StructureItem::What::assign;
                item.region = static_cast<uint32_t>(edit.field < 64 ? edit.field : edit.value);
                item.entry.in_use = true;
                item.entry.region_class = RegionClass::data;
                item.entry.places = 1;
                item.entry.place[0] = {static_cast<uint16_t>(edit.more > 200 ? edit.more : 0),
                                       static_cast<uint32_t>(edit.value >> 16)};
                break;
            }
            default: store_le(slot + 8, image_.superblock().next_object + edit.field % 4); break;
        }
        if (change.items.empty()) {
            const Result<ObjectRecord> record = decode_object(slot);
            if (!record.ok() || record->kind == ObjectKind::free) return false;
            change.put(*record);
        }
        std::vector<std::byte> encoded;
        encode_record(change, encoded);
        append(encoded, edit);
        return false;
    }
    bool add_reclaim(const Edit& edit) {
        ReclaimRecord record;
        record.object = object(edit.where);
        record.cursor = resolve(edit, 0) & 0x1FFFFFFFF;
        record.unmapped = edit.index;
        for (size_t i = 0; i < edit.field % 4U; ++i) {
            record.freed.push_back({address(edit.value >> (i * 8)), uint64_t{1} + edit.more * i});
        }
        std::vector<std::byte> encoded;
        encode_record(record, encoded);
        append(encoded, edit);
        return false;
    }

    HostileImage& image_;
    Catalog& catalog_;
};

}  // namespace stoa::pool::hostile
