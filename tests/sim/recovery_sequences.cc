// The must-have sequences about commits, crashes and recovery upon recovery.
#include "tests/sim/sequence_parts.h"
#include "tests/sim/sequences.h"

namespace stoa::simtest {

namespace {

// A commit is cut off, new ones are written over the old tail, and the power goes again.
void commits_over_a_cut_tail(Actions& actions, Verdict& verdict) {
    World& world = actions.world();
    const Uuid v = first_volume(actions);
    for (uint64_t round = 1; round < 24 && !verdict.failed(); ++round) {
        using io::sim::CrashKeep;
        const CrashKeep keep = round % 3 == 0   ? CrashKeep::none
                               : round % 3 == 1 ? CrashKeep::random
                                                : CrashKeep::all_but_last;
        for (uint64_t i = 0; i < 1 + round % 3; ++i) actions.run_write(v, i * kBlock, kBlock);
        world.arm_crash(1 + round % 7, {.process_only = false,
                                        .policy = {.keep = keep, .seed = round, .tear = true}});
        actions.run_flush(v);
        for (uint64_t i = 0; i < 20 && !actions.ended(); ++i) {
            actions.run_write(v, 0, kBlock, true);
        }
        if (verdict.failed()) return;
        if (!world.crashed()) {
            world.crash_now({.process_only = false, .policy = {.keep = keep, .seed = round}});
        }
        if (!world.restart(verdict) || !actions.recover(true)) {
            if (!verdict.failed()) verdict.fail("recovery-open", "does not come back");
            return;
        }
        world.check_fsck(verdict, false);
    }
}

// One copy of the journal is enough, whichever.
void journal_survives_the_loss_of_a_copy(Actions& actions, Verdict& verdict) {
    World& world = actions.world();
    const Uuid v = first_volume(actions);
    const uint64_t journal_bytes = world.options().journal_blocks * kBlockBytes;
    for (uint64_t copy = 0; copy < 2 && !actions.ended(); ++copy) {
        for (uint64_t block = 0; block < 4; ++block) actions.run_write(v, block * kBlock, 4, true);
        if (actions.ended()) return;
        world.crash_now({.process_only = false, .policy = {.keep = io::sim::CrashKeep::all}});
        if (!world.restart(verdict)) return;
        const uint64_t start = world.journal_start_bytes() + copy * journal_bytes;
        for (uint64_t at = 0; at < journal_bytes; at += kBlockBytes) {
            world.disks().front()->flip_bit(start + at + 100, 3);
        }
        if (!actions.recover(true)) return;
    }
}

// The records of one flush fill several journal blocks: all of them count, or none.
void torn_commit_is_none(Actions& actions, Verdict&) {
    const Uuid v = first_volume(actions);
    for (uint64_t block = 0; block < 160; block += 2) {
        actions.run_discard(v, block * kBlock, kBlock);
    }
    actions.run_flush(v);
    for (uint64_t block = 1; block < 160; block += 2) {
        actions.run_discard(v, block * kBlock, kBlock);
    }
    actions.run_flush(v);
}

// The power goes, with everything that is not durable; what comes back is judged.
bool power_loss(Actions& actions, Verdict& verdict, const io::sim::CrashPolicy& policy) {
    World& world = actions.world();
    if (verdict.failed()) return false;
    if (!world.crashed()) world.crash_now({.process_only = false, .policy = policy});
    return world.restart(verdict) && actions.recover(true);
}

// Commits of three blocks in a ring of sixteen: many lie across its end.
void commits_wrap_in_the_ring(Actions& actions, Verdict& verdict) {
    const Uuid v = first_volume(actions);
    for (uint64_t round = 0; round < 12; ++round) {
        for (uint64_t block = round % 2; block < 190; block += 2) {
            actions.run_write(v, block * kBlock, kBlock);
        }
        actions.run_flush(v);
        for (uint64_t n = 0; n < round % 3; ++n) actions.run_write(v, 0, kBlock, true);
        if (!power_loss(actions, verdict, {.keep = io::sim::CrashKeep::none})) return;
    }
}

// What a dead process wrote lies in the devices' caches; the power goes while it is recovered.
void unflushed_writes_of_a_dead_process(Actions& actions, Verdict& verdict) {
    World& world = actions.world();
    const Uuid v = first_volume(actions);
    for (uint64_t round = 0; round < 240 && !verdict.failed(); ++round) {
        world.arm_crash(1 + round % 6, {.process_only = true, .policy = {.seed = round}});
        actions.run_write(v, round % 3 * kBlock, 2 * kBlock);
        actions.run_flush(v);
        world.disarm_crash();
        if (!world.crashed()) continue;
        if (!world.restart(verdict)) return;
        world.arm_crash(
            1 + round / 6 % 20,
            {.process_only = false, .policy = {.keep = io::sim::CrashKeep::random, .seed = round}});
        if (!actions.recover(false)) {
            if (!power_loss(actions, verdict, {})) return;
        }
        world.disarm_crash();
        actions.check_all();
    }
}

// A flush fails beside another one: neither believes the device again, and no record is written
// twice.
void flush_fails_beside_a_checkpoint(Actions& actions, Verdict& verdict) {
    World& world = actions.world();
    const Uuid v = first_volume(actions);
    io::sim::Random random(7);
    actions.tolerance.device_errors = true;
    for (uint64_t round = 0; round < 500 && !verdict.failed(); ++round) {
        actions.run_write(v, round % 3 * kBlock, 2 * kBlock);
        if (actions.ended() || !actions.attach(v)) return;
        world.disks().front()->add_fault(
            {.op = io::DeviceOp::flush, .skip = random.below(5), .count = 1});
        auto* group = new io::TaskGroup(world.simulator());
        group->spawn(actions.checkpoint_beside());
        for (uint64_t n = 0; n < 4; ++n) {
            steps(actions, random.below(30));
            group->spawn(actions.write(v, n * kBlock, kBlock, true, false));
        }
        if (!world.drive([&] { return group->running() == 0; })) {
            verdict.fail("liveness", "a failed flush is waited for");
            return;
        }
        delete group;
        for (auto& disk : world.disks()) disk->clear_faults();
        const auto keep = round % 2 == 0 ? io::sim::CrashKeep::none : io::sim::CrashKeep::all;
        if (!power_loss(actions, verdict, {.keep = keep, .seed = round})) return;
        world.check_fsck(verdict, false);
    }
}

// The superblock of a checkpoint takes long, and commits enough for two laps of the ring follow.
void ring_goes_round_beside_a_checkpoint(Actions& actions, Verdict& verdict) {
    World& world = actions.world();
    const Uuid v = first_volume(actions);
    for (uint64_t round = 0; round < 12 && !verdict.failed(); ++round) {
        for (uint64_t n = 0; n < 3; ++n) actions.run_write(v, n * kBlock, kBlock, true);
        if (actions.ended() || !actions.attach(v)) return;
        for (const uint64_t block : world.superblocks()) {
            world.disks().front()->add_fault({.kind = io::sim::FaultKind::delay,
                                              .op = io::DeviceOp::write,
                                              .offset_bytes = block * kBlockBytes,
                                              .length_bytes = kBlockBytes});
        }
        auto* group = new io::TaskGroup(world.simulator());
        group->spawn(actions.checkpoint_beside());
        steps(actions, 100);
        for (uint64_t n = 0; n < 32; ++n) {
            group->spawn(actions.write(v, n % 4 * kBlock, kBlock, true, false));
            steps(actions, 40);
        }
        world.crash_now({.process_only = false, .policy = {.keep = io::sim::CrashKeep::none}});
        for (auto& disk : world.disks()) disk->clear_faults();
        if (!world.drive([&] { return group->running() == 0; })) {
            verdict.fail("liveness", "operations outlive the power");
            return;
        }
        delete group;
        if (!power_loss(actions, verdict, {})) return;
    }
}

WorldOptions three_devices() {
    WorldOptions options = quiet();
    options.devices = 3;
    return options;
}

}  // namespace

std::vector<Sequence> recovery_sequences() {
    return {
        {"commits_over_a_cut_tail", one_volume, commits_over_a_cut_tail, false, WorldOptions{}},
        {"journal_survives_the_loss_of_a_copy", one_volume, journal_survives_the_loss_of_a_copy,
         false, quiet()},
        {"torn_commit_is_none", many_blocks, torn_commit_is_none, true, quiet()},
        {"commits_wrap_in_the_ring", many_blocks, commits_wrap_in_the_ring, false, quiet()},
        {"unflushed_writes_of_a_dead_process", one_volume, unflushed_writes_of_a_dead_process,
         false, three_devices()},
        {"flush_fails_beside_a_checkpoint", one_volume, flush_fails_beside_a_checkpoint, false,
         WorldOptions{}},
        {"ring_goes_round_beside_a_checkpoint", one_volume, ring_goes_round_beside_a_checkpoint,
         false, quiet()},
    };
}

}  // namespace stoa::simtest
