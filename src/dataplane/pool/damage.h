// Damage: blocks of a volume or snapshot whose content is lost, remembered across restarts.
#pragma once

#include "dataplane/pool/core.h"

namespace stoa::pool {

// Remembers that `block` of `object` cannot be read. Merges with a neighbouring range.
// Not durable by itself; the next commit carries it.
void note_damage(Core& core, Object& object, BlockIndex block);

struct DamagedBlocks {
    BlockIndex first = 0;
    uint64_t count = 0;
};

// What the list says of one volume or snapshot.
[[nodiscard]] std::vector<DamagedBlocks> damaged_blocks(Core& core, ObjectId tree);

// The blocks were overwritten, or read right again: takes them off the list.
io::Task<void> clear_damage(Core& core, const Object& object, BlockIndex first, uint64_t count);

// Reads blocks from an origin, zero beyond its end. Errors: those of the origin.
io::Task<Result<void>> read_origin(block::Volume& origin, BlockIndex first, MutableBytes into);

}  // namespace stoa::pool
