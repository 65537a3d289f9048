// Replaying records: what they did to the allocator (without any tree), and to the trees.
#pragma once

#include <cstdint>
#include <vector>

#include "dataplane/pool/core.h"

namespace stoa::pool {

// Collects allocations and frees in the order of the journal.
class SpaceReplay {
public:
    // Region assignments are applied at once, the rest by apply(). Errors: corrupt.
    Result<void> collect(Core& core, ConstBytes payload);
    // Only the assignments, of a commit that may still be dropped.
    Result<void> collect_assignments(Core& core, ConstBytes payload);
    // The commit was dropped: its regions are unused again.
    void undo_assignments();
    io::Task<Result<void>> apply(Core& core);

private:
    std::vector<Run> allocated_;
    std::vector<Run> freed_;
    std::vector<uint32_t> tentative_;
    Core* core_ = nullptr;
};

// Applies records to objects and trees. Map changes are gathered and applied sorted by volume and
// block, before any record that copies or removes a tree.
class TreeReplay {
public:
    explicit TreeReplay(Core& core) : core_(core) {}
    io::Task<Result<void>> apply(ConstBytes payload);
    io::Task<Result<void>> finish();

private:
    struct Change {
        ObjectId object;
        BlockIndex block;
        uint64_t order;
        Entry now;
    };
    io::Task<Result<void>> drain();
    // Brings `missing` into memory, or works around it when it is lost. False: the changes of
    // `block`'s leaf cannot be applied.
    io::Task<Result<bool>> load(Object& object, const Missing& missing, BlockIndex block);
    io::Task<Result<void>> apply_reclaim(const ReclaimRecord& record);

    Core& core_;
    std::vector<Change> pending_;
    uint64_t order_ = 0;
};

}  // namespace stoa::pool
