// What a run does: the alphabet of operations, and what one seed enables of it.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "dataplane/io/sim/random.h"
#include "tests/sim/world.h"

namespace stoa::simtest {

enum class OperationKind : uint8_t {
    write,
    write_partial,  // sectors
    write_zero,     // zero content
    write_fua,
    write_zeroes,
    discard,
    flush,
    read,
    beside,      // up to 16 operations on content at once, perhaps with a snapshot
    disconnect,  // detach with writes in flight, attach, write the same blocks
    create,
    create_with_origin,
    snapshot,
    snapshot_group,
    clone,
    rollback,
    delete_snapshot,
    delete_volume,
    resize,
    rename,
    protect,
    flatten,
    hydrate,
    detach,
    settle,
    checkpoint,
    scrub,
    reopen,
    sleep,
    check_diffs,
    check_extents,
    check_exclusive,
    check_all,
    count
};
inline constexpr size_t kOperationKinds = static_cast<size_t>(OperationKind::count);

enum class FaultClass : uint8_t { none, device_errors, flush_errors, damage };

struct Swarm {
    WorldOptions world;
    std::array<uint32_t, kOperationKinds> weights{};
    uint32_t weight_sum = 0;
    double host_crash_chance = 0;  // that one is armed, per operation
    double process_crash_chance = 0;
    double recovery_crash_chance = 0;
    double away_chance = 0;  // that a device goes away, per reopening
    FaultClass faults = FaultClass::none;
    bool fills = false;  // a pool so small that it becomes full
    bool host_fills = false;  // the file system below it is full now and then
    uint64_t blocks_max = 16;  // of a volume
    size_t volumes_max = 3;
    size_t snapshots_max = 6;
    uint64_t hot_blocks = 4;

    static Swarm draw(uint64_t seed);
    [[nodiscard]] OperationKind next(io::sim::Random& random) const;
    [[nodiscard]] std::string text() const;
};

}  // namespace stoa::simtest
