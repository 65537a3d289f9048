#include "tests/sim/sim_runner.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

namespace stoa::simtest {

namespace {

// In the order of the run, so that one seed decides everything.
WorldOptions with_verbose(WorldOptions options, bool verbose) {
    options.verbose = verbose;
    return options;
}

}  // namespace

std::string replay_command(const RunOptions& options) {
    return fmt::format("build/release/bin/stoa-sim --seed {} --operations {}", options.seed,
                       options.operations);
}

RunResult run_seed(const RunOptions& options) {
    SimRunner runner(options);
    return runner.run();
}

SimRunner::SimRunner(const RunOptions& options)
    : options_(options), random_(options.seed), away_random_(io::sim::mix(options.seed ^ 0xA3A8)),
      swarm_(Swarm::draw(options.seed)),
      world_(std::make_unique<World>(with_verbose(swarm_.world, options.verbose))),
      actions_(*world_, model_, result_.verdict) {
    actions_.tolerance.no_space = swarm_.fills || swarm_.host_fills;
    actions_.tolerance.device_errors =
        swarm_.faults == FaultClass::device_errors || swarm_.faults == FaultClass::flush_errors;
    actions_.tolerance.damage = swarm_.faults == FaultClass::damage;
    result_.swarm = swarm_.text();
}

SimRunner::~SimRunner() {
    // After a failure tasks may hang; what they hold cannot be freed.
    if (result_.verdict.failed()) World::leak(std::move(world_));
}

RunResult SimRunner::run() {
    world_->trace(result_.swarm);
    if (!world_->create(result_.verdict) || !world_->open(result_.verdict)) return result_;
    while (!ended() && !make_volume() && !ended()) handle_crash();
    add_faults();
    while (!ended() && result_.operations < options_.operations) {
        ++result_.operations;
        step();
        after_step();
    }
    if (!ended() && world_->crashed()) handle_crash();  // behind the last operation
    if (!ended()) end();
    result_.trace_hash = world_->simulator().trace_hash();
    return result_;
}

void SimRunner::step() {
    maybe_arm_crash();
    model_.next_rank();
    perform(swarm_.next(random_));
}

void SimRunner::after_step() {
    if (ended()) return;
    world_->check_oracles(result_.verdict);
    if (!world_->crashed() && actions_.pool_failed()) {
        // What a failed flush left is not to be trusted until the power has been off.
        if (swarm_.faults == FaultClass::none || swarm_.faults == FaultClass::damage) {
            result_.verdict.fail("operation", "the pool became read-only: " +
                                                  world_->pool().info().read_only_reason);
            return;
        }
        plan_ = {.process_only = false,
                 .policy = {.keep = io::sim::CrashKeep::random, .seed = random_.next()}};
        world_->crash_now(plan_);
    }
    if (world_->crashed()) handle_crash();
    else if (actions_.uncertain() || actions_.after()) actions_.check_all();
    if (ended() || world_->crashed()) return;
    actions_.check_space();
    if (model_.volumes().empty()) make_volume();
}

// ---- crashes and faults

void SimRunner::maybe_arm_crash() {
    const bool host = random_.chance(swarm_.host_crash_chance);
    const bool process = !host && random_.chance(swarm_.process_crash_chance);
    if (!host && !process) return;
    using io::sim::CrashKeep;
    constexpr std::array kKeeps{CrashKeep::none, CrashKeep::all, CrashKeep::all_but_last,
                                CrashKeep::random, CrashKeep::random};
    plan_ = {.process_only = process,
             .policy = {.keep = random_.pick(kKeeps),
                        .seed = random_.next(),
                        .tear = random_.chance(0.5),
                        .reorder = random_.chance(0.5)}};
    const uint64_t within = random_.chance(0.5) ? 12 : 150;
    world_->arm_crash(random_.between(1, within), plan_);
}

void SimRunner::handle_crash() {
    bool host_died = false;
    for (int attempt = 0; !ended(); ++attempt) {
        host_died = host_died || !plan_.process_only;
        ++(plan_.process_only ? result_.process_crashes : result_.host_crashes);
        if (attempt > 0) ++result_.recovery_crashes;
        if (!world_->restart(result_.verdict)) return;
        if (attempt < 5 && random_.chance(swarm_.recovery_crash_chance)) {
            plan_.process_only = random_.chance(0.3);
            plan_.policy.seed = random_.next();
            plan_.policy.keep = io::sim::CrashKeep::random;
            world_->arm_crash(random_.between(1, 60), plan_);
        }
        if (actions_.recover(host_died)) break;
        if (!ended() && !world_->crashed()) {
            result_.verdict.fail("recovery-open", "does not come back");
        }
    }
    if (ended()) return;
    world_->disarm_crash();
    if (!world_->crashed()) world_->check_fsck(result_.verdict, false);
    add_faults();
}

// Nothing goes wrong by this: what is written waits, whatever it is.
void SimRunner::fill_host() {
    for (auto& disk : world_->disks()) {
        disk->add_fault({.kind = io::sim::FaultKind::error,
                         .op = io::DeviceOp::write,
                         .chance = 0.05,
                         .count = away_random_.between(5, 60),
                         .error = ENOSPC});
    }
}

void SimRunner::add_faults() {
    if (swarm_.host_fills && !ended()) fill_host();
    if (swarm_.faults == FaultClass::none || ended()) return;
    using io::DeviceOp;
    using io::sim::FaultKind;
    const uint64_t data = world_->data_start_bytes();
    for (auto& disk : world_->disks()) {
        switch (swarm_.faults) {
            case FaultClass::none: break;
            case FaultClass::device_errors: {
                const bool everywhere = random_.chance(0.2);
                disk->add_fault({.kind = FaultKind::error,
                                 .op = random_.chance(0.7) ? DeviceOp::write : DeviceOp::read,
                                 .offset_bytes = everywhere ? 0 : data,
                                 .chance = 0.02,
                                 .count = random_.between(1, 6)});
                break;
            }
            case FaultClass::flush_errors:
                disk->add_fault({.kind = FaultKind::error,
                                 .op = DeviceOp::flush,
                                 .skip = random_.between(3, 200),
                                 .count = 1});
                break;
            case FaultClass::damage: {
                constexpr std::array kKinds{FaultKind::bit_flip, FaultKind::lost,
                                            FaultKind::misdirected};
                const FaultKind kind = random_.pick(kKinds);
                const uint64_t target =
                    data +
                    random_.below((disk->size_bytes() - data) / kBlockBytes / 8) * kBlockBytes;
                disk->add_fault({.kind = kind,
                                 .op = kind == FaultKind::bit_flip && random_.chance(0.5)
                                           ? DeviceOp::read
                                           : DeviceOp::write,
                                 .offset_bytes = data,
                                 .chance = 0.05,
                                 .count = 1,
                                 .target_bytes = target});
                break;
            }
        }
    }
}

// ---- operations

bool SimRunner::make_volume() {
    uint64_t size = random_.between(1, swarm_.blocks_max) * kBlockBytes;
    if (random_.chance(0.1)) size -= random_.below(kSectorsPerBlock) * kSectorBytes;
    return actions_.create_volume(size).has_value();
}

Uuid SimRunner::pick_volume() {
    const std::vector<Uuid> volumes = model_.volumes();
    return volumes.empty() ? Uuid{} : random_.pick(volumes);
}

Uuid SimRunner::pick_snapshot() {
    const std::vector<Uuid> snapshots = model_.snapshots();
    return snapshots.empty() ? Uuid{} : random_.pick(snapshots);
}

// One operation on content somewhere near `around_block`.
io::Task<void> SimRunner::random_io(Uuid volume, uint64_t around_block) {
    const uint64_t sectors = model_.trees().at(volume).size_bytes / kSectorBytes;
    const uint64_t base = std::min(around_block * kSectorsPerBlock, sectors - 1);
    const uint64_t left = sectors - base;
    const uint64_t kind = random_.below(12);
    const uint64_t blocks = std::min(random_.between(1, 3) * kSectorsPerBlock, left);
    const uint64_t offset = random_.below(std::min<uint64_t>(kSectorsPerBlock, left));
    const uint64_t part = random_.between(1, std::min<uint64_t>(10, left - offset));
    if (kind < 4) return actions_.write(volume, base, blocks, random_.chance(0.1), false);
    if (kind < 8) return actions_.write(volume, base + offset, part, false, random_.chance(0.1));
    if (kind == 8) return actions_.discard(volume, base, blocks);
    if (kind == 9) return actions_.write_zeroes(volume, base + offset, part);
    if (kind == 10) return actions_.flush(volume, false);
    return actions_.read(volume, base, blocks);
}

void SimRunner::run_beside(size_t count) {
    std::vector<Uuid> volumes;
    for (const Uuid& volume : model_.volumes()) {
        if (volumes.size() < 3 && actions_.attach(volume)) volumes.push_back(volume);
    }
    if (volumes.empty() || actions_.ended()) return;
    // Freed only when all have ended: a task that hangs keeps it.
    auto* group = new io::TaskGroup(world_->simulator());
    const size_t snapshot_at =
        random_.chance(0.3) && model_.snapshots().size() < swarm_.snapshots_max + 4
            ? random_.below(count)
            : count;
    const uint64_t around = random_.below(swarm_.blocks_max);
    for (size_t i = 0; i < count && !actions_.ended(); ++i) {
        if (i == snapshot_at) {
            group->spawn(actions_.snapshot_beside(volumes));
        } else {
            const Uuid volume = random_.pick(volumes);
            const uint64_t spread = swarm_.fills ? swarm_.blocks_max : 2;
            group->spawn(random_io(volume, (around + random_.below(spread)) %
                                               model_.trees().at(volume).block_count()));
        }
        if (random_.chance(0.3)) world_->drive([&, steps = 0]() mutable { return ++steps > 20; });
    }
    const auto done = [&] { return group->running() == 0; };
    if (!world_->drive(done, 100'000'000'000) && swarm_.fills) relieve(*group);
    if (!world_->drive(done)) {
        result_.verdict.fail("liveness", fmt::format("{} operations do not end", group->running()));
        return;
    }
    delete group;
    if (!actions_.ended()) actions_.check_all();
}

// The pool is full and holds writes: makes room until they go on, or closes their handles.
void SimRunner::relieve(const io::TaskGroup& group) {
    world_->disarm_crash();
    const auto done = [&] { return group.running() == 0; };
    while (!actions_.ended() && !done()) {
        const std::vector<Uuid> snapshots = model_.snapshots();
        Uuid victim;
        for (const Uuid& snapshot : snapshots) {
            if (!model_.trees().at(snapshot).is_open && !model_.trees().at(snapshot).is_protected) {
                victim = snapshot;
            }
        }
        if (victim.is_nil()) break;
        actions_.remove_beside(victim);
        world_->drive(done, 60'000'000'000);
    }
    while (!actions_.ended() && !done() && !actions_.handles().empty()) {
        actions_.detach(actions_.handles().begin()->first);
    }
}

// The old handle's writes never win over those that follow its end.
void SimRunner::disconnect() {
    const Uuid volume = pick_volume();
    if (volume.is_nil() || !actions_.attach(volume)) return;
    auto* group = new io::TaskGroup(world_->simulator());
    const uint64_t blocks = model_.trees().at(volume).block_count();
    for (size_t i = 0; i < 4; ++i) group->spawn(random_io(volume, random_.below(blocks)));
    const auto some = random_.below(30);
    world_->drive([&, steps = uint64_t{0}]() mutable { return ++steps > some; });
    actions_.detach(volume);
    if (!world_->drive([&] { return group->running() == 0; })) {
        result_.verdict.fail("liveness", "operations of a closed handle do not end");
        return;
    }
    delete group;
    if (actions_.ended()) return;
    actions_.check_all();
    if (!swarm_.fills) {
        actions_.run_write(
            volume, 0, std::min<uint64_t>(16, model_.trees().at(volume).size_bytes / kSectorBytes));
    }
}

void SimRunner::perform(OperationKind kind) {
    const Uuid volume = pick_volume();
    if (volume.is_nil()) return;
    const uint64_t sectors = model_.trees().at(volume).size_bytes / kSectorBytes;
    // Near one of few hot places, half of the time.
    uint64_t block = random_.below(model_.trees().at(volume).block_count());
    if (random_.chance(0.6)) block %= swarm_.hot_blocks;
    else if (random_.chance(0.3)) block = std::min<uint64_t>(block, 254 + random_.below(4));
    const uint64_t at = std::min(block * kSectorsPerBlock, sectors - 1);
    const uint64_t whole = std::min(random_.between(1, 8) * kSectorsPerBlock, sectors - at);
    const uint64_t first = at + random_.below(std::min<uint64_t>(8, sectors - at));
    const uint64_t part = random_.between(1, std::min<uint64_t>(20, sectors - first));
    if (swarm_.fills && kind <= OperationKind::write_zeroes) {
        run_beside(random_.between(1, 6));  // may be held
        return;
    }
    switch (kind) {
        case OperationKind::write: actions_.run_write(volume, at, whole); break;
        case OperationKind::write_partial: actions_.run_write(volume, first, part); break;
        case OperationKind::write_zero: actions_.run_write(volume, at, whole, false, true); break;
        case OperationKind::write_fua: actions_.run_write(volume, first, part, true); break;
        case OperationKind::write_zeroes: actions_.run_write_zeroes(volume, first, part); break;
        case OperationKind::discard: actions_.run_discard(volume, first, part); break;
        case OperationKind::flush: actions_.run_flush(volume); break;
        case OperationKind::read: actions_.run_read(volume, first, part); break;
        case OperationKind::beside: run_beside(random_.between(2, 16)); break;
        case OperationKind::disconnect: disconnect(); break;
        case OperationKind::detach: actions_.detach(volume); break;
        case OperationKind::settle: actions_.settle(); break;
        case OperationKind::checkpoint: actions_.checkpoint(); break;
        case OperationKind::scrub: actions_.scrub(); break;
        case OperationKind::reopen: reopen(); break;
        case OperationKind::sleep:
            world_->simulator().run_for(random_.chance(0.3) ? 6'000'000'000 : 30'000'000);
            break;
        default: perform_object(kind); break;
    }
}

void SimRunner::perform_object(OperationKind kind) {
    const Uuid volume = pick_volume();
    const Uuid snapshot = pick_snapshot();
    Tree& tree = model_.trees().at(volume);
    const bool more_volumes = model_.volumes().size() < swarm_.volumes_max + 2;
    const bool more_snapshots = model_.snapshots().size() < swarm_.snapshots_max;
    const bool has_protected =
        std::ranges::any_of(model_.snapshots_of(volume),
                            [&](const Uuid& uuid) { return model_.trees().at(uuid).is_protected; });
    switch (kind) {
        case OperationKind::create:
            if (model_.volumes().size() < swarm_.volumes_max) make_volume();
            break;
        case OperationKind::create_with_origin:
            if (model_.volumes().size() < swarm_.volumes_max) {
                actions_.create_volume(random_.between(1, swarm_.blocks_max) * kBlockBytes, true);
            }
            break;
        case OperationKind::snapshot:
            if (more_snapshots) actions_.snapshot({volume});
            break;
        case OperationKind::snapshot_group:
            if (more_snapshots) actions_.snapshot(model_.volumes());
            break;
        case OperationKind::clone:
            if (!snapshot.is_nil() && more_volumes) actions_.clone(snapshot);
            break;
        case OperationKind::rollback:
            if (!snapshot.is_nil() && model_.find(model_.trees().at(snapshot).volume)) {
                actions_.roll_back(model_.trees().at(snapshot).volume, snapshot);
            }
            break;
        case OperationKind::delete_snapshot:
            if (!snapshot.is_nil() && !model_.trees().at(snapshot).is_protected) {
                actions_.remove_snapshot(snapshot);
            }
            break;
        case OperationKind::delete_volume:
            if (!tree.is_protected && !has_protected) actions_.remove_volume(volume);
            break;
        case OperationKind::resize:
            actions_.resize(
                volume, std::max<uint64_t>(1, random_.below(swarm_.blocks_max * kSectorsPerBlock)) *
                            kSectorBytes);
            break;
        case OperationKind::rename: actions_.rename(volume); break;
        case OperationKind::protect:
            actions_.protect(snapshot.is_nil() || random_.chance(0.5) ? volume : snapshot,
                             random_.chance(0.3));
            break;
        case OperationKind::flatten:
            if (!tree.parent.is_nil() && model_.snapshots_of(volume).empty()) {
                actions_.flatten(volume);
            }
            break;
        case OperationKind::hydrate:
            if (tree.has_origin && !swarm_.fills) actions_.hydrate(volume);
            break;
        default: perform_check(kind); break;
    }
}

void SimRunner::perform_check(OperationKind kind) {
    const Uuid snapshot = pick_snapshot();
    switch (kind) {
        case OperationKind::check_diffs: actions_.check_all_diffs(); break;
        case OperationKind::check_extents:
            actions_.check_extents(snapshot.is_nil() ? pick_volume() : snapshot);
            break;
        case OperationKind::check_exclusive:
            if (!snapshot.is_nil() && !model_.trees().at(snapshot).is_protected &&
                swarm_.faults == FaultClass::none) {
                actions_.check_exclusive(snapshot);
            }
            break;
        default: actions_.check_all(); break;
    }
}

// Closes well and opens again: nothing may be missing.
void SimRunner::reopen() {
    actions_.detach_all();
    if (actions_.ended()) return;
    // Who closes does not wait for the host.
    if (swarm_.host_fills) {
        for (auto& disk : world_->disks()) disk->clear_faults();
        constexpr uint64_t kRetriedNs = 1'000'000'000;
        world_->simulator().run_for(kRetriedNs);
        if (ended() || world_->crashed()) return;
    }
    const bool closed = world_->close(result_.verdict);
    if (ended() || world_->crashed()) return;
    if (!closed && swarm_.faults == FaultClass::none) {
        result_.verdict.fail("operation", "the pool does not close");
        return;
    }
    if (swarm_.faults == FaultClass::none) world_->check_fsck(result_.verdict, closed);
    if (ended()) return;
    if (!closed && swarm_.faults == FaultClass::flush_errors) {
        // What a failed flush left is not to be trusted until the power has been off.
        plan_ = {.process_only = false,
                 .policy = {.keep = io::sim::CrashKeep::random, .seed = random_.next()}};
        world_->crash_now(plan_);
        return;  // after_step() goes on
    }
    for (auto& disk : world_->disks()) disk->clear_faults();
    if (swarm_.away_chance > 0 && away_random_.chance(swarm_.away_chance)) {
        go_without();
        return;
    }
    if (!actions_.recover(false)) return;
    add_faults();
}

// No block is one that may read as anything.
bool SimRunner::knows_all() const {
    return std::ranges::all_of(model_.trees(), [](const auto& item) {
        return std::ranges::none_of(item.second.blocks,
                                    [](const BlockHistory& history) { return history.unknown; });
    });
}

// After a good close: one device goes away, the pool is used without it, and it returns as it was.
void SimRunner::go_without() {
    model_.collapse();
    world_->disarm_crash();
    const size_t away = away_random_.below(world_->disks().size());
    world_->trace(fmt::format("disk{} goes away", away));
    world_->leave_out(away);
    const Tolerance before = actions_.tolerance;
    actions_.tolerance.device_errors = true;
    actions_.tolerance.damage = true;
    if (!actions_.recover(false)) return;
    for (uint64_t left = away_random_.below(15); left > 0 && !actions_.ended(); --left) {
        const OperationKind kind = swarm_.next(away_random_);
        if (kind == OperationKind::reopen || kind == OperationKind::check_exclusive) continue;
        model_.next_rank();
        perform(kind);
        if (actions_.ended()) break;
        if (actions_.pool_failed()) {
            result_.verdict.fail("operation", "the pool became read-only without a device: " +
                                                  world_->pool().info().read_only_reason);
            return;
        }
        if (actions_.uncertain() || actions_.after()) actions_.check_all();
        actions_.check_space();
    }
    if (!actions_.ended()) actions_.check_all();
    if (ended()) return;
    world_->trace(fmt::format("disk{} returns", away));
    world_->leave_out(std::nullopt);
    if (away_random_.chance(0.5)) {
        // What was lost to sight is not known to be durable: a crash is judged from here on.
        actions_.checkpoint();
        if (actions_.ended()) return;
        model_.collapse();
        for (uint64_t i = away_random_.below(4); i > 0 && knows_all() && !actions_.ended(); --i) {
            perform(away_random_.chance(0.7) ? OperationKind::write : OperationKind::flush);
        }
        actions_.tolerance = before;
        if (ended()) return;
        plan_ = {.process_only = away_random_.chance(0.3),
                 .policy = {.keep = io::sim::CrashKeep::random, .seed = away_random_.next()}};
        world_->crash_now(plan_);
        handle_crash();
        return;
    }
    actions_.tolerance = before;
    actions_.detach_all();
    if (ended()) return;
    if (!world_->close(result_.verdict)) {
        result_.verdict.fail("operation", "the pool does not close without a device");
        return;
    }
    if (!actions_.recover(false)) return;
    world_->check_fsck(result_.verdict, false);
    add_faults();
}

// Deletes everything: no block of data may be left.
void SimRunner::end() {
    // The last step may have made a volume after all else was deleted, and crashed in it.
    if (world_->crashed()) handle_crash();
    if (ended()) return;
    for (auto& disk : world_->disks()) disk->clear_faults();
    world_->disarm_crash();
    actions_.check_all();
    if (swarm_.faults != FaultClass::damage) actions_.check_all_diffs();
    for (const Uuid& tree : model_.snapshots()) {
        if (model_.trees().at(tree).is_protected) actions_.protect(tree, false);
    }
    for (const Uuid& tree : model_.volumes()) {
        if (model_.trees().at(tree).is_protected) actions_.protect(tree, false);
    }
    const bool damaged = swarm_.faults == FaultClass::damage;
    actions_.settle();  // a flatten that a crash left over keeps its volume from being deleted
    while (!ended() && !model_.volumes().empty() && !damaged) {
        if (!model_.snapshots().empty() && random_.chance(0.5)) {
            actions_.remove_snapshot(pick_snapshot());
        } else {
            actions_.remove_volume(pick_volume());
        }
        if (actions_.after()) break;
    }
    actions_.detach_all();
    actions_.settle();
    actions_.checkpoint();
    actions_.check_space();
    if (!actions_.ended() && !damaged && !actions_.uncertain() &&
        world_->pool().info().space.data != 0) {
        result_.verdict.fail("space", fmt::format("{} blocks of data are left after everything "
                                                  "was deleted",
                                                  world_->pool().info().space.data));
    }
    if (ended()) return;
    const bool closed = world_->close(result_.verdict);
    // A device error may have made the pool read-only; then closing says so.
    const bool may_fail = damaged || swarm_.faults != FaultClass::none;
    if (!closed && !may_fail) result_.verdict.fail("operation", "the pool does not close");
    if (!damaged) world_->check_fsck(result_.verdict, swarm_.faults == FaultClass::none);
    world_->check_oracles(result_.verdict);
}

}  // namespace stoa::simtest
