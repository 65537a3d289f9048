// Growing a pool: devices that became larger, devices that are added.
#pragma once

#include "dataplane/io/foreign_data.h"
#include "dataplane/pool/core.h"

namespace stoa::pool {

io::Task<Result<void>> grow_device(Core& core, size_t index);
io::Task<Result<void>> add_device(Core& core, io::Device& device, bool force,
                                  io::ForeignData* foreign);

}  // namespace stoa::pool
