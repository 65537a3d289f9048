// Changing a map: the one place where entries of a volume change, are recorded, and old blocks
// are given up. Writers, discards, hydration, flattening and trimming all come through here.
#pragma once

#include <array>
#include <cstdint>

#include "dataplane/pool/core.h"

namespace stoa::pool {

// New content of up to 256 blocks of one leaf.
struct MapChange {
    BlockIndex first = 0;
    size_t count = 0;
    // Address of block i, in flight (allocated, written, in no map); 0: it becomes a hole.
    std::array<BlockAddress, kFanout> address{};
    const std::byte* content = nullptr;  // count blocks, for the checksums of those with an address
    // If set: block i changes only where its entry still is expected[i].
    const Entry* expected = nullptr;
    // If set: the birth of block i, with `flags`; else the epoch in which the change is applied.
    const Epoch* births = nullptr;
    uint8_t flags = 0;
    bool even_when_closing = false;
    const bool* give_up = nullptr;  // while the host of a device is full
};

struct MapChangeResult {
    size_t skipped = 0;  // blocks that were not as expected; their addresses were given back
};

// Applies and records the change; when it resolves it is acknowledged (survives the process), not
// durable. On an error nothing has changed and all addresses were given back.
// Errors: read_only, cancelled, corrupt, io (a node cannot be read).
io::Task<Result<MapChangeResult>> change_map(Core& core, Object& object, const MapChange& change);

// Whole blocks [first, first + count) become holes, leaf by leaf; what is empty costs nothing.
// What was damaged in them is so no longer.
io::Task<Result<void>> punch_holes(Core& core, Object& object, BlockIndex first, uint64_t count,
                                   bool even_when_closing, const bool* give_up = nullptr);

// The map's answer for `block`, nodes loaded as needed. Errors: corrupt, io; not_found (`object`
// is gone: not to be touched any more). The leaf in it is valid until the next
// suspension.
io::Task<Result<Found>> look_up(Core& core, const Object& object, BlockIndex block);

// True if blocks the object has not written come from an origin.
[[nodiscard]] inline bool asks_origin(const ObjectRecord& record) {
    return record.has(ObjectRecord::kHasOrigin) && !record.has(ObjectRecord::kHydrated);
}

}  // namespace stoa::pool
