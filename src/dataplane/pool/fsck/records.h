// The records inside a commit, decoded; nothing is assumed about their content.
#pragma once

#include <cstdint>
#include <variant>
#include <vector>

#include "dataplane/pool/fsck/layout.h"

namespace stoa::fsck {

struct MapRecord {
    uint64_t object = 0;
    uint64_t first_block = 0;
    std::vector<Entry> fresh;   // new entries, one per block
    std::vector<Entry> old;     // what they replace, one per block
    std::vector<bool> freed;    // whether the old block is freed
    bool shared = false;        // the blocks are allocated already: the parent holds them
    bool below = false;         // the object may be a snapshot; trees below it change, too
};

struct StructureItem {
    enum class What : uint8_t { put = 1, copy = 2, remove = 3, epoch = 4, assign = 5 };
    What what = What::put;
    Object object;         // put
    uint64_t number = 0;   // copy: from; remove: id; epoch; assign: region
    uint64_t to = 0;       // copy
    RegionEntry region;    // assign
};
struct StructureRecord {
    std::vector<StructureItem> items;
};

struct ReclaimRecord {
    uint64_t object = 0;
    uint64_t cursor = 0;
    uint64_t unmapped = 0;
    struct Run {
        uint64_t address = 0;
        uint64_t blocks = 0;
    };
    std::vector<Run> freed;
};

struct EndRecord {
    uint64_t first_sequence = 0;
    uint64_t last_sequence = 0;
    uint64_t wall_ns = 0;
};

using Record = std::variant<MapRecord, StructureRecord, ReclaimRecord, EndRecord>;

// The records of a commit's joined payload, the commit end last; or why they are not well-formed.
[[nodiscard]] Decoded<std::vector<Record>> decode_records(ConstBytes payload);

}  // namespace stoa::fsck
