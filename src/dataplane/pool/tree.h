// The map of one volume: looking blocks up, and changing them by copy on write.
//
// Every function here is synchronous. What is not in memory is named in the result; the caller
// loads it and tries again from the root, so no view of a node is held while others run.
#pragma once

#include <cstdint>
#include <functional>

#include "dataplane/pool/format.h"
#include "dataplane/pool/node_cache.h"
#include "dataplane/pool/objects.h"

namespace stoa::pool {

// A node that is needed and not in memory.
struct Missing {
    Entry entry;
    int level = -1;
    [[nodiscard]] bool any() const { return level >= 0; }
};

struct Found {
    Missing missing;
    Node* leaf = nullptr;  // or, when null:
    Entry subtree;         // ABSENT or HOLE for everything under an entry of `level`
    int level = 0;

    // The entry of `block`; needs !missing.any().
    [[nodiscard]] Entry entry(BlockIndex block) const {
        return leaf != nullptr ? leaf->entries[entry_index(block, 0)] : subtree;
    }
    // First block after what this result describes.
    [[nodiscard]] BlockIndex end(BlockIndex block) const {
        const uint64_t span = leaf != nullptr ? kFanout : entry_blocks(level);
        return (block / span + 1) * span;
    }
};

[[nodiscard]] Found find_leaf(NodeCache& cache, Entry root, BlockIndex block);

// Who else may hold what an object's tree holds (docs/format/pool.md, "Sharing rule").
class Lineage {
public:
    Lineage(const Objects& objects, const ObjectId& reclaiming)
        : objects_(objects), reclaiming_(reclaiming) {}

    // Births above this belong to `object` alone, for what ends at block `range_end`.
    [[nodiscard]] Epoch inherited_epoch(const Object& object, BlockIndex range_end) const;
    // The tree that may share blocks ending at `range_end`; nullptr: none.
    [[nodiscard]] const Object* inherited_from(const Object& object, BlockIndex range_end) const;

private:
    const Objects& objects_;
    const ObjectId& reclaiming_;  // the tree whose reclaim runs, 0: none
};

class TreeWriter {
public:
    TreeWriter(NodeCache& cache, Regions& regions, const Lineage& lineage)
        : cache_(cache), regions_(regions), lineage_(lineage) {}

    // Nodes born at or before this belong to a checkpoint that runs: they are not changed.
    void set_frozen_epoch(Epoch epoch) { frozen_epoch_ = epoch; }
    [[nodiscard]] Epoch frozen_epoch() const { return frozen_epoch_; }
    // Nodes given up belong to the checkpoint that runs, not to the current interval.
    void set_space(FrozenSpace* space) { space_ = space; }

    // The leaf of `block` in the tree of `object`, its path copied and dirty, stamped `birth`.
    // nullptr: `missing` must be loaded first.
    Node* writable_leaf(Object& object, BlockIndex block, Epoch birth, Missing& missing);

    // The leaf of `block` cannot be read: a new one takes its place in which every block is
    // damaged. False: the path to it is not in memory.
    bool replace_lost_leaf(Object& object, BlockIndex block, Epoch birth);

    // After holes were set: replaces nodes on the path of `block` that hold one uniform hole (or
    // nothing) by an entry in their parent. The path is in memory and writable.
    void collapse(Object& object, BlockIndex block);

private:
    [[nodiscard]] bool changeable(const Node& node, const Object& object,
                                  BlockIndex range_end) const;
    Node* copy_path(Object& object, BlockIndex block, Epoch birth);
    Node& copy(Entry& slot, Node& old, const Object& object, BlockIndex range_end, Epoch birth);
    Node& expand(Entry& slot, int level, Epoch birth);
    void drop_node(Node& node, const Object& object, BlockIndex range_end);

    NodeCache& cache_;
    Regions& regions_;
    const Lineage& lineage_;
    Epoch frozen_epoch_ = 0;
    FrozenSpace* space_ = nullptr;
};

}  // namespace stoa::pool
