// Journal records: what changed, encoded for the journal and the acknowledged-write ring.
//
// Format: docs/format/pool.md, "Records". Decoding survives any bytes.
#pragma once

#include <cstdint>
#include <span>
#include <variant>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "dataplane/pool/format.h"
#include "dataplane/pool/regions.h"

namespace stoa::pool {

inline constexpr uint8_t kRecordMap = 1;
inline constexpr uint8_t kRecordStructure = 2;
inline constexpr uint8_t kRecordReclaim = 3;
inline constexpr uint8_t kRecordCommitEnd = 4;
inline constexpr size_t kCommitEndBytes = 40;
// A map record of 256 scattered blocks is the largest one that writers produce.
inline constexpr size_t kMapRecordBytesMax = 40 + 256 * (4 + 8 + 16) + 32;

struct MapRecord {
    static constexpr uint8_t kUniformOld = 1;
    static constexpr uint8_t kSomeFreed = 2;
    static constexpr uint8_t kAllFreed = 4;
    static constexpr uint8_t kOwnBirths = 8;
    static constexpr uint8_t kShared = 16;
    static constexpr uint8_t kBelow = 32;

    ObjectId object = 0;
    BlockIndex first = 0;
    // What block first + i becomes, and was. 1 .. 256 of each, within one leaf; `now` of one kind
    // and flags, DATA at consecutive addresses.
    std::vector<Entry> now;
    std::vector<Entry> old;
    std::vector<bool> freed;  // old block i is freed
    bool shared = false;  // the parent holds the same entries: nothing is allocated
    bool below = false;  // also in all trees below that hold the same leaf

    bool operator==(const MapRecord&) const = default;
};

struct StructureItem {
    enum class What : uint8_t { put = 1, copy = 2, remove = 3, epoch = 4, assign = 5 };
    What what = What::put;
    ObjectRecord object;  // put
    ObjectId from = 0;  // copy
    ObjectId to = 0;  // copy, remove
    Epoch epoch = 0;  // epoch
    uint32_t region = 0;  // assign
    RegionEntry entry;  // assign
};

struct StructureRecord {
    std::vector<StructureItem> items;

    void put(const ObjectRecord& object) {
        items.emplace_back();
        items.back().object = object;
    }
    void copy(ObjectId from, ObjectId to) {
        items.emplace_back();
        items.back().what = StructureItem::What::copy;
        items.back().from = from;
        items.back().to = to;
    }
    void remove(ObjectId id) {
        items.emplace_back();
        items.back().what = StructureItem::What::remove;
        items.back().to = id;
    }
    void set_epoch(Epoch epoch) {
        items.emplace_back();
        items.back().what = StructureItem::What::epoch;
        items.back().epoch = epoch;
    }
};

struct ReclaimRecord {
    ObjectId object = 0;
    BlockIndex cursor = 0;
    uint64_t unmapped = 0;
    std::vector<Run> freed;
};

struct CommitEnd {
    uint64_t first_sequence = 0;
    uint64_t last_sequence = 0;
    uint32_t payload_bytes = 0;
    uint32_t payload_crc = 0;
    uint64_t wall_ns = 0;
};

using Record = std::variant<MapRecord, StructureRecord, ReclaimRecord, CommitEnd>;

// Appends the encoded record to `out`.
void encode_record(const MapRecord& record, std::vector<std::byte>& out);
void encode_record(const StructureRecord& record, std::vector<std::byte>& out);
void encode_record(const ReclaimRecord& record, std::vector<std::byte>& out);
void encode_record(const CommitEnd& record, std::vector<std::byte>& out);

// The hot path: one block overwritten, without any vector. Returns the bytes used in `to`
// (at least 96 bytes).
size_t encode_single_block(ObjectId object, BlockIndex block, const Entry& now, const Entry& old,
                           bool freed, std::byte* to);

// Decodes the record at the start of `bytes`; `used` becomes its length. Errors: corrupt.
Result<Record> decode_record(ConstBytes bytes, size_t& used);

}  // namespace stoa::pool
