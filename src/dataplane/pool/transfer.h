// Long copies into a volume's own blocks: hydration from an origin, flattening of a clone.
#pragma once

#include "dataplane/pool/core.h"

namespace stoa::pool {

// Fetches every block that is absent in the volume or in a relative with the same origin (its
// snapshots, clones of them, what they were made from); then none of them needs the origin. Goes on
// by itself after a crash. Errors: not_found, io (the origin), no_space, busy (a relative is being
// hydrated or flattened, or its reclaim cannot go on), cancelled.
io::Task<Result<void>> hydrate_volume(Core& core, Uuid volume, HydrateOptions options);

// Copies every block the clone shares with its parent, then lets go of the parent.
io::Task<Result<void>> flatten_volume(Core& core, Uuid volume, Progress progress);

// Is a hydration of a relative (or of the object itself) under way?
[[nodiscard]] bool is_family_hydrating(const Core& core, const Object& object);

// Waits while a relative of the volume is being reclaimed: such a tree has given up part of its
// nodes. Errors: busy (the reclaim does not go on), and those of still_here().
io::Task<Result<void>> wait_for_reclaim(Core& core, Uuid volume);
[[nodiscard]] bool is_family_shrinking(const Core& core, const Uuid& volume);

// Of long copies: the volume still exists and the pool is not closing.
Result<void> still_here(Core& core, const Uuid& volume);

// Tells how far a long copy is, in blocks. Errors: cancelled (as whoever listens wants it).
Result<void> tell(const Progress& progress, BlockIndex done, BlockIndex total);

// Keeps a volume from being deleted or rolled back, a deleted snapshot from being reclaimed, while
// it is worked on.
class Hold {
public:
    Hold(Core& core, Object& object) : core_(core), object_(object) {
        ++object_.holds;
        ++core_.holds;
    }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;
    ~Hold() {
        --object_.holds;
        --core_.holds;
        core_.work.notify_all();
        core_.reclaim_signal.notify_all();
    }

private:
    Core& core_;
    Object& object_;
};

}  // namespace stoa::pool
