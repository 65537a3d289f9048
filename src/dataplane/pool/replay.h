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
// block, so that each leaf is read and written once; before any record that copies or removes a
// tree all of them are applied (a barrier).
//
// Memory: a quarter of the cache for gathered changes. When they do not fit, those farthest to the
// right are left to a later pass over the same records: drain(), and while deferred(), gather()
// them again.
class TreeReplay {
public:
    explicit TreeReplay(Core& core);

    // Must everything gathered be applied before `record`?
    [[nodiscard]] static bool is_barrier(const Record& record);
    void gather(const MapRecord& record);
    // Applies what was gathered.
    io::Task<Result<void>> drain();
    // True: changes were left out; give them all again, from the last barrier on.
    [[nodiscard]] bool deferred() const { return deferred_; }
    void begin_pass();
    // Everything between two barriers is applied.
    void end_passes();
    io::Task<Result<void>> apply_barrier(const Record& record);

    // All of it, for records that are in memory anyway.
    io::Task<Result<void>> apply(ConstBytes payload);

private:
    struct Place {
        ObjectId object = 0;
        BlockIndex block = 0;
        auto operator<=>(const Place&) const = default;
    };
    struct Change {
        Place place;
        uint64_t order;
        Entry now;
    };
    void sort_and_merge();
    io::Task<Result<void>> apply_below(const MapRecord& record);
    void make_room();
    io::Task<Result<void>> drain_batch(Object& object, size_t& at);
    io::Task<void> prefetch(Object& object, BlockIndex block);
    io::Task<Result<void>> apply_leaf(Object& object, size_t& at);
    [[nodiscard]] size_t leaf_end(size_t at) const;
    // Brings `missing` into memory, or works around it when it is lost. False: the changes of
    // `block`'s leaf cannot be applied.
    io::Task<Result<bool>> load(Object& object, const Missing& missing, BlockIndex block);

    Core& core_;
    size_t changes_max_;
    size_t leaves_at_once_;
    std::vector<Change> pending_;
    uint64_t order_ = 0;
    Place from_;   // of this pass
    Place limit_;  // what lies there or beyond is left to the next one, if deferred_
    bool deferred_ = false;
};

// Pass 2 of a recovery: the map changes of the commits after superblock `from`, up to the commit
// `last_commit`.
io::Task<Result<void>> replay_trees(Core& core, const Superblock& from,
                                    std::array<JournalPlace, 2> places, uint64_t last_commit);

}  // namespace stoa::pool
