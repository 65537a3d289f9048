// Records of what a pool holds (reconcile.h), for pools that come from elsewhere.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "controlplane/storage/plan_parts.h"
#include "controlplane/storage/reconcile.h"
#include "controlplane/storage/tags.h"

namespace stoa::storage {

namespace {

constexpr std::string_view kVmSnapshotPrefix = "vm.";

// A name in the pool as a DNS label.
std::string fitted_name(std::string_view name, std::string_view otherwise) {
    std::string label;
    for (const char c : name.substr(0, model::kNameBytesMax)) {
        const bool is_upper = c >= 'A' && c <= 'Z';
        const bool fits = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
        label += fits ? c : is_upper ? static_cast<char>(c - 'A' + 'a') : '-';
    }
    label.erase(0, std::min(label.find_first_not_of('-'), label.size()));
    while (label.ends_with('-')) label.pop_back();
    return model::check_name(label).ok() ? label : std::string(otherwise);
}

template <class Kind>
Async<> make_record(records::Records& records, model::Record<Kind> record) {
    state::Txn txn;
    records::create(txn, record);
    const auto made = co_await records.commit(std::move(txn));
    if (!made.ok()) co_return made.error();
    co_return Result<void>();
}

std::string free_snapshot_name(const records::Records& records, const Uuid& scope,
                               const std::string& stem) {
    std::string name = stem;
    for (size_t i = 2;; ++i) {
        const auto taken = records.find<model::Snapshot>(scope.to_string() + "/" + name);
        if (!taken.ok() && taken.error().code() == ErrorCode::not_found) return name;
        const std::string suffix = fmt::format("-{}", i);
        name = stem.substr(0, model::kNameBytesMax - suffix.size()) + suffix;
    }
}

// The VM that has the volume, if it is there.
std::optional<Uuid> vm_of(const records::Records& records, const Uuid& volume) {
    const VolumeRecord* record = records.get<model::Volume>(volume);
    if (record == nullptr) return std::nullopt;
    const auto label = record->labels.find(std::string(kVmLabel));
    if (label == record->labels.end()) return std::nullopt;
    const Result<Uuid> id = Uuid::parse(label->second);
    if (!id.ok() || records.get<model::Vm>(*id) == nullptr) return std::nullopt;
    return *id;
}

// Snapshots of one pool that become one record.
struct Group {
    std::optional<Uuid> vm;
    std::string name;
    std::vector<model::SnapshotPart> parts;
    bool is_protected = false;
    int64_t taken_ns = 0;
};

std::vector<Group> group_snapshots(const records::Records& records,
                                   const rpc::SnapshotList& snapshots) {
    std::set<Uuid> known;
    for (const auto& [id, snapshot] : records.all<model::Snapshot>()) {
        for (const model::SnapshotPart& part : snapshot.spec.parts) known.insert(part.snapshot);
    }
    for (const auto& [id, image] : records.all<model::Image>()) {
        if (image.spec.snapshot) known.insert(*image.spec.snapshot);
    }
    std::map<std::pair<Uuid, std::string>, Group> of_vms;
    std::vector<Group> groups;
    for (const rpc::SnapshotStatus& one : snapshots.snapshots) {
        if (one.deleting || !one.volume || known.contains(one.uuid)) continue;
        if (records.get<model::Volume>(*one.volume) == nullptr) continue;
        const bool is_of_vm = one.name.starts_with(kVmSnapshotPrefix);
        const auto vm = is_of_vm ? vm_of(records, *one.volume) : std::nullopt;
        Group single;
        Group& group = vm ? of_vms[{*vm, one.name}] : single;
        group.vm = vm;
        group.name = fitted_name(vm ? std::string_view(one.name).substr(kVmSnapshotPrefix.size())
                                    : std::string_view(one.name),
                                 "snapshot");
        group.parts.push_back({*one.volume, one.uuid});
        group.is_protected = group.is_protected || one.is_protected;
        group.taken_ns = static_cast<int64_t>(one.created_ns);
        if (!vm) groups.push_back(std::move(single));
    }
    for (auto& [key, group] : of_vms) groups.push_back(std::move(group));
    return groups;
}

// A volume that was rolled back has its own snapshot for its parent: that is no source.
std::optional<Uuid> source_of(const rpc::VolumeStatus& volume, const rpc::SnapshotList& snapshots) {
    const auto is_own = [&volume](const rpc::SnapshotStatus& one) {
        return one.uuid == volume.parent && one.volume == volume.uuid;
    };
    return std::ranges::any_of(snapshots.snapshots, is_own) ? std::nullopt : volume.parent;
}

VolumeRecord record_of(const records::Records& records, const rpc::VolumeStatus& volume,
                       const Uuid& pool, const Uuid& host) {
    VolumeRecord record;
    record.id = volume.uuid;
    record.name = free_volume_name(records, pool, fitted_name(volume.name, "volume"));
    record.labels = labels_of(volume.tags);
    record.created_ns = static_cast<int64_t>(volume.created_ns);
    record.spec.pool = pool;
    record.spec.size_bytes = volume.size_bytes;
    record.spec.is_protected = volume.is_protected;
    record.status.state = model::StorageState::ready;
    if (!host.is_nil()) record.status.host = host;
    return record;
}

}  // namespace

Async<size_t> import_pool(records::Records& records, Blockd& blockd, Uuid pool, Uuid host) {
    size_t made = 0;
    CO_TRY_ASSIGN(const rpc::VolumeList volumes, co_await blockd.volume_list(pool));
    CO_TRY_ASSIGN(const rpc::SnapshotList snapshots, co_await blockd.snapshot_list(pool));
    for (const rpc::VolumeStatus& volume : volumes.volumes) {
        if (volume.deleting || records.get<model::Volume>(volume.uuid) != nullptr) continue;
        VolumeRecord record = record_of(records, volume, pool, host);
        record.spec.source = source_of(volume, snapshots);
        CO_TRY(co_await make_record(records, std::move(record)));
        ++made;
    }
    for (const Group& group : group_snapshots(records, snapshots)) {
        SnapshotRecord record;
        // One for ever, however often it is imported.
        record.id = group.parts.front().snapshot;
        record.spec.vm = group.vm;
        record.spec.parts = group.parts;
        record.spec.is_protected = group.is_protected;
        record.name = free_snapshot_name(records, model::Snapshot::scope(record.spec), group.name);
        record.created_ns = group.taken_ns;
        record.status.state = model::StorageState::ready;
        record.status.taken_ns = group.taken_ns;
        CO_TRY(co_await make_record(records, std::move(record)));
        ++made;
    }
    co_return made;
}

}  // namespace stoa::storage
