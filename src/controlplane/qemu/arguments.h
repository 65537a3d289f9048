// The command line of QEMU: a pure translation of what a virtual machine is to be.
//
// Made for QEMU 7.2 and later. QEMU starts with its CPUs stopped (QMP `cont` lets them run), with
// no default device and no configuration file, sandboxed, and it pauses instead of exiting when the
// guest powers itself off or crashes, so that the two can be told apart later. Devices and back
// ends are given as JSON wherever QEMU takes it, so that no text can become an option; in what
// remains commas are doubled. The VM's name does not occur: the process is known by its `-uuid`.
//
// All devices that can be hot-plugged sit on PCIe root ports of their own. What each argument does
// in the real QEMU: arguments_qemu_test.cc.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "base/uuid.h"
#include "controlplane/model/vm.h"

namespace stoa::qemu {

enum class Accelerator : uint8_t { kvm, tcg };
constexpr std::array<std::string_view, 2> enum_names(Accelerator /*type*/) {
    return {"kvm", "tcg"};
}

// Longest path of a Unix socket (sun_path without its end).
constexpr size_t kSocketPathMax = 107;
// Longest command line of a Linux kernel on x86.
constexpr size_t kKernelCommandLineMax = 2047;

// A disk or CD that an NBD server serves on a Unix socket.
struct DiskArgument {
    std::string name;  // a DNS label, unique among the disks
    std::string socket;  // absolute path; it must be listened to when QEMU starts
    std::string export_name;
    model::DiskBus bus = model::DiskBus::virtio;
    model::DiskMedia media = model::DiskMedia::disk;  // cdrom: read-only, on virtio a SCSI drive
    bool read_only = false;
    uint32_t boot_index = 0;  // 1 is tried first; 0: never
    // So long requests wait when the server has gone; then they fail and the guest is stopped
    // (state io-error). Until then QEMU's main loop can hang in `stop`.
    uint32_t reconnect_seconds = 3600;
};

// From a port of the host to one of a guest with user-mode networking.
struct ForwardArgument {
    bool is_udp = false;
    std::string host_address = "127.0.0.1";  // IPv4
    uint16_t host_port = 0;
    uint16_t guest_port = 0;
};

struct NicArgument {
    std::string name;  // a DNS label, unique among the NICs
    model::NicModel model = model::NicModel::virtio;
    std::string mac;  // aa:bb:cc:dd:ee:ff, unicast
    // A tap that QEMU inherits under this number; none: user-mode networking.
    std::optional<int> tap_descriptor;
    std::vector<ForwardArgument> forwards;  // of user-mode networking alone
    uint32_t boot_index = 0;  // as of disks; the network is booted by PXE
};

// A kernel that is started without boot loader.
struct KernelArgument {
    std::string kernel;  // absolute paths
    std::string initrd;  // empty: none
    std::string command_line;
};

struct MachineArguments {
    Uuid id;
    std::string machine_type;  // pinned per VM: default_machine_type() when it is made
    Accelerator accelerator = Accelerator::tcg;
    std::string cpu_model;  // empty: "host" with KVM, else "max"
    uint32_t translation_mib = 32;  // cache of TCG; memory that the host spends on it
    uint32_t cpus = 1;
    uint32_t cpus_max = 0;  // by hot-plug; 0: as `cpus`
    uint64_t memory_bytes = 0;  // multiple of 1 MiB
    uint64_t memory_bytes_max = 0;  // by hot-plug; 0: as `memory_bytes`
    model::Firmware firmware = model::Firmware::bios;
    std::string uefi_code;  // with uefi: the firmware, shared by all
    std::string uefi_variables;  // with uefi: this VM's own, written by the guest
    std::optional<KernelArgument> kernel;
    std::vector<DiskArgument> disks;
    std::vector<NicArgument> nics;
    uint32_t spare_ports = 4;  // PCIe root ports for devices that come later
    // Directory of the sockets, absolute: qmp.sock, agent.sock, serial.sock, vnc.sock.
    std::string run_directory;
    // Whatever the guest sends to its serial port is appended here; empty: nowhere. Cap it with
    // serial_log.h and, for when nobody is there to do that, with RLIMIT_FSIZE.
    std::string serial_log;
    bool has_screen = true;  // VGA, VNC on vnc.sock, a tablet
};

// Arguments without the program itself. No argument holds a NUL or a control character.
// Errors: invalid_argument (names the field), unsupported (more disks than the bus takes; ide on
// q35).
[[nodiscard]] Result<std::vector<std::string>> arguments(const MachineArguments& machine);

// What a new VM is pinned to: "pc-q35-7.2"; "pc-i440fx-7.2" if a disk is on the ide bus. The
// versions that follow keep both, so that a VM's hardware never changes.
[[nodiscard]] std::string default_machine_type(const model::VmSpec& spec);

[[nodiscard]] std::string qmp_socket(std::string_view run_directory);
[[nodiscard]] std::string agent_socket(std::string_view run_directory);
[[nodiscard]] std::string serial_socket(std::string_view run_directory);
[[nodiscard]] std::string vnc_socket(std::string_view run_directory);

// The serial number that the guest sees: `name`, if it has at most 20 characters; else its first
// 11, a minus and its checksum.
[[nodiscard]] std::string disk_serial(std::string_view name);
// How QMP calls a disk's block node ("disk-SERIAL") and its device ("disk-SERIAL-dev").
[[nodiscard]] std::string disk_node(std::string_view name);
[[nodiscard]] std::string disk_device(std::string_view name);

}  // namespace stoa::qemu
