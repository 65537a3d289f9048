// What the API is asked about virtual machines. Wherever a thing is named, its id or its name will
// do; a volume is POOL/NAME, a snapshot of a VM VM/NAME.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/describe.h"
#include "controlplane/model/record.h"
#include "controlplane/model/vm.h"

namespace stoa::model {

// A disk that is to be made, or one that is there already.
struct NewDisk {
    std::string name;
    std::string pool;
    std::string volume;
    uint64_t size_bytes = 0;
    std::string iso;
    DiskBus bus = DiskBus::virtio;
    static constexpr auto fields() {
        return std::tuple(
            optional("name", &NewDisk::name, "within the VM; chosen if empty"),
            optional("pool", &NewDisk::pool, "where it is made; the only one if empty"),
            optional("volume", &NewDisk::volume, "one that is there, instead of making one"),
            optional("size_bytes", &NewDisk::size_bytes, "of one that is made"),
            optional("iso", &NewDisk::iso, "an image that is put into a CD drive instead"),
            optional("bus", &NewDisk::bus, "virtio, scsi, sata or ide"));
    }
};

struct NewNic {
    std::string name;
    std::string network;
    NicModel model = NicModel::virtio;
    std::string mac;
    std::string address;
    static constexpr auto fields() {
        return std::tuple(
            optional("name", &NewNic::name, "within the VM; chosen if empty"),
            optional("network", &NewNic::network, "\"user\": outward only, needs no root"),
            optional("model", &NewNic::model, "virtio or e1000"),
            optional("mac", &NewNic::mac, "chosen if empty"),
            optional("address", &NewNic::address, "chosen by the network if empty"));
    }
};

struct VmCreate {
    std::string name;
    Labels labels;
    std::string image;
    std::string pool;
    uint64_t disk_bytes = 0;
    uint32_t cpus = 1;
    uint64_t memory_bytes = 0;
    std::vector<NewDisk> disks;
    std::vector<NewNic> nics;
    Firmware firmware = Firmware::bios;
    std::vector<std::string> boot_order;
    Autostart autostart = Autostart::previous;
    uint32_t start_order = 100;
    uint32_t start_delay_seconds = 0;
    RestartPolicy restart;
    bool is_protected = false;
    bool start = false;
    static constexpr auto fields() {
        return std::tuple(
            required("name", &VmCreate::name, "a DNS label"),
            optional("labels", &VmCreate::labels, ""),
            optional("image", &VmCreate::image, "its first disk is a clone of this; none: blank"),
            optional("pool", &VmCreate::pool, "of its disks; the image's, or the only one"),
            optional("disk_bytes", &VmCreate::disk_bytes, "of the first disk; the image's if 0"),
            optional("cpus", &VmCreate::cpus, "1 to 255"),
            optional("memory_bytes", &VmCreate::memory_bytes, "by the image if 0, else 1 GiB"),
            optional("disks", &VmCreate::disks, "besides that of the image"),
            optional("nics", &VmCreate::nics, "empty: none"),
            optional("firmware", &VmCreate::firmware, "bios or uefi"),
            optional("boot_order", &VmCreate::boot_order, "names of disks and NICs"),
            optional("autostart", &VmCreate::autostart, "previous, always or never"),
            optional("start_order", &VmCreate::start_order, "lower ones first"),
            optional("start_delay_seconds", &VmCreate::start_delay_seconds, ""),
            optional("restart", &VmCreate::restart, ""),
            optional("protected", &VmCreate::is_protected, ""),
            optional("start", &VmCreate::start, "when it is made"));
    }
};

// What is there is changed, all else stays. Disks and NICs are named within the VM.
struct VmSet {
    std::optional<std::string> name;
    std::optional<Labels> labels;
    std::optional<uint32_t> cpus;
    std::optional<uint64_t> memory_bytes;
    std::optional<Autostart> autostart;
    std::optional<uint32_t> start_order;
    std::optional<uint32_t> start_delay_seconds;
    std::optional<RestartPolicy> restart;
    std::optional<Firmware> firmware;
    std::optional<std::vector<std::string>> boot_order;
    std::optional<bool> is_protected;
    std::vector<NewDisk> add_disks;
    std::vector<std::string> remove_disks;
    std::map<std::string, uint64_t> grow_disks;
    std::vector<NewNic> add_nics;
    std::vector<std::string> remove_nics;
    static constexpr auto fields() {
        return std::tuple(
            optional("name", &VmSet::name, ""), optional("labels", &VmSet::labels, "all of them"),
            optional("cpus", &VmSet::cpus, ""), optional("memory_bytes", &VmSet::memory_bytes, ""),
            optional("autostart", &VmSet::autostart, ""),
            optional("start_order", &VmSet::start_order, ""),
            optional("start_delay_seconds", &VmSet::start_delay_seconds, ""),
            optional("restart", &VmSet::restart, ""), optional("firmware", &VmSet::firmware, ""),
            optional("boot_order", &VmSet::boot_order, ""),
            optional("protected", &VmSet::is_protected, ""),
            optional("add_disks", &VmSet::add_disks, ""),
            optional("remove_disks", &VmSet::remove_disks, "their volumes stay"),
            optional("grow_disks", &VmSet::grow_disks, "name to new size in bytes"),
            optional("add_nics", &VmSet::add_nics, ""),
            optional("remove_nics", &VmSet::remove_nics, ""));
    }
};

// First by the guest agent, then by ACPI, then off.
struct VmStop {
    bool force = false;
    uint32_t timeout_seconds = 60;
    static constexpr auto fields() {
        return std::tuple(optional("force", &VmStop::force, "off at once, as by a loss of power"),
                          optional("timeout_seconds", &VmStop::timeout_seconds,
                                   "how long the guest may take before it is turned off"));
    }
};

struct VmDelete {
    bool now = false;
    bool keep_disks = false;
    static constexpr auto fields() {
        return std::tuple(
            optional("now", &VmDelete::now, "without the time in which it can be undeleted"),
            optional("keep_disks", &VmDelete::keep_disks, "its volumes stay as they are"));
    }
};

struct VmSnapshot {
    std::string name;
    bool crash_consistent = false;
    uint32_t freeze_seconds = 10;
    static constexpr auto fields() {
        return std::tuple(
            required("name", &VmSnapshot::name, "a DNS label"),
            optional("crash_consistent", &VmSnapshot::crash_consistent, "do not freeze the guest"),
            optional("freeze_seconds", &VmSnapshot::freeze_seconds,
                     "then thaw and take it crash-consistent"));
    }
};

struct VmRollback {
    std::string snapshot;
    bool start = false;
    static constexpr auto fields() {
        return std::tuple(required("snapshot", &VmRollback::snapshot, "name or id"),
                          optional("start", &VmRollback::start, "afterwards"));
    }
};

struct VmClone {
    std::string name;
    std::string snapshot;
    bool start = false;
    static constexpr auto fields() {
        return std::tuple(required("name", &VmClone::name, "of the new VM"),
                          optional("snapshot", &VmClone::snapshot, "else as it is now"),
                          optional("start", &VmClone::start, ""));
    }
};

// A program in the guest, by its agent. `input` and the outputs are base64.
struct VmExec {
    std::vector<std::string> command;
    std::map<std::string, std::string> environment;
    std::string input;
    uint32_t timeout_seconds = 60;
    static constexpr auto fields() {
        return std::tuple(required("command", &VmExec::command, "program and arguments; no shell"),
                          optional("environment", &VmExec::environment, ""),
                          optional("input", &VmExec::input, "base64"),
                          optional("timeout_seconds", &VmExec::timeout_seconds, ""));
    }
};

struct VmExecResult {
    int32_t exit_code = 0;
    int32_t signal = 0;
    std::string output;
    std::string error_output;
    bool is_cut = false;
    static constexpr auto fields() {
        return std::tuple(
            required("exit_code", &VmExecResult::exit_code, ""),
            optional("signal", &VmExecResult::signal, "that ended it; 0: none"),
            required("output", &VmExecResult::output, "base64"),
            required("error_output", &VmExecResult::error_output, "base64"),
            optional("cut", &VmExecResult::is_cut, "there was more output than is kept"));
    }
};

}  // namespace stoa::model
