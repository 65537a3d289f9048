// Differences between two trees, found by walking both together and skipping what is identical:
// the cost is proportional to the change, and right for any ancestry.
#pragma once

#include "dataplane/pool/core.h"

namespace stoa::pool {

io::Task<Result<DiffPage>> diff_trees(Core& core, Uuid from, Uuid to, uint64_t offset_bytes,
                                      size_t ranges_max);

// Where one block lies (pool.h, Pool::explain).
io::Task<Result<BlockExplanation>> explain_block(Core& core, Uuid object, uint64_t offset_bytes);

}  // namespace stoa::pool
