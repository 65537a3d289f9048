// Damage: blocks of a volume or snapshot whose content is lost, remembered across restarts.
#pragma once

#include "dataplane/pool/core.h"

namespace stoa::pool {

// Remembers that blocks [first, first + count) of `object` cannot be read. Merges with what is on
// the list; beyond kDamageRangesMax ranges a volume only an event tells it.
// Not durable by itself; the next commit carries it.
void note_damage(Core& core, Object& object, BlockIndex first, uint64_t count = 1);

struct DamagedBlocks {
    BlockIndex first = 0;
    uint64_t count = 0;
};

// What is lost with the map node that `block` needs and that cannot be read; within the volume.
[[nodiscard]] DamagedBlocks lost_with_node(Core& core, const Object& object, BlockIndex block);
void note_lost_node(Core& core, Object& object, BlockIndex block);

// What the list says of one volume or snapshot.
[[nodiscard]] std::vector<DamagedBlocks> damaged_blocks(Core& core, ObjectId tree);

// The blocks were overwritten, or read right again: takes them off the list.
io::Task<void> clear_damage(Core& core, const Object& object, BlockIndex first, uint64_t count);

// Reads blocks from an origin, zero beyond its end. Errors: those of the origin.
io::Task<Result<void>> read_origin(block::Volume& origin, BlockIndex first, MutableBytes into);

}  // namespace stoa::pool
