// Scrub: reads and verifies every block once, repairs what has another copy, lists what has not.
#pragma once

#include "dataplane/pool/core.h"

namespace stoa::pool {

io::Task<Result<ScrubReport>> scrub_pool(Core& core, ScrubOptions options);

}  // namespace stoa::pool
