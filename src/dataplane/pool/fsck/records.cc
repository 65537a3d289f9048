#include "dataplane/pool/fsck/records.h"

#include <fmt/format.h>

#include "base/crc32c.h"

namespace stoa::fsck {

namespace {

constexpr uint8_t kMap = 1;
constexpr uint8_t kStructure = 2;
constexpr uint8_t kReclaim = 3;
constexpr uint8_t kCommitEnd = 4;
constexpr uint8_t kOneOld = 1;
constexpr uint8_t kFreedBits = 2;
constexpr uint8_t kFreeOldData = 4;
constexpr uint8_t kOwnBirths = 8;
constexpr uint8_t kShared = 16;
constexpr uint8_t kBelow = 32;
constexpr size_t kRecordHeaderBytes = 8;
constexpr size_t kEndBytes = 40;

struct Header {
    uint8_t type = 0;
    uint8_t flags = 0;
    uint16_t count = 0;
    uint32_t length = 0;
};

size_t padded(size_t bytes) { return (bytes + 7) / 8 * 8; }

Entry make_entry(uint64_t address, uint64_t birth, uint32_t crc, uint8_t kind_byte) {
    return {address | birth << 40,
            (birth >> 24 & 0xFFFFFF) | uint64_t{crc} << 24 | uint64_t{kind_byte} << 56};
}

// The sizes of a map record's parts, from its header alone.
struct MapLayout {
    size_t crcs = 40;
    size_t births = 0;
    size_t old = 0;
    size_t bits = 0;
    size_t end = 0;

    MapLayout(const Header& header, bool is_data) {
        const size_t count = header.count;
        births = crcs + (is_data ? padded(4 * count) : 0);
        old = births + ((header.flags & kOwnBirths) != 0 ? 8 * count : 0);
        bits = old + ((header.flags & kOneOld) != 0 ? 16 : 16 * count);
        end = bits + ((header.flags & kFreedBits) != 0 ? padded((count + 7) / 8) : 0);
    }
};

Decoded<Record> decode_map(const Header& header, const std::byte* b) {
    MapRecord record;
    const size_t count = header.count;
    if (count == 0 || count > kEntriesPerNode) {
        return std::unexpected(fmt::format("a map record of {} blocks", count));
    }
    if (header.flags > 63) return std::unexpected(fmt::format("map flags 0x{:x}", header.flags));
    if (header.length < 40)
        return std::unexpected(fmt::format("a map record of {} bytes", header.length));
    record.object = load_le<uint64_t>(b + 8);
    record.first_block = load_le<uint64_t>(b + 16);
    record.shared = (header.flags & kShared) != 0;
    record.below = (header.flags & kBelow) != 0;
    const uint64_t place = load_le<uint64_t>(b + 24);
    const uint64_t birth = load_le<uint64_t>(b + 32);
    const auto kind_byte = static_cast<uint8_t>(place >> 56);
    const bool is_data = static_cast<Kind>(kind_byte & 15) == Kind::data;
    const MapLayout at(header, is_data);
    if (at.end != header.length) {
        return std::unexpected(
            fmt::format("a map record of {} bytes instead of {}", header.length, at.end));
    }
    if (record.first_block >= kTreeBlocks ||
        record.first_block % kEntriesPerNode + count > kEntriesPerNode) {
        return std::unexpected(
            fmt::format("a map record of {} blocks from {}", count, record.first_block));
    }
    const uint64_t address = place & ((uint64_t{1} << 40) - 1);
    if ((place >> 40 & 0xFFFF) != 0 || birth >> 48 != 0 ||
        (is_data && address + count > uint64_t{1} << 40)) {
        return std::unexpected("a map record whose address or birth is too large");
    }
    for (size_t i = 0; i < count; ++i) {
        uint64_t own = birth;
        if ((header.flags & kOwnBirths) != 0) own = load_le<uint64_t>(b + at.births + 8 * i);
        if (own >> 48 != 0) return std::unexpected("a map record whose birth is too large");
        const uint32_t crc = is_data ? load_le<uint32_t>(b + at.crcs + 4 * i) : 0;
        const Entry fresh = make_entry(is_data ? address + i : address, own, crc, kind_byte);
        const Entry old = load_entry(b + at.old + ((header.flags & kOneOld) != 0 ? 0 : 16 * i));
        if (const auto fault = entry_fault(fresh, 0)) {
            return std::unexpected(fmt::format("a map record whose entry {}", *fault));
        }
        if (const auto fault = entry_fault(old, 0)) {
            return std::unexpected(fmt::format("a map record whose old entry {}", *fault));
        }
        const bool was_data = old.kind() == Kind::data;
        if (was_data && (header.flags & kOneOld) != 0) {
            return std::unexpected("a map record with one old entry of kind DATA for all");
        }
        bool freed = was_data && (header.flags & kFreeOldData) != 0;
        if ((header.flags & kFreedBits) != 0) {
            freed = (std::to_integer<unsigned>(b[at.bits + i / 8]) >> (i % 8) & 1) != 0;
        }
        if (freed && !was_data) {
            return std::unexpected("a map record that frees an old entry that is not DATA");
        }
        record.fresh.push_back(fresh);
        record.old.push_back(old);
        record.freed.push_back(freed);
    }
    return record;
}

Decoded<Record> decode_structure(const Header& header, const std::byte* b) {
    StructureRecord record;
    size_t at = kRecordHeaderBytes;
    for (size_t i = 0; i < header.count; ++i) {
        if (header.length - at < 8) return std::unexpected("a structure record that ends early");
        StructureItem item;
        const auto what = std::to_integer<uint8_t>(b[at]);
        item.what = static_cast<StructureItem::What>(what);
        at += 8;
        size_t bytes = 8;
        if (item.what == StructureItem::What::put) bytes = kObjectBytes;
        else if (item.what == StructureItem::What::copy) bytes = 16;
        else if (item.what == StructureItem::What::assign) bytes = 72;
        if (what == 0 || what > 5) {
            return std::unexpected(fmt::format("a structure record with item {}", what));
        }
        if (header.length - at < bytes)
            return std::unexpected("a structure record that ends early");
        if (item.what == StructureItem::What::put) {
            auto object = decode_object(b + at);
            if (!object) return std::unexpected("an object that " + object.error());
            if (object->kind == kFreeSlot) return std::unexpected("a put of a free slot");
            item.object = *object;
        } else {
            item.number = load_le<uint64_t>(b + at);
            if (bytes == 16) item.to = load_le<uint64_t>(b + at + 8);
            if (bytes == 72) item.region = load_region_entry(b + at + 8);
        }
        at += bytes;
        record.items.push_back(std::move(item));
    }
    if (at != header.length) return std::unexpected("a structure record with bytes left over");
    return record;
}

Decoded<Record> decode_reclaim(const Header& header, const std::byte* b) {
    if (header.length != 32 + size_t{8} * header.count) {
        return std::unexpected(fmt::format("a reclaim record of {} bytes", header.length));
    }
    ReclaimRecord record{
        load_le<uint64_t>(b + 8), load_le<uint64_t>(b + 16), load_le<uint64_t>(b + 24), {}};
    for (size_t i = 0; i < header.count; ++i) {
        const uint64_t run = load_le<uint64_t>(b + 32 + 8 * i);
        record.freed.push_back({run & ((uint64_t{1} << 40) - 1), run >> 40});
    }
    return record;
}

Decoded<Record> decode_end(const Header& header, ConstBytes before, const std::byte* b) {
    if (header.length != kEndBytes) {
        return std::unexpected(fmt::format("a commit end of {} bytes", header.length));
    }
    if (load_le<uint32_t>(b + 24) != before.size() || load_le<uint32_t>(b + 28) != crc32c(before)) {
        return std::unexpected("a commit end that does not fit the records before it");
    }
    return EndRecord{load_le<uint64_t>(b + 8), load_le<uint64_t>(b + 16),
                     load_le<uint64_t>(b + 32)};
}

}  // namespace

Decoded<std::vector<Record>> decode_records(ConstBytes payload) {
    std::vector<Record> records;
    size_t at = 0;
    while (at < payload.size()) {
        const std::byte* b = payload.data() + at;
        const size_t left = payload.size() - at;
        if (left < kRecordHeaderBytes) return std::unexpected("a record that ends early");
        const Header header{load_le<uint8_t>(b), load_le<uint8_t>(b + 1), load_le<uint16_t>(b + 2),
                            load_le<uint32_t>(b + 4)};
        if (header.length < kRecordHeaderBytes || header.length % 8 != 0 || header.length > left) {
            return std::unexpected(
                fmt::format("a record of {} bytes, {} are left", header.length, left));
        }
        Decoded<Record> record = std::unexpected(fmt::format("a record of type {}", header.type));
        if (header.type == kMap) record = decode_map(header, b);
        if (header.type == kStructure) record = decode_structure(header, b);
        if (header.type == kReclaim) record = decode_reclaim(header, b);
        if (header.type == kCommitEnd) record = decode_end(header, payload.first(at), b);
        if (!record) return std::unexpected(record.error());
        records.push_back(std::move(*record));
        at += header.length;
        if (header.type != kCommitEnd) continue;
        if (at != payload.size()) return std::unexpected("records after the commit end");
        return records;
    }
    return std::unexpected("no commit end");
}

}  // namespace stoa::fsck
