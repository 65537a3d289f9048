// Snapshots. Conventions: blockd.h.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/describe.h"

namespace stoa::rpc {

struct SnapshotSpec {
    std::string volume;
    std::string name;
    std::optional<Uuid> uuid;
    static constexpr auto fields() {
        return std::tuple(required("volume", &SnapshotSpec::volume, ""),
                          required("name", &SnapshotSpec::name, ""),
                          optional("uuid", &SnapshotSpec::uuid, "chosen by the caller"));
    }
};

struct SnapshotCreate {
    std::string pool;
    std::vector<SnapshotSpec> snapshots;
    static constexpr auto fields() {
        return std::tuple(
            required("pool", &SnapshotCreate::pool, ""),
            required("snapshots", &SnapshotCreate::snapshots, "1 to 256, of one instant"));
    }
};

struct SnapshotCreated {
    std::vector<Uuid> uuids;
    static constexpr auto fields() {
        return std::tuple(required("uuids", &SnapshotCreated::uuids, "in the order asked"));
    }
};

struct SnapshotRef {
    std::string pool;
    std::string snapshot;
    static constexpr auto fields() {
        return std::tuple(required("pool", &SnapshotRef::pool, ""),
                          required("snapshot", &SnapshotRef::snapshot, ""));
    }
};

struct SnapshotQuery {
    std::string pool;
    std::optional<std::string> volume;
    static constexpr auto fields() {
        return std::tuple(required("pool", &SnapshotQuery::pool, ""),
                          optional("volume", &SnapshotQuery::volume, "only its snapshots"));
    }
};

struct SnapshotStatus {
    Uuid uuid;
    std::string name;
    std::optional<Uuid> volume;
    uint64_t size_bytes = 0;
    uint64_t mapped_bytes = 0;
    uint64_t created_ns = 0;
    bool is_protected = false;
    bool deleting = false;
    std::vector<Uuid> clones;
    static constexpr auto fields() {
        return std::tuple(
            required("uuid", &SnapshotStatus::uuid, ""),
            required("name", &SnapshotStatus::name, ""),
            optional("volume", &SnapshotStatus::volume, "missing: clones outlive the volume"),
            required("size_bytes", &SnapshotStatus::size_bytes, ""),
            required("mapped_bytes", &SnapshotStatus::mapped_bytes, ""),
            required("created_ns", &SnapshotStatus::created_ns, ""),
            required("protected", &SnapshotStatus::is_protected, ""),
            required("deleting", &SnapshotStatus::deleting, ""),
            required("clones", &SnapshotStatus::clones, "volumes made from it"));
    }
};

struct SnapshotList {
    std::vector<SnapshotStatus> snapshots;
    static constexpr auto fields() {
        return std::tuple(required("snapshots", &SnapshotList::snapshots, ""));
    }
};

struct SnapshotClone {
    std::string pool;
    std::string snapshot;
    std::string name;
    std::optional<Uuid> uuid;
    uint64_t size_bytes = 0;
    std::string tags;
    static constexpr auto fields() {
        return std::tuple(required("pool", &SnapshotClone::pool, ""),
                          required("snapshot", &SnapshotClone::snapshot, ""),
                          required("name", &SnapshotClone::name, "of the new volume"),
                          optional("uuid", &SnapshotClone::uuid, "chosen by the caller"),
                          optional("size_bytes", &SnapshotClone::size_bytes, "0: the snapshot's"),
                          optional("tags", &SnapshotClone::tags, "at most 192 bytes"));
    }
};

struct Rollback {
    std::string pool;
    std::string volume;
    std::string snapshot;
    static constexpr auto fields() {
        return std::tuple(required("pool", &Rollback::pool, ""),
                          required("volume", &Rollback::volume, ""),
                          required("snapshot", &Rollback::snapshot, ""));
    }
};

}  // namespace stoa::rpc
