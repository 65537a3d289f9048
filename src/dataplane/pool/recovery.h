// Recovery: from the newest superblock and the journal after it to the state at the cut.
//
// Pass 1 scans the ring, finds the cut and applies allocations without reading any tree. The new
// incarnation and the cut are made durable before anything else is written. Pass 2 applies the map
// changes, sorted, and the acknowledged-write ring of a process that died; a checkpoint ends it.
#pragma once

#include "dataplane/pool/core.h"

namespace stoa::pool {

// Brings a core whose tables and objects are loaded to the state at the cut. With
// core.options.read_only nothing is written. Errors: corrupt, io, no_space.
io::Task<Result<void>> recover(Core& core);

}  // namespace stoa::pool
