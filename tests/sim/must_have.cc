// The must-have sequences. What each is for stands in its name; the crash search does the rest.
#include <array>

#include "dataplane/io/sync.h"
#include "tests/sim/sequence_parts.h"
#include "tests/sim/sequences.h"

namespace stoa::simtest {

namespace {

// ---- S1, S2, C1 of S1, K1 of C1, C2 of K1, deleted in one of all orders

// Volume V; each tree has a block of its own and shares the others.
struct Family {
    Uuid v, s1, s2, c1, k1, c2;
    [[nodiscard]] bool complete() const { return !c2.is_nil(); }
};

Family make_family(Actions& actions) {
    Family family;
    const auto v = actions.create_volume(6 * kBlockBytes);
    if (!v) return family;
    family.v = *v;
    actions.run_write(*v, 0, 5 * kBlock);
    const std::vector<Uuid> s1 = actions.snapshot({*v});
    actions.run_write(*v, kBlock, kBlock);
    const std::vector<Uuid> s2 = actions.snapshot({*v});
    actions.run_write(*v, 2 * kBlock, kBlock);
    if (s1.empty() || s2.empty()) return family;
    const auto c1 = actions.clone(s1[0]);
    if (!c1) return family;
    actions.run_write(*c1, 3 * kBlock, kBlock);
    const std::vector<Uuid> k1 = actions.snapshot({*c1});
    actions.run_write(*c1, 0, kBlock);
    if (k1.empty()) return family;
    const auto c2 = actions.clone(k1[0]);
    if (!c2) return family;
    actions.run_write(*c2, 4 * kBlock, kBlock);
    actions.checkpoint();
    family.s1 = s1[0];
    family.s2 = s2[0];
    family.c1 = *c1;
    family.k1 = k1[0];
    family.c2 = *c2;
    return family;
}

// `order` of 720: the permutation of the six trees. Trees that go with their volume are left out.
void delete_family(Actions& actions, const Family& family, uint64_t order, Verdict& verdict,
                   bool settle_between) {
    std::vector<Uuid> left{family.v, family.s1, family.s2, family.c1, family.k1, family.c2};
    while (!left.empty() && !actions.ended()) {
        const size_t at = order % left.size();
        order /= left.size();
        const Uuid tree = left[at];
        left.erase(left.begin() + static_cast<ptrdiff_t>(at));
        if (actions.model().find(tree) == nullptr) continue;
        if (actions.model().trees().at(tree).is_snapshot) actions.remove_snapshot(tree);
        else actions.remove_volume(tree);
        if (settle_between) {
            actions.settle();
            actions.check_all();
        }
    }
    actions.settle();
    actions.checkpoint();
    if (!actions.ended() && actions.world().pool().info().space.data != 0) {
        verdict.fail("space", "blocks of data are left in deletion order " + std::to_string(order));
    }
}

void every_order(Actions& actions, Verdict& verdict) {
    for (uint64_t order = 0; order < 720 && !actions.ended(); ++order) {
        const Family family = make_family(actions);
        if (!family.complete()) return;
        delete_family(actions, family, order, verdict, order % 5 == 0);
    }
}

// The orders whose crashes are searched: each tree is first once and last once.
template <uint64_t Order>
void one_order(Actions& actions, Verdict& verdict) {
    const Family family = make_family(actions);
    if (family.complete()) delete_family(actions, family, Order, verdict, false);
}

// ---- differences

void make_history(Actions& actions, Verdict&) {
    const auto v = actions.create_volume(300 * kBlockBytes);
    if (!v) return;
    actions.run_write(*v, 0, 8 * kBlock);
    actions.run_write(*v, 254 * kBlock, 4 * kBlock);
    actions.snapshot({*v});
}

void rollback_then_diffs(Actions& actions, Verdict&) {
    const Uuid v = first_volume(actions);
    const Uuid s1 = actions.model().snapshots().front();
    actions.run_write(v, kBlock, 2 * kBlock);
    const auto s2 = actions.snapshot({v});
    actions.run_write(v, 2 * kBlock, 2 * kBlock);
    const auto s3 = actions.snapshot({v});
    if (s2.empty() || s3.empty()) return;
    actions.roll_back(v, s1);
    actions.check_all_diffs();
    actions.run_write(v, 5 * kBlock, kBlock);
    actions.snapshot({v});
    actions.check_all_diffs();
    actions.roll_back(v, s3[0]);
    actions.run_discard(v, 0, kBlock);
    actions.check_all_diffs();
    actions.remove_snapshot(s2[0]);
    actions.settle();
    actions.check_all_diffs();
}

void holes_are_differences(Actions& actions, Verdict&) {
    const Uuid v = first_volume(actions);
    actions.run_discard(v, kBlock, kBlock);  // a discard alone
    actions.snapshot({v});
    actions.check_all_diffs();
    actions.run_write(v, 2 * kBlock, kBlock, false, true);  // a write of zeros
    actions.run_write_zeroes(v, 255 * kBlock, 2 * kBlock);
    actions.snapshot({v});
    actions.check_all_diffs();
    actions.resize(v, 3 * kBlockBytes);  // shrink and grow
    actions.check_all_diffs();
    actions.resize(v, 300 * kBlockBytes);
    actions.check_all_diffs();
    actions.snapshot({v});
    actions.run_discard(v, 0, 300 * kBlock);  // a hole above the leaves, then split
    actions.snapshot({v});
    actions.run_write(v, 256 * kBlock, kBlock);
    actions.check_all_diffs();
    actions.checkpoint();
    actions.check_all_diffs();
}

// ---- running beside each other

void sectors_race_across_a_snapshot(Actions& actions, Verdict& verdict) {
    const Uuid v = first_volume(actions);
    for (uint64_t round = 0; round < 6 && !actions.ended(); ++round) {
        if (!actions.attach(v)) return;
        run_group(actions, verdict, [&](io::TaskGroup& group) {
            for (uint64_t sector = 0; sector < 4; ++sector) {
                group.spawn(actions.write(v, kBlock + sector, 1, false, false));
            }
            steps(actions, round * 2);
            group.spawn(actions.snapshot_beside({v}));
            for (uint64_t sector = 4; sector < 8; ++sector) {
                group.spawn(actions.write(v, kBlock + sector, 1, false, false));
                steps(actions, round);
            }
        });
    }
    actions.check_all_diffs();
}

// Content changes at every stage of a checkpoint.
void overwrite_beside_a_checkpoint(Actions& actions, Verdict& verdict) {
    const Uuid v = first_volume(actions);
    for (uint64_t delay = 0; delay < 12 && !actions.ended(); ++delay) {
        if (!actions.attach(v)) return;
        run_group(actions, verdict, [&](io::TaskGroup& group) {
            group.spawn(actions.checkpoint_beside());
            steps(actions, delay * 3);
            group.spawn(actions.write(v, 0, 2 * kBlock, false, false));
            steps(actions, 10);
            group.spawn(actions.write(v, 3, 2, true, false));
            group.spawn(actions.write(v, kBlock, kBlock, false, false));
        });
    }
}

// ---- connections

void old_write_never_wins(Actions& actions, Verdict& verdict) {
    const Uuid v = first_volume(actions);
    for (uint64_t delay = 0; delay < 20 && !actions.ended(); ++delay) {
        if (!actions.attach(v)) return;
        actions.model().next_rank();
        auto* group = new io::TaskGroup(actions.world().simulator());
        for (uint64_t block = 0; block < 4; ++block) {
            group->spawn(actions.write(v, block * kBlock, kBlock, false, false));
        }
        group->spawn(actions.write(v, 3, 2, false, false));
        steps(actions, delay);
        actions.detach(v);
        actions.check_all();
        actions.run_write(v, 0, 4 * kBlock);
        if (actions.ended()) return;
        if (!actions.world().drive([&] { return group->running() == 0; })) {
            verdict.fail("liveness", "writes of a closed handle do not end");
            return;
        }
        delete group;
        actions.world().simulator().run_for(50'000'000'000);
        actions.check_all();
    }
}

// A pool that is full holds writes; deleting another volume lets them go on by themselves.
void full_pool_holds_writes(Actions& actions, Verdict& verdict) {
    World& world = actions.world();
    actions.tolerance.no_space = true;
    const auto other = actions.create_volume(200 * kBlockBytes);
    const auto v = actions.create_volume(4000 * kBlockBytes);
    if (!other || !v) return;
    for (uint64_t block = 0; block < 200; block += 4) {
        actions.run_write(*other, block * kBlock, 4 * kBlock);
    }
    actions.detach(*other);
    if (!actions.attach(*v)) return;
    actions.model().next_rank();
    auto* group = new io::TaskGroup(world.simulator());
    uint64_t block = 0;
    // One after the other, until one is held.
    while (group->running() == 0 && block < 4000 && !actions.ended()) {
        group->spawn(actions.write(*v, block * kBlock, kBlock, false, false));
        world.drive([&] { return group->running() == 0; }, 30'000'000'000);
        ++block;
    }
    if (block == 4000) verdict.fail("space", "the pool does not become full");
    for (uint64_t i = 0; i < 3; ++i) {
        group->spawn(actions.write(*v, (block + i) * kBlock, kBlock, false, false));
    }
    // A flush and a read do not wait for held writes.
    auto* others = new io::TaskGroup(world.simulator());
    others->spawn(actions.flush(*v, false));
    others->spawn(actions.read(*v, 0, kBlock));
    if (!world.drive([&] { return others->running() == 0; })) {
        verdict.fail("liveness", "a flush or a read waits for held writes");
        return;
    }
    delete others;
    actions.remove_beside(*other);
    if (!world.drive([&] { return group->running() == 0; })) {
        verdict.fail("liveness", "held writes do not go on when a volume is deleted");
        return;
    }
    delete group;
    actions.check_all();
    // And what is held when the handle closes is dropped.
    group = new io::TaskGroup(world.simulator());
    while (group->running() == 0 && block < 3990 && !actions.ended()) {
        group->spawn(actions.write(*v, (block + 3) * kBlock, kBlock, false, false));
        world.drive([&] { return group->running() == 0; }, 30'000'000'000);
        ++block;
    }
    actions.detach(*v);
    if (!world.drive([&] { return group->running() == 0; })) {
        verdict.fail("liveness", "held writes survive their handle");
        return;
    }
    delete group;
    actions.check_all();
    actions.remove_volume(*v);
    actions.settle();
    actions.checkpoint();
    if (!actions.ended() && world.pool().info().space.data != 0) {
        verdict.fail("space", "blocks of data are left");
    }
}

// What was discarded of a volume with an origin never shows the origin again.
void discarded_origin_stays_away(Actions& actions, Verdict&) {
    const auto v = actions.create_volume(300 * kBlockBytes, true);
    if (!v) return;
    actions.run_discard(*v, 0, 300 * kBlock);
    actions.run_write(*v, 2 * kBlock, kBlock);
    actions.run_write(*v, 280 * kBlock + 3, 2);
    actions.check_all();
    actions.hydrate(*v);
    actions.check_all();
    actions.resize(*v, 2 * kBlockBytes);
    actions.resize(*v, 300 * kBlockBytes);
    actions.check_all();
}

io::Task<void> hydrate_beside(Actions& actions, Uuid volume, Verdict& verdict) {
    const Result<void> result = co_await actions.world().pool().hydrate(volume);
    if (!result.ok() && !actions.world().crashed()) {
        verdict.fail("operation", "hydrate: " + result.error().message());
    }
}

// Hydration never overwrites what was written or discarded while it ran.
void hydration_never_wins(Actions& actions, Verdict& verdict) {
    for (uint64_t round = 0; round < 12 && !actions.ended(); ++round) {
        const auto v = actions.create_volume(6 * kBlockBytes, true);
        if (!v || !actions.attach(*v)) return;
        run_group(actions, verdict, [&](io::TaskGroup& group) {
            group.spawn(hydrate_beside(actions, *v, verdict));
            for (uint64_t block = 0; block < 6; ++block) {
                steps(actions, round);
                if (block == 2) group.spawn(actions.discard(*v, block * kBlock, kBlock));
                else group.spawn(actions.write(*v, block * kBlock + block, 2, false, false));
            }
        });
        actions.remove_volume(*v);
    }
}

// Snapshots and clones of a volume let go of its origin with it; then all of them are deleted.
template <uint64_t Order>
void family_is_hydrated(Actions& actions, Verdict& verdict) {
    const auto v = actions.create_volume(258 * kBlockBytes, true);
    if (!v) return;
    Family family;
    family.v = *v;
    const std::vector<Uuid> s1 = actions.snapshot({*v});
    actions.run_write(*v, kBlock + 3, 2);
    actions.run_discard(*v, 257 * kBlock, kBlock);
    const std::vector<Uuid> s2 = actions.snapshot({*v});
    actions.run_write(*v, 2 * kBlock, kBlock);
    if (s1.empty() || s2.empty()) return;
    const auto c1 = actions.clone(s1[0], 260 * kBlockBytes);
    if (!c1) return;
    actions.run_write(*c1, 3 * kBlock, kBlock);
    const std::vector<Uuid> k1 = actions.snapshot({*c1});
    if (k1.empty()) return;
    const auto c2 = actions.clone(k1[0]);
    if (!c2) return;
    family = {*v, s1[0], s2[0], *c1, k1[0], *c2};
    if (Order % 2 == 0) actions.checkpoint();
    if (Order % 3 == 0) {
        actions.remove_snapshot(s2[0]);
        actions.roll_back(*v, s1[0]);
    }
    actions.hydrate(Order % 2 == 0 ? *v : *c2);
    actions.check_all();
    actions.check_all_diffs();
    actions.run_write(*v, 0, 2 * kBlock);
    actions.run_write(*c1, 256 * kBlock + 1, kBlock);
    actions.settle();
    actions.check_all();
    delete_family(actions, family, Order, verdict, true);
}

io::Task<void> hydrate_beside_changes(Actions& actions, Uuid volume) {
    const Result<void> result = co_await actions.world().pool().hydrate(volume);
    static_cast<void>(result);  // busy while a snapshot goes
}

// What is made or deleted while a family is hydrated is hydrated, too, or gone.
void family_changes_while_hydrated(Actions& actions, Verdict& verdict) {
    for (uint64_t round = 0; round < 10 && !actions.ended(); ++round) {
        const auto v = actions.create_volume(600 * kBlockBytes, true);
        if (!v || !actions.attach(*v)) return;
        const std::vector<Uuid> s1 = actions.snapshot({*v});
        actions.run_write(*v, kBlock, kBlock);
        const std::vector<Uuid> s2 = actions.snapshot({*v});
        if (s1.empty() || s2.empty()) return;
        const auto c1 = actions.clone(s1[0]);
        if (!c1) return;
        actions.checkpoint();
        auto* group = new io::TaskGroup(actions.world().simulator());
        group->spawn(hydrate_beside_changes(actions, *v));
        steps(actions, 3 + round * 7);
        actions.remove_snapshot(s2[0]);
        steps(actions, 5 + round * 3);
        actions.run_write(*v, 2 * kBlock + 1, 3);
        actions.snapshot({*v});
        steps(actions, 5);
        actions.clone(s1[0], 610 * kBlockBytes);
        actions.resize(*v, 620 * kBlockBytes);
        actions.remove_volume(*c1);
        if (!actions.world().drive([&] { return group->running() == 0; })) {
            verdict.fail("liveness", "a hydration does not end");
            return;
        }
        delete group;
        actions.check_all();
        actions.hydrate(*v);
        actions.check_all();
        actions.check_all_diffs();
        while (!actions.model().volumes().empty() && !actions.ended()) {
            actions.remove_volume(actions.model().volumes().front());
        }
        actions.settle();
        actions.checkpoint();
        if (!actions.ended() && actions.world().pool().info().space.data != 0) {
            verdict.fail("space", "blocks of data are left");
        }
    }
}

// A read that takes half a minute gets the content of its time, whatever is written meanwhile.
void reader_keeps_its_blocks(Actions& actions, Verdict& verdict) {
    const Uuid v = first_volume(actions);
    World& world = actions.world();
    if (!actions.attach(v)) return;
    world.disks().front()->add_fault({.kind = io::sim::FaultKind::delay,
                                      .op = io::DeviceOp::read,
                                      .offset_bytes = world.data_start_bytes(),
                                      .count = 1});
    auto* group = new io::TaskGroup(world.simulator());
    group->spawn(actions.read(v, 0, 2 * kBlock));
    for (uint64_t round = 0; round < 100 && !actions.ended(); ++round) {
        actions.run_write(v, 0, 4 * kBlock);
        actions.checkpoint();
    }
    if (!world.drive([&] { return group->running() == 0; })) {
        verdict.fail("liveness", "a slow read does not end");
        return;
    }
    delete group;
    actions.check_all();
}

WorldOptions tiny() {
    WorldOptions options = quiet();
    options.device_bytes = 20 * 64 * kBlockBytes;
    return options;
}

WorldOptions two_devices() {
    WorldOptions options = quiet();
    options.devices = 2;
    return options;
}

std::vector<Sequence> with_others(std::vector<Sequence> sequences) {
    for (Sequence& sequence : recovery_sequences()) sequences.push_back(std::move(sequence));
    for (Sequence& sequence : space_sequences()) sequences.push_back(std::move(sequence));
    return sequences;
}

}  // namespace

const std::vector<Sequence>& must_have_sequences() {
    static const auto* sequences = new std::vector<Sequence>(with_others({
        {"family_is_deleted_in_every_order", {}, every_order, false, quiet()},
        {"family_deletion_survives_crashes_v_first", {}, one_order<0>, true, quiet()},
        {"family_deletion_survives_crashes_s1_first", {}, one_order<1>, true, quiet()},
        {"family_deletion_survives_crashes_s2_first", {}, one_order<2 + 6 * 3>, true, quiet()},
        {"family_deletion_survives_crashes_c1_first", {}, one_order<3 + 6 * 2>, true, quiet()},
        {"family_deletion_survives_crashes_k1_first", {}, one_order<4 + 6 * 4>, true, quiet()},
        {"family_deletion_survives_crashes_c2_first",
         {},
         one_order<5 + 6 * 4>,
         true,
         two_devices()},
        {"rollback_then_diff_to_every_snapshot", make_history, rollback_then_diffs, true, quiet()},
        {"holes_are_differences", make_history, holes_are_differences, true, quiet()},
        {"sectors_race_across_a_snapshot", one_volume, sectors_race_across_a_snapshot, true,
         WorldOptions{}},
        {"overwrite_beside_a_checkpoint", one_volume, overwrite_beside_a_checkpoint, true,
         WorldOptions{}},
        {"old_write_never_wins", one_volume, old_write_never_wins, false, WorldOptions{}},
        {"discarded_origin_stays_away", {}, discarded_origin_stays_away, false, quiet()},
        {"hydration_never_wins", {}, hydration_never_wins, false, WorldOptions{}},
        {"hydrated_family_survives_crashes_v_first", {}, family_is_hydrated<0>, true, quiet()},
        {"hydrated_family_survives_crashes_s1_first", {}, family_is_hydrated<1>, true, quiet()},
        {"hydrated_family_survives_crashes_s2_first", {}, family_is_hydrated<20>, true, quiet()},
        {"hydrated_family_survives_crashes_c1_first", {}, family_is_hydrated<15>, true, quiet()},
        {"family_changes_while_hydrated", {}, family_changes_while_hydrated, false, WorldOptions{}},
        {"reader_keeps_its_blocks", one_volume, reader_keeps_its_blocks, false, quiet()},
        {"full_pool_holds_writes", {}, full_pool_holds_writes, false, tiny()},
    }));
    return *sequences;
}

}  // namespace stoa::simtest
