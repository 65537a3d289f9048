// Opening: which devices belong together, which superblock counts, what is loaded.
#pragma once

#include "dataplane/pool/core.h"

namespace stoa::pool {

// A core that is recovered and has no background tasks yet (pool.h, Pool::open, for the errors).
io::Task<Result<std::unique_ptr<Core>>> open_core(io::Executor& executor,
                                                  std::vector<io::Device*> devices,
                                                  OpenOptions options);

// The label of a device, from either copy; the second one is searched for in the first GiB.
// Errors: not_found (too small), corrupt, unsupported, io.
io::Task<Result<Label>> read_label(io::Device& device);

}  // namespace stoa::pool
