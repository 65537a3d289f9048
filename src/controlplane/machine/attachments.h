// What a guest's QEMU is given from outside: its disks and its taps.
//
// One interface each, so that how a disk is attached (NBD today) is nobody's business but theirs.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/uuid.h"
#include "controlplane/async/async.h"
#include "controlplane/host/descriptor.h"
#include "controlplane/model/storage.h"
#include "controlplane/model/vm.h"
#include "controlplane/qemu/arguments.h"

namespace stoa::machine {

// Who attaches: the launch of a VM. A later epoch cuts off an earlier one.
struct DiskUser {
    Uuid vm;
    uint64_t epoch = 0;
    uint32_t uid = 0;            // who may connect
    uint32_t gid = 0;
    std::string run_directory;  // sockets are made here
};

class Disks {
public:
    Disks() = default;
    Disks(const Disks&) = delete;
    Disks& operator=(const Disks&) = delete;
    virtual ~Disks() = default;

    // Serves the disks, each on a socket; asked twice, done once. In their order; boot_index is
    // left 0. Errors: not_found (a volume), busy (stoa-blockd does not answer), in_use (another
    // one has it read-write with a later epoch: names it).
    virtual Async<std::vector<qemu::DiskArgument>> attach(DiskUser user,
                                                          std::vector<model::VmDisk> disks) = 0;
    // None of these is served to this launch any more. What is not attached is no error.
    virtual Async<> detach(Uuid vm, uint64_t epoch, std::vector<model::VmDisk> disks) = 0;

    // One atomic snapshot in each pool; `parts` say how they are called. Those that are there
    // already with the same ids are no error.
    virtual Async<> take_snapshots(std::string name, std::vector<model::SnapshotPart> parts) = 0;
    virtual Async<bool> has_snapshots(std::vector<model::SnapshotPart> parts) = 0;
    virtual Async<> drop_snapshots(std::vector<model::SnapshotPart> parts) = 0;
    // How many pools the parts are in: more than one have no common instant.
    [[nodiscard]] virtual size_t pools_of(const std::vector<model::SnapshotPart>& parts) const = 0;
};

class Taps {
public:
    Taps() = default;
    Taps(const Taps&) = delete;
    Taps& operator=(const Taps&) = delete;
    virtual ~Taps() = default;

    // A tap in the NIC's network. It goes when the last copy of the descriptor is closed.
    // Errors: not_found (network), denied (not root: use user-mode networking), busy (the network
    // is not up: says why).
    virtual Async<host::Descriptor> open(Uuid vm, model::VmNic nic) = 0;
};

}  // namespace stoa::machine
