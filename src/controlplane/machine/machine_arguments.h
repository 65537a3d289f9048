// From a VM's record, and what it was given, to QEMU's arguments: pure.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controlplane/machine/services.h"
#include "controlplane/qemu/arguments.h"

namespace stoa::machine {

// Numbers that descriptors have in QEMU. What QEMU opens by itself it opens as its own user, who
// reaches nothing below ROOT.
struct PassedNumbers {
    std::optional<int> kernel;
    std::optional<int> initrd;
    std::optional<int> uefi_variables;
    std::vector<std::optional<int>> taps;  // one a NIC; none: user-mode networking
};

// `disks`: as Disks::attach() gave them, in the order of the record's. `command_line`: the image's.
// Errors: invalid_argument (a name in the boot order that is neither disk nor NIC).
[[nodiscard]] Result<qemu::MachineArguments> machine_arguments(
    const VmRecord& vm, std::vector<qemu::DiskArgument> disks, const PassedNumbers& passed,
    const std::string& command_line, const Settings& settings);

}  // namespace stoa::machine
