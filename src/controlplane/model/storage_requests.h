// What the API is asked about pools, volumes and snapshots. Wherever a thing is named, its id or
// its name will do; a volume is POOL/NAME, a snapshot VM/NAME or POOL/VOLUME/NAME.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/describe.h"
#include "controlplane/model/record.h"

namespace stoa::model {

struct NewDevice {
    std::string path;
    uint64_t create_bytes = 0;
    static constexpr auto fields() {
        return std::tuple(
            required("path", &NewDevice::path, "absolute path of a block device or file"),
            optional("create_bytes", &NewDevice::create_bytes,
                     "make a sparse file of this size; 0: the device is there"));
    }
};

// A new pool, or with `open` one that is on the devices already.
struct PoolCreate {
    std::string name;
    Labels labels;
    std::vector<NewDevice> devices;
    bool open = false;
    bool force = false;
    uint64_t capacity_max_bytes = 0;
    static constexpr auto fields() {
        return std::tuple(required("name", &PoolCreate::name, "a DNS label of up to 31 bytes"),
                          optional("labels", &PoolCreate::labels, ""),
                          required("devices", &PoolCreate::devices, "1 to 32"),
                          optional("open", &PoolCreate::open,
                                   "the pool is there: open it and take over what it "
                                   "holds"),
                          optional("force", &PoolCreate::force, "overwrite what is on the devices"),
                          optional("capacity_max_bytes", &PoolCreate::capacity_max_bytes,
                                   "the pool can grow to this; 0: eight times its size"));
    }
};

// A pool's name is written on its devices and stays.
struct PoolSet {
    std::optional<Labels> labels;
    static constexpr auto fields() {
        return std::tuple(optional("labels", &PoolSet::labels, "all of them"));
    }
};

struct PoolAddDevice {
    NewDevice device;
    bool force = false;
    static constexpr auto fields() {
        return std::tuple(required("device", &PoolAddDevice::device, ""),
                          optional("force", &PoolAddDevice::force, "overwrite what is on it"));
    }
};

struct PoolScrub {
    uint64_t bytes_per_second = 0;
    static constexpr auto fields() {
        return std::tuple(
            optional("bytes_per_second", &PoolScrub::bytes_per_second, "0: no limit"));
    }
};

struct VolumeCreate {
    std::string name;
    Labels labels;
    std::string pool;
    uint64_t size_bytes = 0;
    std::string snapshot;
    bool is_protected = false;
    static constexpr auto fields() {
        return std::tuple(
            required("name", &VolumeCreate::name, "a DNS label, one of its pool"),
            optional("labels", &VolumeCreate::labels, ""),
            optional("pool", &VolumeCreate::pool, "the snapshot's, or the only one, if empty"),
            optional("size_bytes", &VolumeCreate::size_bytes,
                     "multiple of 512, up to 16 TiB; the snapshot's if 0"),
            optional("snapshot", &VolumeCreate::snapshot, "begins with its content, at once"),
            optional("protected", &VolumeCreate::is_protected, "cannot be deleted"));
    }
};

// What is there is changed, all else stays.
struct VolumeSet {
    std::optional<std::string> name;
    std::optional<Labels> labels;
    std::optional<uint64_t> size_bytes;
    bool force = false;
    std::optional<bool> is_protected;
    static constexpr auto fields() {
        return std::tuple(
            optional("name", &VolumeSet::name, ""),
            optional("labels", &VolumeSet::labels, "all of them"),
            optional("size_bytes", &VolumeSet::size_bytes, ""),
            optional("force", &VolumeSet::force, "make it smaller: what lies beyond is lost"),
            optional("protected", &VolumeSet::is_protected, "cannot be deleted"));
    }
};

// Of one instant, all in one pool. For the disks of a VM: VmSnapshot.
struct SnapshotCreate {
    std::string name;
    Labels labels;
    std::vector<std::string> volumes;
    bool is_protected = false;
    static constexpr auto fields() {
        return std::tuple(
            required("name", &SnapshotCreate::name, "a DNS label, one of its first volume"),
            optional("labels", &SnapshotCreate::labels, ""),
            required("volumes", &SnapshotCreate::volumes, "1 to 256"),
            optional("protected", &SnapshotCreate::is_protected, "cannot be deleted"));
    }
};

struct SnapshotSet {
    std::optional<Labels> labels;
    std::optional<bool> is_protected;
    static constexpr auto fields() {
        return std::tuple(optional("labels", &SnapshotSet::labels, "all of them"),
                          optional("protected", &SnapshotSet::is_protected, "cannot be deleted"));
    }
};

// A new volume for each part of the snapshot: NAME, or NAME-2, NAME-3 … of further ones.
struct SnapshotClone {
    std::string name;
    Labels labels;
    static constexpr auto fields() {
        return std::tuple(required("name", &SnapshotClone::name, "of the new volume"),
                          optional("labels", &SnapshotClone::labels, ""));
    }
};

// The volumes get the content that the snapshot has. What they held is lost but for `safety`.
struct SnapshotRollback {
    std::string safety;
    static constexpr auto fields() {
        return std::tuple(optional("safety", &SnapshotRollback::safety,
                                   "name of a snapshot taken before; none if empty"));
    }
};

}  // namespace stoa::model
