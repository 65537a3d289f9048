// Writing dirty map nodes: those of a frozen tree in a checkpoint, children before parents, and
// early ones while a recovery has more of them than the cache may hold.
#pragma once

#include "dataplane/pool/core.h"

namespace stoa::pool {

class NodeFlusher {
public:
    // Blocks taken belong to `space`, the checkpoint that runs, or to the current interval
    // (nullptr).
    NodeFlusher(Core& core, FrozenSpace* space);

    // When it resolves, `root` names an address (unless it names no node).
    // Errors: io, no_space, corrupt (a bitmap).
    io::Task<Result<void>> flush(Entry& root, RegionClass leaf_class = RegionClass::leaf);

    // Of a level 2 node that begins at block `first`: writes the subtrees that end before block
    // `before`, and of others the leaves. Only what nobody else refers to.
    io::Task<Result<void>> flush_children(Node& node, BlockIndex first, BlockIndex before);

private:
    io::Task<void> flush_node(Node& node, Result<void>& outcome);
    io::Task<void> flush_subtree(Node& node, Result<void>& outcome);
    io::Task<Result<void>> flush_leaves(Node& node);
    io::Task<void> write_leaf(Node& node, Result<void>& outcome);
    io::Task<Result<void>> write_node(Node& node);
    void resolve_children(Node& node);

    Core& core_;
    FrozenSpace* space_;
    RegionClass leaf_class_ = RegionClass::leaf;
    io::Semaphore writes_;
    io::Semaphore subtrees_;
};

// Writes dirty nodes of `object` early, so that they can leave memory: leaves, and whole subtrees
// that end before block `before`. Their addresses are known to the parents in memory only. For
// recovery, before anybody else runs.
io::Task<Result<void>> spill(Core& core, Object& object, BlockIndex before);

}  // namespace stoa::pool
