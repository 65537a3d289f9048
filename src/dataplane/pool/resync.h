// A device that was away becomes a member again.
//
// It is never a source of the pool's state: its superblocks are erased, its label, tables and
// journal are written anew from the copies elsewhere, the bitmaps of its regions brought up to
// date; then a checkpoint lists it as present. Its data and nodes stand: nothing live is
// overwritten in place, and their checksums are verified when they are read. A crash at any point
// leaves it missing, and the next open begins again. Why: docs/decisions/004-missing-devices.md.
// Behaviour: missing_device_test.cc.
#pragma once

#include "dataplane/pool/core.h"

namespace stoa::pool {

// For every stale device; after recovery, before background work and users. Errors: io, no_space.
io::Task<Result<void>> resynchronize(Core& core);

}  // namespace stoa::pool
