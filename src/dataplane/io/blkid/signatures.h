// Foreign data as libblkid knows it: some hundred file systems, partition tables, members of RAID,
// LVM and other volume managers, swap, encrypted volumes; at the end of a device too.
//
// Behaviour on real files: signatures_test.cc.
#pragma once

#include "dataplane/io/foreign_data.h"
#include "dataplane/io/reactor.h"

namespace stoa::io::blkid {

// The library blocks, so that it works in threads of its own. Devices without a descriptor (in
// memory, simulated) have nothing of others. One call at a time for a device.
class Signatures final : public ForeignData {
public:
    explicit Signatures(Reactor& reactor) : reactor_(reactor) {}

    Task<Result<std::vector<std::string>>> find(Device& device) override;
    Task<Result<void>> wipe(Device& device) override;

private:
    Reactor& reactor_;
};

}  // namespace stoa::io::blkid
