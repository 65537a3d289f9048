// The part of a scrub that looks at what no map names: labels, superblocks, region tables and
// bitmaps. Bad copies are written again from good ones.
#pragma once

#include "dataplane/pool/core.h"

namespace stoa::pool {

// Adds the repaired copies to `report`. What is bad in every copy is left to fsck to tell.
// Errors: cancelled (closing).
io::Task<Result<void>> scrub_system_area(Core& core, ScrubReport& report);

// One copy after the other, so that one of them can always be read; the result counts those that
// were written. Errors: io.
io::Task<Result<uint64_t>> mend_labels(Core& core, size_t device);

}  // namespace stoa::pool
