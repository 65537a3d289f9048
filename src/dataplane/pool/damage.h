// Damage: blocks of a volume or snapshot whose content is lost, remembered across restarts.
#pragma once

#include "dataplane/pool/core.h"

namespace stoa::pool {

// Remembers that `count` blocks of `object` from `block` on cannot be read. Merges with the range
// before. Not durable by itself; the next commit carries it.
void note_damage(Core& core, Object& object, BlockIndex block, uint64_t count = 1);

// The blocks were overwritten: takes them off the list.
io::Task<void> clear_damage(Core& core, const Object& object, BlockIndex first, uint64_t count);

// Reads blocks from an origin, zero beyond its end. Errors: those of the origin.
io::Task<Result<void>> read_origin(block::Volume& origin, BlockIndex first, MutableBytes into);

}  // namespace stoa::pool
