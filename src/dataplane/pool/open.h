// Opening: which devices belong together, which superblock counts, what is loaded.
#pragma once

#include "dataplane/pool/core.h"

namespace stoa::pool {

// A core that is recovered and has no background tasks yet (pool.h, Pool::open, for the errors).
io::Task<Result<std::unique_ptr<Core>>> open_core(io::Executor& executor,
                                                  std::vector<io::Device*> devices,
                                                  OpenOptions options);

}  // namespace stoa::pool
