// Volumes, and what volumes and snapshots have in common. Conventions: blockd.h.
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

struct VolumeCreate {
    std::string pool;
    std::string name;
    std::optional<Uuid> uuid;
    uint64_t size_bytes = 0;
    std::optional<Uuid> origin;
    std::string tags;
    static constexpr auto fields() {
        return std::tuple(
            required("pool", &VolumeCreate::pool, ""), required("name", &VolumeCreate::name, ""),
            optional("uuid", &VolumeCreate::uuid, "chosen by the caller: asked twice, made once"),
            optional("size_bytes", &VolumeCreate::size_bytes,
                     "multiple of 512, up to 16 TiB; not needed with an origin: its size"),
            optional("origin", &VolumeCreate::origin, "blocks never written come from there"),
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

}  // namespace stoa::rpc
