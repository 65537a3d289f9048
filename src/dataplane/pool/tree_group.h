// Changing what several trees hold in common, and go on holding in common: the blocks that a
// hydration fills in snapshots and in what was made of them.
//
// The trees of one change: a tree (the top) and those below it that hold the same leaf (or have
// nothing in the same place of the path). All of them get the same copy of it. So each node is
// held by the same trees as the one it replaces, those above the top left out, and its birth is
// chosen so that every holder but the topmost sees it as its parent's (docs/format/pool.md,
// "Sharing rule").
#pragma once

#include <span>

#include "dataplane/pool/core.h"

namespace stoa::pool {

// Blocks [first, first + now.size()), of one leaf and all ABSENT in `top`, become `now` in `top`
// and the trees below it that hold the same leaf; where `now` is ABSENT nothing changes. The record
// is the caller's to append in the same breath. False: `missing` must be loaded first, nothing has
// changed.
bool fill_below(Core& core, Object& top, BlockIndex first, std::span<const Entry> now,
                Missing& missing);

}  // namespace stoa::pool
