// Reclaiming deleted trees: a deleted tree with at most one child gives up what neither its parent
// nor its child holds, in steps that are journaled, resumable and bounded.
//
// The step and the cursor are one record, so what a writer concludes from the cursor
// (tree.h, Lineage) and what was freed never contradict each other after a crash.
#pragma once

#include "dataplane/pool/core.h"

namespace stoa::pool {

// One synchronous stretch over `tree` from `cursor` on: what only it holds is added to `freed`.
// Ends at `missing` (to be loaded), after enough work, or at the end of the tree.
struct ExclusiveWalk {
    BlockIndex cursor = 0;
    std::vector<Run> freed;     // data and node blocks
    uint64_t data_blocks = 0;   // of them
    Missing missing;
    Entry lost;  // a node that cannot be read: what it holds is passed over, and leaks
};
void walk_exclusive(Core& core, const Object& tree, const std::vector<const Object*>& neighbours,
                    ExclusiveWalk& walk);

// The background task: finishes shrinks, marks snapshots of deleted volumes, reclaims.
io::Task<void> run_reclaimer(Core& core);

// True while the reclaimer has, or will have, something to do.
[[nodiscard]] bool reclaim_pending(const Core& core);

// Data bytes that deleting `tree` would free now.
io::Task<Result<uint64_t>> count_exclusive_bytes(Core& core, Uuid tree);

}  // namespace stoa::pool
