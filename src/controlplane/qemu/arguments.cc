#include "controlplane/qemu/arguments.h"

#include <algorithm>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/crc32c.h"
#include "base/json.h"
#include "controlplane/qemu/arguments_check.h"

namespace stoa::qemu {

namespace {

using model::DiskBus;
using model::DiskMedia;
using model::Firmware;
using model::NicModel;

constexpr std::string_view kAgentPort = "org.qemu.guest_agent.0";
constexpr size_t kSerialCharacters = 20;  // VIRTIO_BLK_ID_BYTES
constexpr size_t kSerialKept = 11;
constexpr uint32_t kSataPorts = 6;  // of one AHCI controller
constexpr uint32_t kIdeUnits = 4;
constexpr uint32_t kScsiUnits = 255;
constexpr uint32_t kFirstPortSlot = 0x10;
constexpr uint32_t kPortsPerSlot = 8;

// A value inside of an option: commas are doubled.
std::string escaped(std::string_view value) {
    std::string text;
    for (const char c : value) {
        text += c;
        if (c == ',') text += c;
    }
    return text;
}

// A disk's or a NIC's name as part of an identifier of QEMU.
std::string short_name(std::string_view name) {
    if (name.size() <= kSerialCharacters) return std::string(name);
    const uint32_t checksum = crc32c(std::as_bytes(std::span(name)));
    return fmt::format("{}-{:08x}", name.substr(0, kSerialKept), checksum);
}

// Puts the arguments together; one object for one machine that was checked.
class Builder {
public:
    explicit Builder(const MachineArguments& machine)
        : machine_(machine), is_q35_(machine.machine_type.starts_with("pc-q35-")) {}

    Result<std::vector<std::string>> build() {
        base();
        firmware();
        kernel();
        ports();
        controls();
        devices();
        screen();
        for (const DiskArgument& disk : machine_.disks) TRY(put_disk(disk));
        for (const NicArgument& nic : machine_.nics) put_nic(nic);
        return std::move(arguments_);
    }

private:
    void put(std::string_view option) { arguments_.emplace_back(option); }
    void put(std::string_view option, std::string value) {
        arguments_.emplace_back(option);
        arguments_.push_back(std::move(value));
    }
    void put_json(std::string_view option, const JsonObject& value) {
        put(option, to_text(Json(value)));
    }
    // A device at a fixed place beside the ports, so that others do not move it.
    void put_fixed(JsonObject device, std::string_view slot) {
        device["bus"] = is_q35_ ? "pcie.0" : "pci.0";
        device["addr"] = slot;
        put_json("-device", device);
    }
    // A device that can be unplugged: on a port of its own.
    void put_pluggable(JsonObject device) {
        if (is_q35_) {
            device["bus"] = fmt::format("port{}", ports_used_++);
        } else {
            device["bus"] = "pci.0";
        }
        put_json("-device", device);
    }

    void base() {
        put("-nodefaults");
        put("-no-user-config");
        put("-S");
        put("-uuid", machine_.id.to_string());
        put("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny");
        put("-action", "shutdown=pause,panic=pause,reboot=reset");
        put("-msg", "timestamp=on");
        put("-machine", machine_.machine_type + ",usb=off,dump-guest-core=off");
        const bool is_kvm = machine_.accelerator == Accelerator::kvm;
        put("-accel",
            is_kvm ? "kvm" : fmt::format("tcg,thread=multi,tb-size={}", machine_.translation_mib));
        const std::string_view usual = is_kvm ? "host" : "max";
        put("-cpu", machine_.cpu_model.empty() ? std::string(usual) : machine_.cpu_model);
        const uint32_t cpus_max = std::max(machine_.cpus_max, machine_.cpus);
        put("-smp", fmt::format("cpus={},maxcpus={},sockets={},cores=1,threads=1", machine_.cpus,
                                cpus_max, cpus_max));
        std::string memory = fmt::format("size={}M", machine_.memory_bytes >> 20);
        if (machine_.memory_bytes_max > machine_.memory_bytes) {
            memory += fmt::format(",slots=16,maxmem={}M", machine_.memory_bytes_max >> 20);
        }
        put("-m", std::move(memory));
        put("-rtc", "base=utc");
        put("-boot", "menu=off,strict=on");
        put("-display", "none");
    }

    void firmware() {
        if (machine_.firmware != Firmware::uefi) return;
        const auto flash = [&](std::string_view node, const std::string& path, bool read_only) {
            put_json("-blockdev", {{"driver", "raw"},
                                   {"node-name", node},
                                   {"read-only", read_only},
                                   {"file", {{"driver", "file"}, {"filename", path}}}});
        };
        flash("uefi-code", machine_.uefi_code, true);
        flash("uefi-variables", machine_.uefi_variables, false);
        put("-machine", "pflash0=uefi-code,pflash1=uefi-variables");
    }

    void kernel() {
        if (!machine_.kernel) return;
        put("-kernel", machine_.kernel->kernel);
        if (!machine_.kernel->initrd.empty()) put("-initrd", machine_.kernel->initrd);
        if (!machine_.kernel->command_line.empty()) put("-append", machine_.kernel->command_line);
    }

    void ports() {
        if (!is_q35_) return;
        const size_t count = machine_.disks.size() + machine_.nics.size() + machine_.spare_ports;
        for (uint32_t i = 0; i < count; ++i) {
            const uint32_t function = i % kPortsPerSlot;
            JsonObject port{
                {"driver", "pcie-root-port"},
                {"id", fmt::format("port{}", i)},
                {"chassis", i + 1},
                {"bus", "pcie.0"},
                {"addr", fmt::format("{:#x}.{}", kFirstPortSlot + i / kPortsPerSlot, function)}};
            if (function == 0) port["multifunction"] = true;
            put_json("-device", port);
        }
    }

    // Sockets on which QEMU listens.
    void controls() {
        const std::string& run = machine_.run_directory;
        const auto listen = [&](std::string_view id, const std::string& path,
                                std::string_view more = {}) {
            put("-chardev",
                fmt::format("socket,id={},server=on,wait=off{},path={}", id, more, escaped(path)));
        };
        listen("qmp", qmp_socket(run));
        put("-mon", "chardev=qmp,mode=control");
        const std::string log =
            machine_.serial_log.empty()
                ? std::string()
                : fmt::format(",logappend=on,logfile={}", escaped(machine_.serial_log));
        listen("serial", serial_socket(run), log);
        put("-serial", "chardev:serial");
        listen("agent", agent_socket(run));
    }

    void devices() {
        put_fixed({{"driver", "virtio-serial-pci"}, {"id", "channels"}}, "0x2");
        put_json("-device", {{"driver", "virtserialport"},
                             {"bus", "channels.0"},
                             {"chardev", "agent"},
                             {"name", kAgentPort}});
        put_json("-object", {{"qom-type", "rng-builtin"}, {"id", "random"}});
        put_fixed({{"driver", "virtio-rng-pci"}, {"rng", "random"}}, "0x3");
        put_fixed({{"driver", "virtio-balloon-pci"},
                   {"id", "balloon"},
                   {"deflate-on-oom", true},
                   {"free-page-reporting", true}},
                  "0x4");
        put_json("-device", {{"driver", "pvpanic"}});
        const auto on_scsi = [](const DiskArgument& disk) {
            return disk.bus == DiskBus::scsi ||
                   (disk.bus == DiskBus::virtio && disk.media == DiskMedia::cdrom);
        };
        if (std::ranges::any_of(machine_.disks, on_scsi)) {
            put_fixed({{"driver", "virtio-scsi-pci"}, {"id", "scsi"}}, "0x5");
        }
    }

    void screen() {
        if (!machine_.has_screen) return;
        put_fixed({{"driver", "VGA"}, {"id", "screen"}}, "0x6");
        put_fixed({{"driver", "qemu-xhci"}, {"id", "usb"}}, "0x7");
        put_json("-device", {{"driver", "usb-tablet"}, {"bus", "usb.0"}});
        put("-vnc", "unix:" + escaped(vnc_socket(machine_.run_directory)));
    }

    Result<void> put_disk(const DiskArgument& disk) {
        const bool is_cdrom = disk.media == DiskMedia::cdrom;
        const bool read_only = disk.read_only || is_cdrom;
        put_json("-blockdev", {{"driver", "nbd"},
                               {"node-name", disk_node(disk.name)},
                               {"server", {{"type", "unix"}, {"path", disk.socket}}},
                               {"export", disk.export_name},
                               {"reconnect-delay", disk.reconnect_seconds},
                               {"read-only", read_only},
                               {"discard", read_only ? "ignore" : "unmap"}});
        JsonObject device{{"drive", disk_node(disk.name)},
                          {"id", disk_device(disk.name)},
                          {"serial", disk_serial(disk.name)},
                          {"werror", "stop"},
                          {"rerror", "stop"}};
        if (disk.boot_index > 0) device["bootindex"] = disk.boot_index;
        switch (disk.bus) {
            case DiskBus::virtio:
                if (is_cdrom) return put_scsi(disk, std::move(device));
                device["driver"] = "virtio-blk-pci";
                put_pluggable(std::move(device));
                return {};
            case DiskBus::scsi: return put_scsi(disk, std::move(device));
            case DiskBus::sata: return put_sata(disk, std::move(device));
            case DiskBus::ide: return put_ide(disk, std::move(device));
        }
        return {};
    }

    Result<void> put_scsi(const DiskArgument& disk, JsonObject device) {
        if (scsi_used_ > kScsiUnits) return too_many(disk, "scsi", kScsiUnits + 1);
        device["driver"] = disk.media == DiskMedia::cdrom ? "scsi-cd" : "scsi-hd";
        device["bus"] = "scsi.0";
        device["scsi-id"] = scsi_used_++;
        put_json("-device", device);
        return {};
    }

    // q35 has one controller, called "ide"; more of them, or the first of i440fx, are added.
    Result<void> put_sata(const DiskArgument& disk, JsonObject device) {
        const uint32_t controller = sata_used_ / kSataPorts;
        const uint32_t port = sata_used_ % kSataPorts;
        const bool is_built_in = is_q35_ && controller == 0;
        if (controller > 3) return too_many(disk, "sata", 4 * kSataPorts);
        if (port == 0 && !is_built_in) {
            put_fixed({{"driver", "ich9-ahci"}, {"id", fmt::format("sata{}", controller)}},
                      fmt::format("{:#x}", 0x8 + controller));
        }
        device["driver"] = disk.media == DiskMedia::cdrom ? "ide-cd" : "ide-hd";
        device["bus"] =
            is_built_in ? fmt::format("ide.{}", port) : fmt::format("sata{}.{}", controller, port);
        put_json("-device", device);
        ++sata_used_;
        return {};
    }

    Result<void> put_ide(const DiskArgument& disk, JsonObject device) {
        if (is_q35_) {
            return Error(ErrorCode::unsupported,
                         fmt::format("disk {}: machine {} has no ide bus; use sata", disk.name,
                                     machine_.machine_type));
        }
        if (ide_used_ >= kIdeUnits) return too_many(disk, "ide", kIdeUnits);
        device["driver"] = disk.media == DiskMedia::cdrom ? "ide-cd" : "ide-hd";
        device["bus"] = fmt::format("ide.{}", ide_used_ / 2);
        device["unit"] = ide_used_ % 2;
        put_json("-device", device);
        ++ide_used_;
        return {};
    }

    static Error too_many(const DiskArgument& disk, std::string_view bus, uint32_t count) {
        return {ErrorCode::unsupported,
                fmt::format("disk {}: the {} bus takes at most {} disks", disk.name, bus, count)};
    }

    void put_nic(const NicArgument& nic) {
        const std::string id = "nic-" + short_name(nic.name);
        JsonObject back_end{{"id", id}};
        if (nic.tap_descriptor) {
            back_end["type"] = "tap";
            back_end["fd"] = fmt::format("{}", *nic.tap_descriptor);
            back_end["vhost"] = false;
        } else {
            back_end["type"] = "user";
            JsonArray forwards;
            for (const ForwardArgument& forward : nic.forwards) {
                forwards.push_back(
                    {{"str",
                      fmt::format("{}:{}:{}-:{}", forward.is_udp ? "udp" : "tcp",
                                  forward.host_address, forward.host_port, forward.guest_port)}});
            }
            if (!forwards.empty()) back_end["hostfwd"] = std::move(forwards);
        }
        put_json("-netdev", back_end);
        JsonObject device{{"driver", nic.model == NicModel::virtio ? "virtio-net-pci" : "e1000"},
                          {"id", id + "-dev"},
                          {"netdev", id},
                          {"mac", nic.mac}};
        if (nic.boot_index > 0) {
            device["bootindex"] = nic.boot_index;
        } else {
            device["romfile"] = "";  // no PXE
        }
        if (nic.model == NicModel::virtio) {
            put_pluggable(std::move(device));
        } else {
            device["bus"] = is_q35_ ? "pcie.0" : "pci.0";
            put_json("-device", device);
        }
    }

    const MachineArguments& machine_;
    bool is_q35_;
    std::vector<std::string> arguments_;
    uint32_t ports_used_ = 0;
    uint32_t scsi_used_ = 0;
    uint32_t sata_used_ = 0;
    uint32_t ide_used_ = 0;
};

}  // namespace

Result<std::vector<std::string>> arguments(const MachineArguments& machine) {
    TRY(check(machine));
    return Builder(machine).build();
}

std::string default_machine_type(const model::VmSpec& spec) {
    const auto on_ide = [](const model::VmDisk& disk) { return disk.bus == DiskBus::ide; };
    return std::ranges::any_of(spec.disks, on_ide) ? "pc-i440fx-7.2" : "pc-q35-7.2";
}

std::string qmp_socket(std::string_view run_directory) {
    return fmt::format("{}/qmp.sock", run_directory);
}
std::string agent_socket(std::string_view run_directory) {
    return fmt::format("{}/agent.sock", run_directory);
}
std::string serial_socket(std::string_view run_directory) {
    return fmt::format("{}/serial.sock", run_directory);
}
std::string vnc_socket(std::string_view run_directory) {
    return fmt::format("{}/vnc.sock", run_directory);
}

std::string disk_serial(std::string_view name) { return short_name(name); }
std::string disk_node(std::string_view name) { return "disk-" + short_name(name); }
std::string disk_device(std::string_view name) { return disk_node(name) + "-dev"; }

}  // namespace stoa::qemu
