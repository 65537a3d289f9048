// Steps of tasks about pools, volumes and snapshots; their arguments are values, and each can be
// done and undone again and again, whoever dies meanwhile. All ask stoa-blockd what is there.
// Behaviour when it is killed: steps_test.cc.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "base/describe.h"
#include "controlplane/records/records.h"
#include "controlplane/storage/blockd.h"
#include "controlplane/task/step.h"

namespace stoa::storage {

struct PoolDevice {
    std::string path;
    uint64_t create_bytes = 0;
    static constexpr auto fields() {
        return std::tuple(required("path", &PoolDevice::path, ""),
                          optional("create_bytes", &PoolDevice::create_bytes, ""));
    }
};

// Undone: the pool is closed, its record gone; files that were made stay.
struct PoolCreateStep {
    static constexpr std::string_view kType = "pool.create";
    Uuid pool;
    std::string name;
    std::vector<PoolDevice> devices;
    bool force = false;
    uint64_t capacity_max_bytes = 0;
    static constexpr auto fields() {
        return std::tuple(required("pool", &PoolCreateStep::pool, ""),
                          required("name", &PoolCreateStep::name, ""),
                          required("devices", &PoolCreateStep::devices, ""),
                          optional("force", &PoolCreateStep::force, ""),
                          optional("capacity_max_bytes", &PoolCreateStep::capacity_max_bytes, ""));
    }
};

// Makes the pool's record, and those of what it holds. Its id comes into the result as "pool".
struct PoolOpenStep {
    static constexpr std::string_view kType = "pool.open";
    std::string name;
    model::Labels labels;
    std::vector<std::string> devices;
    Uuid host;
    int64_t created_ns = 0;
    static constexpr auto fields() {
        return std::tuple(required("name", &PoolOpenStep::name, ""),
                          optional("labels", &PoolOpenStep::labels, ""),
                          required("devices", &PoolOpenStep::devices, ""),
                          required("host", &PoolOpenStep::host, ""),
                          required("created_ns", &PoolOpenStep::created_ns, ""));
    }
};

// Undone: as it is then.
struct PoolCloseStep {
    static constexpr std::string_view kType = "pool.close";
    Uuid pool;
    static constexpr auto fields() {
        return std::tuple(required("pool", &PoolCloseStep::pool, ""));
    }
};

// A device that was added stays.
struct PoolAddDeviceStep {
    static constexpr std::string_view kType = "pool.add-device";
    Uuid pool;
    PoolDevice device;
    bool force = false;
    static constexpr auto fields() {
        return std::tuple(required("pool", &PoolAddDeviceStep::pool, ""),
                          required("device", &PoolAddDeviceStep::device, ""),
                          optional("force", &PoolAddDeviceStep::force, ""));
    }
};

// What it found comes into the result as "scrub" (rpc::ScrubResult).
struct PoolScrubStep {
    static constexpr std::string_view kType = "pool.scrub";
    Uuid pool;
    uint64_t bytes_per_second = 0;
    static constexpr auto fields() {
        return std::tuple(required("pool", &PoolScrubStep::pool, ""),
                          optional("bytes_per_second", &PoolScrubStep::bytes_per_second, ""));
    }
};

struct VolumeCreateStep {
    static constexpr std::string_view kType = "volume.create";
    Uuid pool;
    Uuid volume;
    std::string name;
    uint64_t size_bytes = 0;
    std::optional<Uuid> source;
    std::string tags;
    bool is_protected = false;
    static constexpr auto fields() {
        return std::tuple(required("pool", &VolumeCreateStep::pool, ""),
                          required("volume", &VolumeCreateStep::volume, ""),
                          required("name", &VolumeCreateStep::name, ""),
                          required("size_bytes", &VolumeCreateStep::size_bytes, "0: the source's"),
                          optional("source", &VolumeCreateStep::source, "snapshot in the pool"),
                          optional("tags", &VolumeCreateStep::tags, ""),
                          optional("protected", &VolumeCreateStep::is_protected, ""));
    }
};

// Does nothing; undone, the record is again what it was before the plan's intent. First in a plan
// that changes one.
struct VolumeIntentStep {
    static constexpr std::string_view kType = "volume.intent";
    Uuid volume;
    std::string name;
    model::Labels labels;
    uint64_t size_bytes = 0;
    bool is_protected = false;
    static constexpr auto fields() {
        return std::tuple(required("volume", &VolumeIntentStep::volume, ""),
                          required("name", &VolumeIntentStep::name, "before, as all of these"),
                          required("labels", &VolumeIntentStep::labels, ""),
                          required("size_bytes", &VolumeIntentStep::size_bytes, ""),
                          required("protected", &VolumeIntentStep::is_protected, ""));
    }
};

struct VolumeDeleteStep {
    static constexpr std::string_view kType = "volume.delete";
    Uuid pool;
    Uuid volume;
    static constexpr auto fields() {
        return std::tuple(required("pool", &VolumeDeleteStep::pool, ""),
                          required("volume", &VolumeDeleteStep::volume, ""));
    }
};

struct VolumeResizeStep {
    static constexpr std::string_view kType = "volume.resize";
    Uuid pool;
    Uuid volume;
    uint64_t before_bytes = 0;
    uint64_t size_bytes = 0;
    static constexpr auto fields() {
        return std::tuple(required("pool", &VolumeResizeStep::pool, ""),
                          required("volume", &VolumeResizeStep::volume, ""),
                          required("before_bytes", &VolumeResizeStep::before_bytes, ""),
                          required("size_bytes", &VolumeResizeStep::size_bytes, ""));
    }
};

struct VolumeRenameStep {
    static constexpr std::string_view kType = "volume.rename";
    Uuid pool;
    Uuid volume;
    std::string before;
    std::string name;
    static constexpr auto fields() {
        return std::tuple(required("pool", &VolumeRenameStep::pool, ""),
                          required("volume", &VolumeRenameStep::volume, ""),
                          required("before", &VolumeRenameStep::before, ""),
                          required("name", &VolumeRenameStep::name, ""));
    }
};

struct VolumeProtectStep {
    static constexpr std::string_view kType = "volume.protect";
    Uuid pool;
    Uuid volume;
    bool on = false;
    static constexpr auto fields() {
        return std::tuple(required("pool", &VolumeProtectStep::pool, ""),
                          required("volume", &VolumeProtectStep::volume, ""),
                          required("on", &VolumeProtectStep::on, ""));
    }
};

struct VolumeRollbackStep {
    static constexpr std::string_view kType = "volume.rollback";
    Uuid pool;
    Uuid volume;
    Uuid snapshot;
    std::optional<Uuid> safety;
    static constexpr auto fields() {
        return std::tuple(required("pool", &VolumeRollbackStep::pool, ""),
                          required("volume", &VolumeRollbackStep::volume, ""),
                          required("snapshot", &VolumeRollbackStep::snapshot, ""),
                          optional("safety", &VolumeRollbackStep::safety, ""));
    }
};

// A part and where it is: what there is to do is known also when the volume's record is gone.
struct PlacedPart {
    Uuid pool;
    Uuid volume;
    Uuid snapshot;
    static constexpr auto fields() {
        return std::tuple(required("pool", &PlacedPart::pool, ""),
                          required("volume", &PlacedPart::volume, ""),
                          required("snapshot", &PlacedPart::snapshot, ""));
    }
};

struct SnapshotCreateStep {
    static constexpr std::string_view kType = "snapshot.create";
    Uuid snapshot;  // the record
    std::string name;
    std::vector<PlacedPart> parts;
    bool is_protected = false;
    static constexpr auto fields() {
        return std::tuple(required("snapshot", &SnapshotCreateStep::snapshot, ""),
                          required("name", &SnapshotCreateStep::name, "in the pool"),
                          required("parts", &SnapshotCreateStep::parts, ""),
                          optional("protected", &SnapshotCreateStep::is_protected, ""));
    }
};

struct SnapshotDeleteStep {
    static constexpr std::string_view kType = "snapshot.delete";
    Uuid snapshot;  // the record
    std::vector<PlacedPart> parts;
    static constexpr auto fields() {
        return std::tuple(required("snapshot", &SnapshotDeleteStep::snapshot, ""),
                          required("parts", &SnapshotDeleteStep::parts, ""));
    }
};

struct SnapshotProtectStep {
    static constexpr std::string_view kType = "snapshot.protect";
    Uuid snapshot;  // the record
    std::vector<PlacedPart> parts;
    bool on = false;
    static constexpr auto fields() {
        return std::tuple(required("snapshot", &SnapshotProtectStep::snapshot, ""),
                          required("parts", &SnapshotProtectStep::parts, ""),
                          required("on", &SnapshotProtectStep::on, ""));
    }
};

template <class Arguments>
[[nodiscard]] model::Step make_step(const Arguments& arguments, std::string text) {
    return {std::string(Arguments::kType), to_json(arguments), std::move(text)};
}

// One of each type, and task::RecordStep of volumes and snapshots, for Engine::add(). `records` and
// `blockd` outlive them.
[[nodiscard]] std::vector<std::unique_ptr<task::StepType>> make_steps(records::Records& records,
                                                                      Blockd& blockd);

// ---- what steps of others do likewise

// One atomic group in each pool. Those that are there already with the same ids are no error.
Async<> take_snapshots(Blockd& blockd, std::string name, std::vector<PlacedPart> parts);
Async<bool> has_snapshots(Blockd& blockd, std::vector<PlacedPart> parts);  // all of them
Async<> drop_snapshots(Blockd& blockd, std::vector<PlacedPart> parts);
// Parts whose volume has no record are left out: they went with it.
[[nodiscard]] std::vector<PlacedPart> place(const records::Records& records,
                                            const std::vector<model::SnapshotPart>& parts);

}  // namespace stoa::storage
