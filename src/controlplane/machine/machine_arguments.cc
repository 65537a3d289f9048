#include "controlplane/machine/machine_arguments.h"

#include <fmt/format.h>

namespace stoa::machine {

namespace {

// Opened anew by whoever reads it: the file's own mode counts, not those of directories above.
std::string path_of(int number) { return fmt::format("/proc/self/fd/{}", number); }

qemu::NicArgument nic_argument(const model::VmNic& nic, std::optional<int> tap) {
    qemu::NicArgument argument;
    argument.name = nic.name;
    argument.model = nic.model;
    argument.mac = nic.mac;
    argument.tap_descriptor = tap;
    return argument;
}

Result<void> set_boot_order(const model::VmSpec& spec, qemu::MachineArguments& machine) {
    uint32_t index = 0;
    for (const std::string& name : spec.boot_order) {
        ++index;
        bool found = false;
        for (auto& disk : machine.disks) {
            if (disk.name != name) continue;
            disk.boot_index = index;
            found = true;
        }
        for (auto& nic : machine.nics) {
            if (nic.name != name || found) continue;
            nic.boot_index = index;
            found = true;
        }
        if (found) continue;
        return Error(ErrorCode::invalid_argument,
                     fmt::format("spec.boot_order: \"{}\" is neither a disk nor a NIC", name));
    }
    if (index > 0) return {};
    // Disks before CDs: what was installed from a CD is booted the next time.
    for (const bool cds : {false, true}) {
        for (auto& disk : machine.disks) {
            if ((disk.media == model::DiskMedia::cdrom) == cds) disk.boot_index = ++index;
        }
    }
    return {};
}

}  // namespace

Result<qemu::MachineArguments> machine_arguments(const VmRecord& vm,
                                                 std::vector<qemu::DiskArgument> disks,
                                                 const PassedNumbers& passed,
                                                 const std::string& command_line,
                                                 const Settings& settings) {
    qemu::MachineArguments machine;
    machine.id = vm.id;
    machine.machine_type =
        vm.spec.machine_type.empty() ? qemu::default_machine_type(vm.spec) : vm.spec.machine_type;
    machine.accelerator = settings.accelerator;
    machine.cpus = vm.spec.cpus;
    machine.memory_bytes = vm.spec.memory_bytes;
    machine.firmware = vm.spec.firmware;
    if (vm.spec.firmware == model::Firmware::uefi && passed.uefi_variables) {
        machine.uefi_code = settings.uefi_code;
        machine.uefi_variables = path_of(*passed.uefi_variables);
    }
    if (passed.kernel) {
        qemu::KernelArgument kernel;
        kernel.kernel = path_of(*passed.kernel);
        if (passed.initrd) kernel.initrd = path_of(*passed.initrd);
        const bool own = vm.spec.direct_boot && !vm.spec.direct_boot->command_line.empty();
        kernel.command_line = own ? vm.spec.direct_boot->command_line : command_line;
        machine.kernel = std::move(kernel);
    }
    machine.disks = std::move(disks);
    for (size_t i = 0; i < vm.spec.nics.size(); ++i) {
        const auto tap = i < passed.taps.size() ? passed.taps[i] : std::nullopt;
        machine.nics.push_back(nic_argument(vm.spec.nics[i], tap));
    }
    for (auto& disk : machine.disks) disk.reconnect_seconds = settings.reconnect_seconds;
    machine.run_directory = run_directory(settings, vm.id);
    machine.serial_log = serial_file(settings, vm.id);
    TRY(set_boot_order(vm.spec, machine));
    return machine;
}

}  // namespace stoa::machine
