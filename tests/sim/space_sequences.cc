// The must-have sequences about a pool in which any allocation may find nothing.
#include "tests/sim/sequence_parts.h"
#include "tests/sim/sequences.h"

namespace stoa::simtest {

namespace {

constexpr uint64_t kFillerBlocks = 800;   // more than the pool has
constexpr uint64_t kVolumeBlocks = 600;   // three leaves
constexpr uint64_t kEnough = 20;          // with so many blocks left, nothing below is held

bool ended_well(World& world, io::TaskGroup* group, const char* what, Verdict& verdict) {
    if (!world.drive([&] { return group->running() == 0; })) {
        verdict.fail("liveness", what);
        return false;  // a hanging task keeps its group
    }
    delete group;
    return true;
}

// Writes `filler`, block after block, until one is held; that one is dropped.
bool fill(Actions& actions, Uuid filler, Verdict& verdict) {
    World& world = actions.world();
    if (!actions.attach(filler)) return false;
    actions.model().next_rank();
    auto* group = new io::TaskGroup(world.simulator());
    for (uint64_t block = 0; group->running() == 0 && !actions.ended(); ++block) {
        if (block == kFillerBlocks) verdict.fail("space", "the pool does not become full");
        else group->spawn(actions.write(filler, block * kBlock, kBlock, false, false));
        world.drive([&] { return group->running() == 0; }, 30'000'000'000);
    }
    actions.detach(filler);
    return ended_well(world, group, "a held write survives its handle", verdict);
}

// What takes blocks of data and of maps, beside each other; some of it is held.
io::TaskGroup* start_takers(Actions& actions, Uuid v) {
    actions.model().next_rank();
    auto* group = new io::TaskGroup(actions.world().simulator());
    for (uint64_t i = 0; i < 12; ++i) {
        group->spawn(actions.write(v, i * 49 * kBlock, kBlock, i % 3 == 0, false));
    }
    group->spawn(actions.write(v, kBlock + 3, 2, false, false));
    group->spawn(actions.snapshot_beside({v}));
    group->spawn(actions.write(v, 0, 3 * kBlock, false, false));
    group->spawn(actions.discard(v, 2 * kBlock, kBlock));
    group->spawn(actions.checkpoint_beside());
    return group;
}

void remove_everything(Actions& actions, Verdict& verdict) {
    actions.detach_all();
    for (const Uuid& snapshot : actions.model().snapshots()) actions.remove_snapshot(snapshot);
    for (const Uuid& volume : actions.model().volumes()) actions.remove_volume(volume);
    actions.settle();
    actions.checkpoint();
    actions.check_space();
    if (!actions.ended() && actions.world().pool().info().space.data != 0) {
        verdict.fail("space", "blocks of data are left");
    }
}

enum class Ending : uint64_t { space_appears, client_leaves, host_dies, process_dies };

// All but `left` blocks of the pool are taken, then more is wanted.
void with_blocks_left(Actions& actions, uint64_t left, Ending ending, Verdict& verdict) {
    World& world = actions.world();
    const auto v = actions.create_volume(kVolumeBlocks * kBlockBytes);
    const auto filler = actions.create_volume(kFillerBlocks * kBlockBytes);
    if (!v || !filler) return;
    actions.run_write(*v, 0, 4 * kBlock);
    actions.snapshot({*v});
    if (!fill(actions, *filler, verdict)) return;
    if (left != 0) actions.run_discard(*filler, 0, left * kBlock);
    actions.checkpoint();
    actions.check_all();
    if (actions.ended() || !actions.attach(*v)) return;
    io::TaskGroup* takers = start_takers(actions, *v);
    world.drive([&] { return takers->running() == 0; }, 30'000'000'000);
    const bool held = takers->running() != 0;
    if ((left == 0 && !held) || (left == kEnough && held)) {
        verdict.fail("space", std::to_string(left) + (held ? " blocks do not do" : " blocks do"));
    }
    auto* others = new io::TaskGroup(world.simulator());
    others->spawn(actions.flush(*v, false));
    others->spawn(actions.read(*v, 0, kBlock));
    if (!ended_well(world, others, "a flush or a read waits for held writes", verdict)) return;
    if (ending == Ending::space_appears) {
        actions.remove_beside(*filler);
        if (!ended_well(world, takers, "held writes do not go on", verdict)) return;
    } else if (ending == Ending::client_leaves) {
        actions.detach(*v);
        if (!ended_well(world, takers, "held writes outlive their client", verdict)) return;
    } else {
        const bool process_only = ending == Ending::process_dies;
        world.crash_now({.process_only = process_only,
                         .policy = {.keep = io::sim::CrashKeep::random, .seed = left + 1}});
        if (!world.restart(verdict)) return;
        if (!ended_well(world, takers, "operations outlive the process", verdict)) return;
        if (!actions.recover(!process_only)) {
            if (!verdict.failed()) verdict.fail("recovery-open", "a full pool does not come back");
            return;
        }
        world.check_fsck(verdict, false);
    }
    actions.check_all();
    remove_everything(actions, verdict);
}

// The N-th block that is wanted is not there, for every N: what has to wait waits, nothing else
// does; it goes on when there is space; and a pool that died so comes back.
void any_allocation_may_find_nothing(Actions& actions, Verdict& verdict) {
    for (uint64_t left = 0; left <= kEnough && !actions.ended(); ++left) {
        for (const Ending ending : {Ending::space_appears, Ending::client_leaves, Ending::host_dies,
                                    Ending::process_dies}) {
            with_blocks_left(actions, left, ending, verdict);
        }
    }
}

WorldOptions smallest() {
    WorldOptions options = quiet();
    options.device_bytes = uint64_t{11} * 64 * kBlockBytes;
    return options;
}

}  // namespace

std::vector<Sequence> space_sequences() {
    return {
        {"any_allocation_may_find_nothing", {}, any_allocation_may_find_nothing, false, smallest()},
    };
}

}  // namespace stoa::simtest
