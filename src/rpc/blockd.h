// What stoa-blockd is asked and what it answers: one struct a message, described once.
//
// Wherever a pool is named, its name or its UUID will do; wherever a volume is named, its name or
// UUID; a snapshot is a UUID or VOLUME@NAME. Sizes are bytes, times nanoseconds since 1970.
// How each method behaves: docs/blockd.md; the engine's rules: src/dataplane/pool/pool.h.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/describe.h"

namespace stoa::rpc {

// The answer of what has nothing to say, and the question without parameters.
struct Nothing {
    static constexpr auto fields() { return std::tuple(); }
};

// ---- pools

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
    static constexpr auto fields() {
        return std::tuple(required("uuid", &PoolStatus::uuid, ""),
                          required("name", &PoolStatus::name, ""),
                          required("state", &PoolStatus::state, ""),
                          optional("error", &PoolStatus::error, "why it is not open"),
                          required("read_only", &PoolStatus::read_only, ""),
                          optional("read_only_reason", &PoolStatus::read_only_reason, ""),
                          required("devices", &PoolStatus::devices, ""),
                          optional("space", &PoolStatus::space, "of an open pool"));
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

// ---- volumes and snapshots

struct VolumeCreate {
    std::string pool;
    std::string name;
    std::optional<Uuid> uuid;
    uint64_t size_bytes = 0;
    std::string tags;
    static constexpr auto fields() {
        return std::tuple(
            required("pool", &VolumeCreate::pool, ""), required("name", &VolumeCreate::name, ""),
            optional("uuid", &VolumeCreate::uuid, "chosen by the caller: asked twice, made once"),
            required("size_bytes", &VolumeCreate::size_bytes, "multiple of 512, up to 16 TiB"),
            optional("tags", &VolumeCreate::tags, "at most 192 bytes, the caller's own"));
    }
};

struct VolumeRef {
    std::string pool;
    std::string volume;
    static constexpr auto fields() {
        return std::tuple(required("pool", &VolumeRef::pool, ""),
                          required("volume", &VolumeRef::volume, ""));
    }
};

struct VolumeRename {
    std::string pool;
    std::string volume;
    std::string name;
    static constexpr auto fields() {
        return std::tuple(required("pool", &VolumeRename::pool, ""),
                          required("volume", &VolumeRename::volume, ""),
                          required("name", &VolumeRename::name, "the new one"));
    }
};

struct VolumeResize {
    std::string pool;
    std::string volume;
    uint64_t size_bytes = 0;
    bool allow_shrink = false;
    static constexpr auto fields() {
        return std::tuple(
            required("pool", &VolumeResize::pool, ""),
            required("volume", &VolumeResize::volume, ""),
            required("size_bytes", &VolumeResize::size_bytes, ""),
            optional("allow_shrink", &VolumeResize::allow_shrink, "lose what lies beyond"));
    }
};

struct VolumeSetTags {
    std::string pool;
    std::string volume;
    std::string tags;
    static constexpr auto fields() {
        return std::tuple(required("pool", &VolumeSetTags::pool, ""),
                          required("volume", &VolumeSetTags::volume, ""),
                          required("tags", &VolumeSetTags::tags, "at most 192 bytes"));
    }
};

struct Protect {
    std::string pool;
    std::string object;
    bool on = true;
    static constexpr auto fields() {
        return std::tuple(required("pool", &Protect::pool, ""),
                          required("object", &Protect::object, "volume or snapshot"),
                          required("on", &Protect::on, ""));
    }
};

struct VolumeStatus {
    Uuid uuid;
    std::string name;
    uint64_t size_bytes = 0;
    uint64_t mapped_bytes = 0;
    uint64_t created_ns = 0;
    std::optional<Uuid> parent;
    std::optional<Uuid> origin;
    bool hydrated = true;
    bool is_protected = false;
    bool deleting = false;
    uint32_t snapshots = 0;
    std::string tags;
    static constexpr auto fields() {
        return std::tuple(
            required("uuid", &VolumeStatus::uuid, ""), required("name", &VolumeStatus::name, ""),
            required("size_bytes", &VolumeStatus::size_bytes, ""),
            required("mapped_bytes", &VolumeStatus::mapped_bytes, "reached, shared or not"),
            required("created_ns", &VolumeStatus::created_ns, ""),
            optional("parent", &VolumeStatus::parent, "the snapshot it was made from"),
            optional("origin", &VolumeStatus::origin, ""),
            required("hydrated", &VolumeStatus::hydrated, ""),
            required("protected", &VolumeStatus::is_protected, ""),
            required("deleting", &VolumeStatus::deleting, ""),
            required("snapshots", &VolumeStatus::snapshots, ""),
            required("tags", &VolumeStatus::tags, ""));
    }
};

struct VolumeList {
    std::vector<VolumeStatus> volumes;
    static constexpr auto fields() {
        return std::tuple(required("volumes", &VolumeList::volumes, ""));
    }
};

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

struct DiffQuery {
    std::string pool;
    std::string from;
    std::string to;
    uint64_t offset_bytes = 0;
    uint32_t ranges_max = 1024;
    static constexpr auto fields() {
        return std::tuple(required("pool", &DiffQuery::pool, ""),
                          required("from", &DiffQuery::from, "the older snapshot or volume"),
                          required("to", &DiffQuery::to, "the newer one"),
                          optional("offset_bytes", &DiffQuery::offset_bytes, "where to go on"),
                          optional("ranges_max", &DiffQuery::ranges_max, "1 to 4096"));
    }
};

enum class RangeKind : uint8_t { absent, hole, data, damaged };
constexpr std::array<std::string_view, 4> enum_names(RangeKind /*type*/) {
    return {"absent", "hole", "data", "damaged"};
}

struct DiffRange {
    uint64_t offset_bytes = 0;
    uint64_t length_bytes = 0;
    RangeKind kind = RangeKind::data;
    static constexpr auto fields() {
        return std::tuple(required("offset_bytes", &DiffRange::offset_bytes, ""),
                          required("length_bytes", &DiffRange::length_bytes, ""),
                          required("kind", &DiffRange::kind, "in the newer one"));
    }
};

struct Diff {
    std::vector<DiffRange> ranges;
    uint64_t next_offset_bytes = 0;
    bool finished = false;
    static constexpr auto fields() {
        return std::tuple(required("ranges", &Diff::ranges, ""),
                          required("next_offset_bytes", &Diff::next_offset_bytes, ""),
                          required("finished", &Diff::finished, ""));
    }
};

struct ObjectRef {
    std::string pool;
    std::string object;
    static constexpr auto fields() {
        return std::tuple(required("pool", &ObjectRef::pool, ""),
                          required("object", &ObjectRef::object, "volume or snapshot"));
    }
};

struct Bytes {
    uint64_t bytes = 0;
    static constexpr auto fields() { return std::tuple(required("bytes", &Bytes::bytes, "")); }
};

struct ExplainQuery {
    std::string pool;
    std::string object;
    uint64_t offset_bytes = 0;
    static constexpr auto fields() {
        return std::tuple(required("pool", &ExplainQuery::pool, ""),
                          required("object", &ExplainQuery::object, "volume or snapshot"),
                          required("offset_bytes", &ExplainQuery::offset_bytes, ""));
    }
};

struct Explanation {
    RangeKind kind = RangeKind::absent;
    uint64_t address = 0;
    uint64_t birth = 0;
    uint32_t crc32c = 0;
    std::string device;
    uint64_t device_offset_bytes = 0;
    bool checksum_ok = false;
    std::vector<Uuid> shared_with;
    static constexpr auto fields() {
        return std::tuple(required("kind", &Explanation::kind, ""),
                          required("address", &Explanation::address, "block in the pool"),
                          required("birth", &Explanation::birth, "epoch of its writing"),
                          required("crc32c", &Explanation::crc32c, ""),
                          required("device", &Explanation::device, ""),
                          required("device_offset_bytes", &Explanation::device_offset_bytes, ""),
                          required("checksum_ok", &Explanation::checksum_ok, ""),
                          required("shared_with", &Explanation::shared_with, ""));
    }
};

// ---- attachments

// Files are PEM and are read by the daemon.
struct Tls {
    std::string certificate_file;
    std::string key_file;
    std::string client_authority_file;
    static constexpr auto fields() {
        return std::tuple(
            required("certificate_file", &Tls::certificate_file, "the server's own first"),
            required("key_file", &Tls::key_file, "without a passphrase"),
            optional("client_authority_file", &Tls::client_authority_file,
                     "clients need a certificate that it signed"));
    }
    friend bool operator==(const Tls&, const Tls&) = default;
};

struct AttachmentCreate {
    std::optional<Uuid> uuid;
    std::string pool;
    std::string object;
    std::string listen;
    uint64_t epoch = 0;
    bool read_only = false;
    std::optional<uint32_t> owner;
    std::optional<uint32_t> group;
    std::string mode = "0600";
    std::string export_name;
    std::optional<Tls> tls;
    static constexpr auto fields() {
        return std::tuple(
            optional("uuid", &AttachmentCreate::uuid, "chosen by the caller"),
            required("pool", &AttachmentCreate::pool, ""),
            required("object", &AttachmentCreate::object, "volume, or snapshot (always read-only)"),
            required("listen", &AttachmentCreate::listen,
                     "unix:PATH or tcp:HOST:PORT; port 0: one that is free"),
            optional("epoch", &AttachmentCreate::epoch,
                     "of a read-write attachment: above that of the one it cuts off"),
            optional("read_only", &AttachmentCreate::read_only, ""),
            optional("owner", &AttachmentCreate::owner, "uid of the Unix socket"),
            optional("group", &AttachmentCreate::group, "gid of the Unix socket"),
            optional("mode", &AttachmentCreate::mode, "of the Unix socket, octal"),
            optional("export_name", &AttachmentCreate::export_name,
                     "besides the empty one; default: the volume's name"),
            optional("tls", &AttachmentCreate::tls, "no client is served without TLS then"));
    }
};

struct AttachmentRef {
    Uuid uuid;
    static constexpr auto fields() {
        return std::tuple(required("uuid", &AttachmentRef::uuid, ""));
    }
};

enum class AttachmentState : uint8_t { serving, waiting };
constexpr std::array<std::string_view, 2> enum_names(AttachmentState /*type*/) {
    return {"serving", "waiting"};
}

struct AttachmentStatus {
    Uuid uuid;
    Uuid pool;
    Uuid object;
    std::string listen;
    std::string uri;
    uint64_t epoch = 0;
    bool read_only = false;
    AttachmentState state = AttachmentState::serving;
    std::string error;
    uint32_t connections = 0;
    static constexpr auto fields() {
        return std::tuple(required("uuid", &AttachmentStatus::uuid, ""),
                          required("pool", &AttachmentStatus::pool, ""),
                          required("object", &AttachmentStatus::object, ""),
                          required("listen", &AttachmentStatus::listen, "with the real port"),
                          required("uri", &AttachmentStatus::uri, "for NBD clients"),
                          required("epoch", &AttachmentStatus::epoch, ""),
                          required("read_only", &AttachmentStatus::read_only, ""),
                          required("state", &AttachmentStatus::state, ""),
                          optional("error", &AttachmentStatus::error, "what it waits for"),
                          required("connections", &AttachmentStatus::connections, "clients now"));
    }
};

struct AttachmentList {
    std::vector<AttachmentStatus> attachments;
    static constexpr auto fields() {
        return std::tuple(required("attachments", &AttachmentList::attachments, ""));
    }
};

// ---- background work

enum class TaskState : uint8_t { running, done, failed, cancelled };
constexpr std::array<std::string_view, 4> enum_names(TaskState /*type*/) {
    return {"running", "done", "failed", "cancelled"};
}

struct TaskRef {
    uint64_t task = 0;
    static constexpr auto fields() { return std::tuple(required("task", &TaskRef::task, "")); }
};

struct TaskStatus {
    uint64_t task = 0;
    std::string what;
    TaskState state = TaskState::running;
    std::string error;
    uint64_t done_bytes = 0;
    uint64_t total_bytes = 0;
    std::optional<Json> result;
    static constexpr auto fields() {
        return std::tuple(
            required("task", &TaskStatus::task, "its number, of this run of the daemon"),
            required("what", &TaskStatus::what, "method and object"),
            required("state", &TaskStatus::state, ""),
            optional("error", &TaskStatus::error, "why it failed"),
            optional("done_bytes", &TaskStatus::done_bytes, ""),
            optional("total_bytes", &TaskStatus::total_bytes, "0: not known"),
            optional("result", &TaskStatus::result, "when it is done"));
    }
};

struct TaskList {
    std::vector<TaskStatus> tasks;
    static constexpr auto fields() { return std::tuple(required("tasks", &TaskList::tasks, "")); }
};

struct ScrubResult {
    uint64_t blocks_checked = 0;
    uint64_t blocks_repaired = 0;
    uint64_t blocks_damaged = 0;
    static constexpr auto fields() {
        return std::tuple(required("blocks_checked", &ScrubResult::blocks_checked, ""),
                          required("blocks_repaired", &ScrubResult::blocks_repaired, ""),
                          required("blocks_damaged", &ScrubResult::blocks_damaged, ""));
    }
};

// ---- the daemon

struct DaemonInfo {
    std::string version;
    std::string instance;
    uint64_t pid = 0;
    uint64_t started_ns = 0;
    static constexpr auto fields() {
        return std::tuple(required("version", &DaemonInfo::version, ""),
                          required("instance", &DaemonInfo::instance, "8 hexadecimal digits"),
                          required("pid", &DaemonInfo::pid, ""),
                          required("started_ns", &DaemonInfo::started_ns, ""));
    }
};

struct MethodList {
    std::vector<std::string> methods;
    static constexpr auto fields() {
        return std::tuple(required("methods", &MethodList::methods, ""));
    }
};

// Sent as the notification "event" to those who called events.subscribe.
struct Event {
    uint64_t sequence = 0;
    uint64_t time_ns = 0;
    std::string text;
    static constexpr auto fields() {
        return std::tuple(required("sequence", &Event::sequence, "gapless"),
                          required("time_ns", &Event::time_ns, ""),
                          required("text", &Event::text, "names what it befell"));
    }
};

struct Text {
    std::string text;
    static constexpr auto fields() { return std::tuple(required("text", &Text::text, "")); }
};

}  // namespace stoa::rpc
