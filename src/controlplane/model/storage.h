// Pools, volumes, snapshots and images. The data plane is the truth for what exists and how large
// it is; these records hold what is wanted, and its names.
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

// The data plane's limits: docs/limits.md.
constexpr uint64_t kSectorBytes = 512;
constexpr uint64_t kVolumeBytesMax = uint64_t{16} << 40;
constexpr size_t kDevicesMax = 32;
constexpr size_t kPoolNameBytesMax = 31;

struct PoolSpec {
    std::vector<std::string> devices;
    uint64_t create_bytes = 0;
    static constexpr auto fields() {
        return std::tuple(
            required("devices", &PoolSpec::devices, "absolute paths of block devices or files"),
            optional("create_bytes", &PoolSpec::create_bytes, "of files that are to be made"));
    }
};

enum class StorageState : uint8_t { creating, ready, missing, failed, deleted };
constexpr std::array<std::string_view, 5> enum_names(StorageState /*type*/) {
    return {"creating", "ready", "missing", "failed", "deleted"};
}

struct PoolStatus {
    StorageState state = StorageState::creating;
    std::optional<Uuid> host;
    std::string reason;
    static constexpr auto fields() {
        return std::tuple(optional("state", &PoolStatus::state, ""),
                          optional("host", &PoolStatus::host, ""),
                          optional("reason", &PoolStatus::reason, ""));
    }
};

struct Pool {
    static constexpr std::string_view kName = "pool";
    using Spec = PoolSpec;
    using Status = PoolStatus;
};

// Its record's name is unique in its pool; users write POOL/NAME.
struct VolumeSpec {
    Uuid pool;
    uint64_t size_bytes = 0;
    std::optional<Uuid> source;
    bool is_protected = false;
    static constexpr auto fields() {
        return std::tuple(
            required("pool", &VolumeSpec::pool, ""),
            required("size_bytes", &VolumeSpec::size_bytes, "multiple of 512, up to 16 TiB"),
            optional("source", &VolumeSpec::source, "the snapshot it is cloned from"),
            optional("protected", &VolumeSpec::is_protected, "cannot be deleted"));
    }
};

struct VolumeStatus {
    StorageState state = StorageState::creating;
    std::optional<Uuid> host;
    std::string reason;
    int64_t deleted_ns = 0;
    static constexpr auto fields() {
        return std::tuple(optional("state", &VolumeStatus::state, ""),
                          optional("host", &VolumeStatus::host, ""),
                          optional("reason", &VolumeStatus::reason, ""),
                          optional("deleted_ns", &VolumeStatus::deleted_ns, ""));
    }
};

struct Volume {
    static constexpr std::string_view kName = "volume";
    using Spec = VolumeSpec;
    using Status = VolumeStatus;
    static Uuid scope(const Spec& spec) { return spec.pool; }
};

// Of one volume, or of all disks of a VM at one instant.
struct SnapshotPart {
    Uuid volume;
    Uuid snapshot;
    static constexpr auto fields() {
        return std::tuple(required("volume", &SnapshotPart::volume, ""),
                          required("snapshot", &SnapshotPart::snapshot, "in the pool"));
    }
};

enum class Consistency : uint8_t { crash, file_system, stopped };
constexpr std::array<std::string_view, 3> enum_names(Consistency /*type*/) {
    return {"crash", "file-system", "stopped"};
}

struct SnapshotSpec {
    std::optional<Uuid> vm;
    std::vector<SnapshotPart> parts;
    bool is_protected = false;
    static constexpr auto fields() {
        return std::tuple(optional("vm", &SnapshotSpec::vm, "whose disks these are"),
                          required("parts", &SnapshotSpec::parts, "taken at one instant"),
                          optional("protected", &SnapshotSpec::is_protected, "cannot be deleted"));
    }
};

struct SnapshotStatus {
    StorageState state = StorageState::creating;
    Consistency consistency = Consistency::crash;
    std::string reason;
    int64_t taken_ns = 0;
    static constexpr auto fields() {
        return std::tuple(
            optional("state", &SnapshotStatus::state, ""),
            optional("consistency", &SnapshotStatus::consistency, "what a restore finds"),
            optional("reason", &SnapshotStatus::reason, "why it is not better"),
            optional("taken_ns", &SnapshotStatus::taken_ns, ""));
    }
};

struct Snapshot {
    static constexpr std::string_view kName = "snapshot";
    using Spec = SnapshotSpec;
    using Status = SnapshotStatus;
    static Uuid scope(const Spec& spec) {
        if (spec.vm) return *spec.vm;
        return spec.parts.empty() ? Uuid{} : spec.parts.front().volume;
    }
};

// What VMs are made from: a snapshot in a pool, a kernel with its initrd, or both.
struct ImageSpec {
    std::optional<Uuid> pool;
    std::optional<Uuid> snapshot;
    uint64_t size_bytes = 0;
    bool has_kernel = false;
    std::string command_line;
    std::string os;
    std::string source;
    std::string sha256;
    uint64_t memory_bytes_min = 0;
    static constexpr auto fields() {
        return std::tuple(
            optional("pool", &ImageSpec::pool, "where its snapshot is"),
            optional("snapshot", &ImageSpec::snapshot, "the disk that VMs clone"),
            optional("size_bytes", &ImageSpec::size_bytes, "of that disk"),
            optional("has_kernel", &ImageSpec::has_kernel, "it can be started without boot loader"),
            optional("command_line", &ImageSpec::command_line, "of the kernel"),
            optional("os", &ImageSpec::os, "such as debian-12"),
            optional("source", &ImageSpec::source, "where it came from"),
            optional("sha256", &ImageSpec::sha256, "of what was imported"),
            optional("memory_bytes_min", &ImageSpec::memory_bytes_min, "to boot it"));
    }
};

struct ImageStatus {
    StorageState state = StorageState::creating;
    std::string reason;
    static constexpr auto fields() {
        return std::tuple(optional("state", &ImageStatus::state, ""),
                          optional("reason", &ImageStatus::reason, ""));
    }
};

struct Image {
    static constexpr std::string_view kName = "image";
    using Spec = ImageSpec;
    using Status = ImageStatus;
};

// Errors: invalid_argument with the field.
[[nodiscard]] Result<void> check(const PoolSpec& spec);
[[nodiscard]] Result<void> check(const VolumeSpec& spec);
[[nodiscard]] Result<void> check_volume_size(std::string_view field, uint64_t size_bytes);
[[nodiscard]] Result<void> check_device_path(std::string_view field, std::string_view path);

}  // namespace stoa::model
