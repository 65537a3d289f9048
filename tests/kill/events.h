// What the child tells its parent through a pipe, one fixed-size message each: every operation
// before it starts and after it was acknowledged, before the same worker starts another one.
#pragma once

#include <cstdint>

#include "base/uuid.h"

namespace stoa::killtest {

inline constexpr uint64_t kVolumes = 3;
inline constexpr uint64_t kVolumeBytes = uint64_t{4} << 20;
inline constexpr uint64_t kVolumeSectors = kVolumeBytes / 512;

enum class EventKind : uint8_t {
    opening,       // the pool
    opened,        // recovered and ready
    started,       // operation `id`
    acknowledged,  // operation `id`
    closing,
    closed,
    failed,  // an operation, or the pool; the message is on standard error
};

enum class OperationKind : uint8_t { write, discard, zero, flush, snapshot, remove };

struct Event {
    EventKind kind = EventKind::opening;
    OperationKind operation = OperationKind::write;
    bool durable = false;  // force unit access
    uint8_t volumes = 0;   // snapshot: bit v set = of volume v; else: the volume
    uint32_t reserved = 0;
    uint64_t id = 0;  // of the operation, and the version of what it writes; grows from run to run
    uint64_t first_sector = 0;
    uint64_t sectors = 0;
    uint64_t target = 0;  // remove: the snapshot's id
};

inline Uuid volume_uuid(uint64_t volume) { return Uuid::from_random(volume + 1, 1); }
inline Uuid snapshot_uuid(uint64_t id, uint64_t volume) {
    return Uuid::from_random(id, 2 + volume);
}

}  // namespace stoa::killtest
