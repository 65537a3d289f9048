// Taking a device over for a pool: is it free, can it be written, and that nothing of what was on
// it is found again.
//
// Behaviour: create_test.cc.
#pragma once

#include "base/result.h"
#include "dataplane/io/device.h"
#include "dataplane/io/foreign_data.h"
#include "dataplane/io/task.h"
#include "dataplane/pool/format.h"

namespace stoa::pool {

// `foreign` knows the data of others; nullptr: only some signatures at the start are known.
// Errors: already_exists, naming what lies on the device; io.
io::Task<Result<void>> check_device_is_free(io::Device& device, io::ForeignData* foreign);

// Writes the blocks that a new pool of this layout writes first, with what is in them already.
// Errors: io, no_space, read_only.
io::Task<Result<void>> check_writable(io::Device& device, const DeviceLayout& layout);

// Wipes what `foreign` knows and the labels and superblocks of an older pool. Errors: io.
io::Task<Result<void>> clear_device(io::Device& device, io::ForeignData* foreign);

}  // namespace stoa::pool
