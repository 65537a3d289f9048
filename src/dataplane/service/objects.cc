#include "dataplane/service/objects.h"

#include <fmt/format.h>

#include <optional>
#include <span>
#include <string>

namespace stoa::service {

namespace {

std::string text_of(const std::vector<std::byte>& bytes) {
    std::string text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return text;
}

std::optional<Uuid> unless_nil(const Uuid& uuid) {
    return uuid.is_nil() ? std::nullopt : std::optional(uuid);
}

}  // namespace

Result<Uuid> find_volume(const pool::Pool& pool, std::string_view name_or_uuid) {
    if (const auto uuid = Uuid::parse(name_or_uuid); uuid.ok() && pool.volume(*uuid).ok()) {
        return *uuid;
    }
    return pool.find_volume(std::string(name_or_uuid));
}

Result<Uuid> find_snapshot(const pool::Pool& pool, std::string_view name_or_uuid) {
    if (const auto uuid = Uuid::parse(name_or_uuid); uuid.ok() && pool.snapshot_info(*uuid).ok()) {
        return *uuid;
    }
    const size_t at = name_or_uuid.rfind('@');
    if (at != std::string_view::npos) {
        TRY_ASSIGN(const Uuid volume, find_volume(pool, name_or_uuid.substr(0, at)));
        for (const pool::SnapshotInfo& snapshot : pool.snapshots(volume)) {
            if (snapshot.name == name_or_uuid.substr(at + 1)) return snapshot.uuid;
        }
    }
    return Error(ErrorCode::not_found,
                 fmt::format("snapshot {}: pool {} has none (write its UUID, or VOLUME@NAME)",
                             to_text(Json(name_or_uuid)), pool.info().name));
}

Result<Uuid> find_object(const pool::Pool& pool, std::string_view name_or_uuid) {
    auto volume = find_volume(pool, name_or_uuid);
    if (volume.ok()) return volume;
    auto snapshot = find_snapshot(pool, name_or_uuid);
    if (snapshot.ok()) return snapshot;
    return name_or_uuid.contains('@') ? snapshot : volume;
}

Result<rpc::VolumeStatus> status_of(const pool::Pool& pool, const Uuid& uuid) {
    TRY_ASSIGN(const pool::VolumeInfo info, pool.volume(uuid));
    rpc::VolumeStatus status;
    status.uuid = info.uuid;
    status.name = info.name;
    status.size_bytes = info.size_bytes;
    status.mapped_bytes = info.mapped_bytes;
    status.created_ns = info.created_ns;
    status.parent = unless_nil(info.parent);
    status.origin = unless_nil(info.origin);
    status.hydrated = info.hydrated;
    status.is_protected = info.is_protected;
    status.deleting = info.deleting;
    status.snapshots = info.snapshot_count;
    status.tags = text_of(info.tags);
    return status;
}

Result<rpc::SnapshotStatus> snapshot_status_of(const pool::Pool& pool, const Uuid& uuid) {
    TRY_ASSIGN(const pool::SnapshotInfo info, pool.snapshot_info(uuid));
    rpc::SnapshotStatus status;
    status.uuid = info.uuid;
    status.name = info.name;
    status.volume = unless_nil(info.volume);
    status.size_bytes = info.size_bytes;
    status.mapped_bytes = info.mapped_bytes;
    status.created_ns = info.created_ns;
    status.is_protected = info.is_protected;
    status.deleting = info.deleting;
    status.clones = info.clones;
    return status;
}

std::vector<std::byte> bytes_of(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    return {bytes.begin(), bytes.end()};
}

}  // namespace stoa::service
