// Checkpoints: the maps, bitmaps and tables of one instant become durable under a new superblock,
// and the journal before that instant is no longer needed.
//
// Order: commit and freeze at its boundary -> nodes, object blocks -> bitmaps -> tables -> flush
// -> superblock -> flush -> the journal's tail advances, the quarantine ends. Foreground writes go
// on; they copy what is frozen. A crash anywhere leaves the old superblock with its journal.
#pragma once

#include "dataplane/pool/core.h"

namespace stoa::pool {

// Errors: io, corrupt, no_space; the caller makes the pool read-only then.
io::Task<Result<void>> write_checkpoint(Core& core);

// The background task that writes checkpoints when they are wanted, and after a while of idleness.
io::Task<void> run_checkpointer(Core& core);

// Writes `next` (its generation is counted up here) to all slots, with flushes before and after.
// Refuses if somebody else's superblock is found there.
io::Task<Result<void>> write_superblock(Core& core, Superblock next);

}  // namespace stoa::pool
