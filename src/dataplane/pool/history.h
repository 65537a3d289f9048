// Which superblocks found on the devices count, and which devices were away while the pool was
// used without them.
//
// Rules: docs/format/pool.md, "Branches"; why: docs/decisions/004-missing-devices.md.
// Behaviour: missing_device_test.cc.
#pragma once

#include <vector>

#include "base/result.h"
#include "dataplane/io/executor.h"
#include "dataplane/pool/devices.h"
#include "dataplane/pool/format.h"

namespace stoa::pool {

struct Candidate {
    Superblock superblock;
    size_t device = 0;  // it was found on
};

// Sorts `found`, the newest first, takes out what stands on devices that were away, and marks these
// as stale. `devices` are ordered by index.
// Errors: invalid_argument (a device that was written by a history which the others do not know,
// or that is older than a crash can make it: named).
Result<void> settle_history(std::vector<Candidate>& found, std::vector<PoolDevice>& devices);

// Errors: invalid_argument (no device that holds a copy of the journal can be read).
Result<void> check_journal_is_here(const Superblock& superblock,
                                   const std::vector<PoolDevice>& devices);

// `next` lists every device that is not a member as missing; if one of them was present, a new
// branch begins.
void note_missing_devices(const std::vector<PoolDevice>& devices, io::Executor& executor,
                          Superblock& next);

}  // namespace stoa::pool
