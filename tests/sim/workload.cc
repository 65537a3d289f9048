#include "tests/sim/workload.h"

#include <fmt/format.h>

#include <algorithm>

namespace stoa::simtest {

namespace {

struct Weight {
    OperationKind kind;
    uint32_t weight;
};

constexpr std::array kWeights{
    Weight{OperationKind::write, 120},
    Weight{OperationKind::write_partial, 80},
    Weight{OperationKind::write_zero, 15},
    Weight{OperationKind::write_fua, 20},
    Weight{OperationKind::write_zeroes, 20},
    Weight{OperationKind::discard, 30},
    Weight{OperationKind::flush, 40},
    Weight{OperationKind::read, 40},
    Weight{OperationKind::beside, 40},
    Weight{OperationKind::disconnect, 6},
    Weight{OperationKind::create, 12},
    Weight{OperationKind::create_with_origin, 6},
    Weight{OperationKind::snapshot, 30},
    Weight{OperationKind::snapshot_group, 10},
    Weight{OperationKind::clone, 20},
    Weight{OperationKind::rollback, 12},
    Weight{OperationKind::delete_snapshot, 25},
    Weight{OperationKind::delete_volume, 12},
    Weight{OperationKind::resize, 14},
    Weight{OperationKind::rename, 5},
    Weight{OperationKind::protect, 5},
    Weight{OperationKind::flatten, 6},
    Weight{OperationKind::hydrate, 5},
    Weight{OperationKind::detach, 10},
    Weight{OperationKind::settle, 8},
    Weight{OperationKind::checkpoint, 25},
    Weight{OperationKind::scrub, 2},
    Weight{OperationKind::reopen, 6},
    Weight{OperationKind::sleep, 10},
    Weight{OperationKind::check_diffs, 10},
    Weight{OperationKind::check_extents, 8},
    Weight{OperationKind::check_exclusive, 4},
    Weight{OperationKind::check_all, 10},
};
static_assert(kWeights.size() == kOperationKinds);

}  // namespace

Swarm Swarm::draw(uint64_t seed) {
    io::sim::Random random(io::sim::mix(seed ^ 0x5EED));
    Swarm swarm;
    swarm.world.seed = seed;

    // What is done, and how often.
    for (const Weight& weight : kWeights) {
        const bool always = weight.kind == OperationKind::write ||
                            weight.kind == OperationKind::create ||
                            weight.kind == OperationKind::delete_snapshot;
        if (!always && !random.chance(0.75)) continue;
        uint32_t value = weight.weight;
        if (random.chance(0.15)) value *= 5;
        swarm.weights[static_cast<size_t>(weight.kind)] = value;
        swarm.weight_sum += value;
    }

    // The pool.
    const std::array<uint64_t, 6> every{0, 0, 1, 2, 7, 40};
    swarm.world.knobs.checkpoint_every_records = random.pick(every);
    swarm.world.knobs.idle_checkpoint_ns = random.chance(0.5) ? 5'000'000'000 : 20'000'000;
    const std::array<uint64_t, 3> commits{0, 4096, 16384};
    swarm.world.knobs.commit_bytes_max = random.pick(commits);
    swarm.world.knobs.replay_changes_max = seed % 2 == 0 ? 0 : 4 + seed % 7;
    swarm.world.knobs.early_append_after = seed % 3 == 0 ? 0 : 1 + seed % 8;
    const std::array<uint64_t, 3> journals{16, 24, 64};
    swarm.world.journal_blocks = random.pick(journals);
    swarm.world.devices = random.chance(0.7) ? 1 : random.between(2, 3);
    swarm.world.device_bytes = uint64_t{64} << 20;
    swarm.world.region_blocks = random.chance(0.8) ? 64 : 256;
    if (random.chance(0.3)) swarm.world.latency.in_order = true;

    // The volumes.
    swarm.volumes_max = random.between(1, 4);
    swarm.snapshots_max = random.between(1, 8);
    swarm.hot_blocks = random.between(1, 6);
    swarm.blocks_max = random.chance(0.25) ? 300 : random.between(3, 40);

    // What goes wrong.
    if (random.chance(0.15)) {
        swarm.fills = true;
        swarm.world.devices = 1;
        swarm.world.region_blocks = 64;
        swarm.world.device_bytes = random.between(14, 20) * 64 * kBlockBytes;
        swarm.world.reserve_blocks = random.between(0, 1) * 40;
        swarm.blocks_max = 200;
        swarm.hot_blocks = 200;
    }
    const uint64_t kind = random.below(100);
    if (kind < 12) swarm.faults = FaultClass::device_errors;
    else if (kind < 20) swarm.faults = FaultClass::flush_errors;
    else if (kind < 32 && !swarm.fills) swarm.faults = FaultClass::damage;
    if (swarm.faults != FaultClass::damage) {
        if (random.chance(0.7)) swarm.host_crash_chance = random.chance(0.5) ? 0.01 : 0.08;
        if (random.chance(0.5)) swarm.process_crash_chance = random.chance(0.5) ? 0.01 : 0.06;
        swarm.recovery_crash_chance = random.chance(0.6) ? 0.4 : 0;
    }
    // By a chance of its own, so that seeds keep what they drew before.
    io::sim::Random away(io::sim::mix(seed ^ 0xA3A7));
    if (swarm.world.devices > 1 && swarm.faults == FaultClass::none && away.chance(0.6)) {
        swarm.away_chance = 0.5;
    }
    io::sim::Random host(io::sim::mix(seed ^ 0xA3A9));
    swarm.host_fills = swarm.faults == FaultClass::none && host.chance(0.2);
    return swarm;
}

OperationKind Swarm::next(io::sim::Random& random) const {
    uint64_t at = random.below(weight_sum);
    for (size_t i = 0; i < kOperationKinds; ++i) {
        if (at < weights[i]) return static_cast<OperationKind>(i);
        at -= weights[i];
    }
    return OperationKind::write;
}

std::string Swarm::text() const {
    constexpr std::array kFaultNames{"none", "device errors", "flush errors", "damage"};
    return fmt::format(
        "devices {} x {} KiB, regions of {}, journal {}, checkpoint every {}, "
        "volumes {} of {} blocks, snapshots {}, crashes {}/{}/{}, faults: {}{}{}{}",
        world.devices, world.device_bytes >> 10, world.region_blocks, world.journal_blocks,
        world.knobs.checkpoint_every_records, volumes_max, blocks_max, snapshots_max,
        host_crash_chance, process_crash_chance, recovery_crash_chance,
        kFaultNames[static_cast<size_t>(faults)], fills ? ", fills" : "",
        away_chance > 0 ? ", devices go away" : "", host_fills ? ", the host fills" : "");
}

}  // namespace stoa::simtest
