// Long copies into a volume's own blocks: hydration from an origin, flattening of a clone.
#pragma once

#include "dataplane/pool/core.h"

namespace stoa::pool {

// Fetches every absent block from the origin; then the volume needs it no more. Goes on after a
// crash when called again. Errors: not_found, io (the origin), cancelled.
io::Task<Result<void>> hydrate_volume(Core& core, Uuid volume);

// Copies every block the clone shares with its parent, then lets go of the parent.
io::Task<Result<void>> flatten_volume(Core& core, Uuid volume);

}  // namespace stoa::pool
