// Virtual machines: what is wanted of one, and what it is doing.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/describe.h"
#include "base/result.h"
#include "base/uuid.h"

namespace stoa::model {

constexpr uint32_t kCpusMax = 255;
constexpr uint64_t kMemoryBytesMin = uint64_t{16} << 20;
constexpr uint64_t kMemoryBytesMax = uint64_t{8} << 40;
constexpr size_t kDisksMax = 24;
constexpr size_t kNicsMax = 8;

enum class Power : uint8_t { off, on };
constexpr std::array<std::string_view, 2> enum_names(Power /*type*/) { return {"off", "on"}; }

// What happens when the host has started.
enum class Autostart : uint8_t { previous, always, never };
constexpr std::array<std::string_view, 3> enum_names(Autostart /*type*/) {
    return {"previous", "always", "never"};
}

// What happens when the guest has crashed, or its QEMU.
enum class OnCrash : uint8_t { restart, stay_off };
constexpr std::array<std::string_view, 2> enum_names(OnCrash /*type*/) {
    return {"restart", "stay-off"};
}

enum class Firmware : uint8_t { bios, uefi };
constexpr std::array<std::string_view, 2> enum_names(Firmware /*type*/) { return {"bios", "uefi"}; }

// `sata` and `ide` for guests without virtio drivers.
enum class DiskBus : uint8_t { virtio, scsi, sata, ide };
constexpr std::array<std::string_view, 4> enum_names(DiskBus /*type*/) {
    return {"virtio", "scsi", "sata", "ide"};
}

enum class DiskMedia : uint8_t { disk, cdrom };
constexpr std::array<std::string_view, 2> enum_names(DiskMedia /*type*/) {
    return {"disk", "cdrom"};
}

enum class NicModel : uint8_t { virtio, e1000 };
constexpr std::array<std::string_view, 2> enum_names(NicModel /*type*/) {
    return {"virtio", "e1000"};
}

struct VmDisk {
    std::string name;
    Uuid volume;
    DiskBus bus = DiskBus::virtio;
    DiskMedia media = DiskMedia::disk;
    bool read_only = false;
    bool shared_fate = true;
    std::optional<Uuid> pool;
    static constexpr auto fields() {
        return std::tuple(
            required("name", &VmDisk::name,
                     "within the VM; its serial number in the guest: up to 20 bytes"),
            required("volume", &VmDisk::volume, "id of the volume, or of a snapshot if read-only"),
            optional("bus", &VmDisk::bus, "virtio, scsi, sata or ide"),
            optional("media", &VmDisk::media, "disk or cdrom"),
            optional("read_only", &VmDisk::read_only, ""),
            optional("shared_fate", &VmDisk::shared_fate, "deleted together with the VM"),
            optional("pool", &VmDisk::pool, "of the volume"));
    }
};

struct VmNic {
    std::string name;
    std::optional<Uuid> network;
    NicModel model = NicModel::virtio;
    std::string mac;
    std::string address;
    static constexpr auto fields() {
        return std::tuple(
            required("name", &VmNic::name, "within the VM"),
            optional("network", &VmNic::network, "none: user-mode networking, outward only"),
            optional("model", &VmNic::model, "virtio or e1000"),
            optional("mac", &VmNic::mac, "chosen if empty"),
            optional("address", &VmNic::address, "chosen by the network if empty"));
    }
};

// A kernel started without a boot loader, out of an image.
struct DirectBoot {
    Uuid image;
    std::string command_line;
    static constexpr auto fields() {
        return std::tuple(
            required("image", &DirectBoot::image, "an image that holds a kernel"),
            optional("command_line", &DirectBoot::command_line, "in place of the image's own"));
    }
};

struct RestartPolicy {
    OnCrash on_crash = OnCrash::restart;
    uint32_t attempts_max = 5;
    uint32_t window_seconds = 600;
    static constexpr auto fields() {
        return std::tuple(optional("on_crash", &RestartPolicy::on_crash, "restart or stay-off"),
                          optional("attempts_max", &RestartPolicy::attempts_max,
                                   "then it stays off; each waits twice as long as the one before"),
                          optional("window_seconds", &RestartPolicy::window_seconds,
                                   "a run this long forgives earlier crashes"));
    }
};

struct VmSpec {
    uint32_t cpus = 1;
    uint64_t memory_bytes = uint64_t{1} << 30;
    Power power = Power::off;
    Autostart autostart = Autostart::previous;
    uint32_t start_order = 100;
    uint32_t start_delay_seconds = 0;
    RestartPolicy restart;
    Firmware firmware = Firmware::bios;
    std::vector<std::string> boot_order;
    std::optional<DirectBoot> direct_boot;
    std::vector<VmDisk> disks;
    std::vector<VmNic> nics;
    bool is_protected = false;
    std::optional<Uuid> image;
    std::string machine_type;
    static constexpr auto fields() {
        return std::tuple(
            optional("cpus", &VmSpec::cpus, "1 to 255"),
            optional("memory_bytes", &VmSpec::memory_bytes, "multiple of 1 MiB, from 16 MiB"),
            optional("power", &VmSpec::power, "set by start and stop"),
            optional("autostart", &VmSpec::autostart,
                     "when the host has started: previous (as it was), always or never"),
            optional("start_order", &VmSpec::start_order, "lower ones first; stopped in reverse"),
            optional("start_delay_seconds", &VmSpec::start_delay_seconds,
                     "before the next in order is started"),
            optional("restart", &VmSpec::restart, ""),
            optional("firmware", &VmSpec::firmware, "bios or uefi"),
            optional("boot_order", &VmSpec::boot_order, "names of disks and NICs; empty: disks"),
            optional("direct_boot", &VmSpec::direct_boot, ""),
            optional("disks", &VmSpec::disks, "up to 24"),
            optional("nics", &VmSpec::nics, "up to 8"),
            optional("protected", &VmSpec::is_protected, "cannot be deleted"),
            optional("image", &VmSpec::image, "what it was made from"),
            optional("machine_type", &VmSpec::machine_type,
                     "QEMU's, pinned when it is made so that its hardware never changes"));
    }
};

enum class VmState : uint8_t {
    off,
    starting,
    running,
    paused,
    paused_storage,  // its disks do not answer or are full; it goes on by itself
    stopping,
    crashed,         // waits for its restart, or has none left
    unknown,         // its process is there and does not answer
    deleted,         // within its grace period
    creating,        // its disks are being made
};
constexpr std::array<std::string_view, 10> enum_names(VmState /*type*/) {
    return {"off",      "starting", "running", "paused",  "paused-storage",
            "stopping", "crashed",  "unknown", "deleted", "creating"};
}

// The process that is, or was last, the guest; enough to tell it from any other.
struct Launch {
    uint64_t epoch = 0;
    std::string boot_id;
    int32_t pid = 0;
    uint64_t start_ticks = 0;
    int64_t started_ns = 0;
    std::string accelerator;
    VmSpec spec;
    uint32_t uid = 0;
    static constexpr auto fields() {
        return std::tuple(required("epoch", &Launch::epoch, "counts its launches"),
                          required("boot_id", &Launch::boot_id, "of the host"),
                          optional("pid", &Launch::pid, "0 until it is started"),
                          optional("start_ticks", &Launch::start_ticks, "field 22 of proc(5) stat"),
                          optional("started_ns", &Launch::started_ns, "ns since 1970"),
                          optional("accelerator", &Launch::accelerator, "kvm or tcg"),
                          optional("spec", &Launch::spec, "what it was started with"),
                          optional("uid", &Launch::uid, "user that QEMU runs as"));
    }
};

struct VmStatus {
    VmState state = VmState::off;
    std::optional<Uuid> host;
    std::optional<Launch> launch;
    std::string reason;
    uint32_t crashes = 0;
    int64_t crashed_ns = 0;
    int64_t deleted_ns = 0;
    bool frozen = false;
    std::vector<std::string> pending;
    static constexpr auto fields() {
        return std::tuple(
            optional("state", &VmStatus::state, ""),
            optional("host", &VmStatus::host, "where it is"),
            optional("launch", &VmStatus::launch, ""),
            optional("reason", &VmStatus::reason, "why it is in this state, if that is not plain"),
            optional("crashes", &VmStatus::crashes, "in the current window"),
            optional("crashed_ns", &VmStatus::crashed_ns, "the last time"),
            optional("deleted_ns", &VmStatus::deleted_ns, "undelete counts from then"),
            optional("frozen", &VmStatus::frozen,
                     "its file systems are about to be frozen, or are: thaw first"),
            optional("pending", &VmStatus::pending, "fields that count from the next start"));
    }
};

struct Vm {
    static constexpr std::string_view kName = "vm";
    using Spec = VmSpec;
    using Status = VmStatus;
};

// Ranges, names that occur twice, references to names that do not exist. Errors: invalid_argument
// with the field ("spec.disks[1].name: …").
[[nodiscard]] Result<void> check(const VmSpec& spec);
// Fields that differ and count only from the next start, as "memory_bytes: 1 GiB -> 2 GiB".
[[nodiscard]] std::vector<std::string> pending_changes(const VmSpec& running, const VmSpec& wanted);

}  // namespace stoa::model
