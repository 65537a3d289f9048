// Making devices part of a pool: geometry and labels.
#pragma once

#include "dataplane/pool/core.h"

namespace stoa::pool {

// Geometry for a pool of that size (identity fields are empty).
Label make_geometry(uint64_t total_blocks, const CreateOptions& options);

// How many regions fit the device behind its system area.
uint32_t physical_regions(const io::Device& device, const Label& label);

// Both copies, flushed.
io::Task<Result<void>> write_labels(io::Device& device, const Label& label);

io::Task<Result<void>> create_pool(io::Executor& executor, std::vector<io::Device*> devices,
                                   CreateOptions options);

}  // namespace stoa::pool
