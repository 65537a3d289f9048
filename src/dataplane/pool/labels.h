// Reading the labels of devices: from either copy, wherever the second one lies.
//
// Where it lies: docs/format/pool.md, "Label". Behaviour: create_test.cc.
#pragma once

#include <vector>

#include "base/result.h"
#include "dataplane/io/device.h"
#include "dataplane/io/task.h"
#include "dataplane/pool/format.h"

namespace stoa::pool {

// The label of one device. The second copy is where the geometry of `other` puts it, if one is
// given, else it is searched for in the first GiB.
// Errors: not_found (none; or too small for one), corrupt, unsupported, io.
io::Task<Result<Label>> read_label(io::Device& device, const Label* other = nullptr);

// The labels of all, in their order; a device whose first copy is lost is read with the geometry of
// one that has it. Errors: as above; invalid_argument (a device ends before its regions begin).
io::Task<Result<std::vector<Label>>> read_labels(const std::vector<io::Device*>& devices);

// `needed_blocks` are more than it has. `than` says whose measure this is.
Error too_short(const io::Device& device, uint64_t needed_blocks, const char* than);

}  // namespace stoa::pool
