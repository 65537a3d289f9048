// Pools, as stoa-blockd is asked about them. Conventions: blockd.h.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/describe.h"

namespace stoa::rpc {

struct DeviceSpec {
    std::string path;
    uint64_t create_bytes = 0;
    static constexpr auto fields() {
        return std::tuple(required("path", &DeviceSpec::path, "file or block device"),
                          optional("create_bytes", &DeviceSpec::create_bytes,
                                   "make a new sparse file of this size; 0: the device exists"));
    }
};

struct PoolCreate {
    std::string name;
    std::optional<Uuid> uuid;
    std::vector<DeviceSpec> devices;
    bool force = false;
    uint64_t capacity_max_bytes = 0;
    uint64_t reserve_bytes = 0;
    static constexpr auto fields() {
        return std::tuple(
            required("name", &PoolCreate::name, "1 to 31 bytes"),
            optional("uuid", &PoolCreate::uuid, "chosen by the caller"),
            required("devices", &PoolCreate::devices, "1 to 32"),
            optional("force", &PoolCreate::force, "overwrite what is on the devices"),
            optional("capacity_max_bytes", &PoolCreate::capacity_max_bytes,
                     "the pool can grow to this; 0: eight times its size"),
            optional("reserve_bytes", &PoolCreate::reserve_bytes, "kept for metadata; 0: by size"));
    }
};

struct PoolOpen {
    std::vector<std::string> devices;
    bool read_only = false;
    bool accept_damaged = false;
    bool accept_missing_devices = false;
    static constexpr auto fields() {
        return std::tuple(required("devices", &PoolOpen::devices, "paths, in any order"),
                          optional("read_only", &PoolOpen::read_only, "change nothing"),
                          optional("accept_damaged", &PoolOpen::accept_damaged,
                                   "open although newer state may exist: loses what is newer"),
                          optional("accept_missing_devices", &PoolOpen::accept_missing_devices,
                                   "open although devices are missing"));
    }
};

struct PoolRef {
    std::string pool;
    static constexpr auto fields() { return std::tuple(required("pool", &PoolRef::pool, "")); }
};

struct PoolAddDevice {
    std::string pool;
    DeviceSpec device;
    bool force = false;
    static constexpr auto fields() {
        return std::tuple(required("pool", &PoolAddDevice::pool, ""),
                          required("device", &PoolAddDevice::device, ""),
                          optional("force", &PoolAddDevice::force, "overwrite what is on it"));
    }
};

struct PoolScrub {
    std::string pool;
    uint64_t bytes_per_second = 0;
    static constexpr auto fields() {
        return std::tuple(
            required("pool", &PoolScrub::pool, ""),
            optional("bytes_per_second", &PoolScrub::bytes_per_second, "0: no limit"));
    }
};

enum class PoolState : uint8_t { open, opening, failed };
constexpr std::array<std::string_view, 3> enum_names(PoolState /*type*/) {
    return {"open", "opening", "failed"};
}

// total = system + data + nodes + quarantine + bad + free + away.
struct Space {
    uint64_t total_bytes = 0;
    uint64_t system_bytes = 0;
    uint64_t data_bytes = 0;
    uint64_t node_bytes = 0;
    uint64_t quarantine_bytes = 0;
    uint64_t bad_bytes = 0;
    uint64_t free_bytes = 0;
    uint64_t away_bytes = 0;
    uint64_t reserve_bytes = 0;
    bool settling = false;
    static constexpr auto fields() {
        return std::tuple(
            required("total_bytes", &Space::total_bytes, "all devices"),
            required("system_bytes", &Space::system_bytes, "labels, journal, tables"),
            required("data_bytes", &Space::data_bytes, "content of volumes and snapshots"),
            required("node_bytes", &Space::node_bytes, "their maps"),
            required("quarantine_bytes", &Space::quarantine_bytes, "freed, not yet reusable"),
            required("bad_bytes", &Space::bad_bytes, "blocks that failed"),
            required("free_bytes", &Space::free_bytes, "with the reserve"),
            required("away_bytes", &Space::away_bytes, "free, on missing devices"),
            required("reserve_bytes", &Space::reserve_bytes, "only metadata may take it"),
            required("settling", &Space::settling, "a deletion gives space back meanwhile"));
    }
};

struct DeviceStatus {
    Uuid uuid;
    std::string path;
    uint64_t size_bytes = 0;
    bool missing = false;
    bool host_full = false;
    static constexpr auto fields() {
        return std::tuple(required("uuid", &DeviceStatus::uuid, ""),
                          required("path", &DeviceStatus::path, ""),
                          required("size_bytes", &DeviceStatus::size_bytes, ""),
                          required("missing", &DeviceStatus::missing, ""),
                          required("host_full", &DeviceStatus::host_full,
                                   "writes wait until the file system below it has space"));
    }
};

struct PoolStatus {
    Uuid uuid;
    std::string name;
    PoolState state = PoolState::open;
    std::string error;
    bool read_only = false;
    std::string read_only_reason;
    std::vector<DeviceStatus> devices;
    std::optional<Space> space;
    uint64_t held_writes = 0;
    static constexpr auto fields() {
        return std::tuple(
            required("uuid", &PoolStatus::uuid, ""), required("name", &PoolStatus::name, ""),
            required("state", &PoolStatus::state, ""),
            optional("error", &PoolStatus::error, "why it is not open"),
            required("read_only", &PoolStatus::read_only, ""),
            optional("read_only_reason", &PoolStatus::read_only_reason, ""),
            required("devices", &PoolStatus::devices, ""),
            optional("space", &PoolStatus::space, "of an open pool"),
            required("held_writes", &PoolStatus::held_writes, "that wait for space now"));
    }
};

struct PoolList {
    std::vector<PoolStatus> pools;
    static constexpr auto fields() { return std::tuple(required("pools", &PoolList::pools, "")); }
};

struct Damage {
    Uuid object;
    uint64_t offset_bytes = 0;
    uint64_t length_bytes = 0;
    static constexpr auto fields() {
        return std::tuple(required("object", &Damage::object, "volume or snapshot"),
                          required("offset_bytes", &Damage::offset_bytes, ""),
                          required("length_bytes", &Damage::length_bytes, ""));
    }
};

struct DamageList {
    std::vector<Damage> damage;
    static constexpr auto fields() {
        return std::tuple(required("damage", &DamageList::damage, ""));
    }
};

}  // namespace stoa::rpc
