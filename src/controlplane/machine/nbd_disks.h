// Disks over NBD: each is an attachment of stoa-blockd on a Unix socket of its own.
//
// An attachment's id follows from VM, epoch and disk, so that one that was made by a process that
// died meanwhile is found again. Read-write ones carry the launch's epoch: a later launch cuts off
// an earlier one, whatever became of it.
#pragma once

#include <string>

#include "controlplane/machine/attachments.h"
#include "controlplane/records/records.h"
#include "controlplane/storage/blockd.h"

namespace stoa::machine {

// One thread. What it is given outlives it.
class NbdDisks final : public Disks {
public:
    NbdDisks(const records::Records& records, storage::Blockd& blockd, std::string runtime)
        : records_(records), blockd_(blockd), runtime_(std::move(runtime)) {}

    Async<std::vector<qemu::DiskArgument>> attach(DiskUser user,
                                                  std::vector<model::VmDisk> disks) override;
    Async<> detach(Uuid vm, uint64_t epoch, std::vector<model::VmDisk> disks) override;
    Async<> take_snapshots(std::string name, std::vector<model::SnapshotPart> parts) override;
    Async<bool> has_snapshots(std::vector<model::SnapshotPart> parts) override;
    Async<> drop_snapshots(std::vector<model::SnapshotPart> parts) override;
    [[nodiscard]] size_t pools_of(const std::vector<model::SnapshotPart>& parts) const override;

    // Attachments below this instance's RUN/vm whose launch is not among `kept` are removed: what a
    // process that died left. Gives how many.
    Async<size_t> remove_leftovers(std::vector<Uuid> kept);

private:
    [[nodiscard]] Result<Uuid> pool_of(const model::VmDisk& disk) const;
    [[nodiscard]] Result<Uuid> pool_of_volume(const Uuid& volume) const;

    const records::Records& records_;
    storage::Blockd& blockd_;
    const std::string runtime_;
};

[[nodiscard]] Uuid attachment_id(const Uuid& vm, uint64_t epoch, std::string_view disk);

}  // namespace stoa::machine
