// What other programs would find on a device: file systems, partition tables, members of RAID and
// LVM. For those who take a device over; real ones: blkid/signatures.h.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/io/device.h"
#include "dataplane/io/task.h"

namespace stoa::io {

class ForeignData {
public:
    virtual ~ForeignData() = default;
    // What is on the device, each a few words for a message; empty if nothing is known of it.
    // Errors: io.
    virtual Task<Result<std::vector<std::string>>> find(Device& device) = 0;
    // Overwrites what find() finds so that nobody finds it again; durable when it resolves. The
    // device may be told no requests meanwhile. Errors: io.
    virtual Task<Result<void>> wipe(Device& device) = 0;
};

}  // namespace stoa::io
