#include "tests/sim/sequences.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <memory>

namespace stoa::simtest {

namespace {

double seconds_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

struct Policy {
    const char* name;
    CrashPlan plan;
};

// The subsets of unflushed writes that a crash at `event` keeps.
std::array<Policy, 6> policies_at(uint64_t event, uint64_t seed) {
    using io::sim::CrashKeep;
    const uint64_t mixed = io::sim::mix(event * 31 + seed);
    return {
        Policy{"none", {.process_only = false, .policy = {.keep = CrashKeep::none}}},
        Policy{"all", {.process_only = false, .policy = {.keep = CrashKeep::all}}},
        Policy{"all but last",
               {.process_only = false, .policy = {.keep = CrashKeep::all_but_last}}},
        Policy{"some",
               {.process_only = false, .policy = {.keep = CrashKeep::random, .seed = mixed}}},
        Policy{"some, torn",
               {.process_only = false,
                .policy =
                    {.keep = CrashKeep::random, .seed = mixed + 1, .tear = true, .reorder = true}}},
        Policy{"process", {.process_only = true, .policy = {.seed = mixed + 2}}}};
}

// What the model expects, as a number: equal images judged alike need not be judged twice.
uint64_t hash_of(const Model& model) {
    uint64_t value = model.trees().size();
    const auto add = [&](uint64_t more) { value = io::sim::mix(value + more); };
    for (const auto& [uuid, tree] : model.trees()) {
        add(load_le<uint64_t>(uuid.bytes.data() + 8));
        add(tree.size_bytes);
        for (const BlockHistory& history : tree.blocks) {
            for (const Tag tag : history.base) add(tag);
            for (const Update& update : history.updates) {
                add(update.operation);
                add(update.acknowledged == kNever ? 1 : 2);
                add(update.acknowledged <= model.durable() ? 1 : 2);
            }
        }
    }
    return value;
}

// Frees the world, unless tasks of it may hang.
void drop(std::unique_ptr<World> world, const Verdict& verdict) {
    if (verdict.failed()) World::leak(std::move(world));
}

}  // namespace

CrashSearch::CrashSearch(const CrashSearchOptions& options)
    : options_(options), started_(seconds_now()) {}

bool CrashSearch::out_of_time() const { return seconds_now() - started_ > options_.seconds_max; }

void CrashSearch::keep_points(World& world, const Actions& actions, std::vector<Point>& points) {
    const uint64_t event = world.events();
    if (event % options_.every != 0) return;
    ++counts_.crash_points;
    const Model& model = const_cast<Actions&>(actions).model();
    uint64_t expected = hash_of(model);
    if (actions.after()) expected = io::sim::mix(expected + hash_of(*actions.after()));
    for (const Policy& policy : policies_at(event, options_.seed)) {
        Remains remains = world.remains_now(policy.plan);
        const uint64_t image = remains.hash();
        images_.insert(image);
        if (!seen_.insert(io::sim::mix(image + expected + (policy.plan.process_only ? 1 : 0)))
                 .second) {
            continue;
        }
        points.push_back({std::move(remains), model, actions.after(), !policy.plan.process_only,
                          event, policy.name});
    }
}

void CrashSearch::search(const Sequence& sequence, Verdict& verdict) {
    ++counts_.sequences;
    std::vector<Point> points;
    auto world = std::make_unique<World>(sequence.world);
    Model model;
    Actions actions(*world, model, verdict);
    if (world->create(verdict) && world->open(verdict)) {
        if (sequence.prepare) sequence.prepare(actions, verdict);
        if (sequence.crashes) {
            world->set_watcher([&] { keep_points(*world, actions, points); });
        }
        if (!verdict.failed()) sequence.run(actions, verdict);
        world->set_watcher({});
        // What is left must be whole, and nothing may leak.
        if (!verdict.failed()) actions.check_all();
        actions.detach_all();
        actions.settle();
        actions.checkpoint();
        actions.check_space();
        if (!verdict.failed() && !world->close(verdict)) {
            verdict.fail("operation", "the pool does not close");
        }
        if (!verdict.failed()) world->check_fsck(verdict, true);
        world->check_oracles(verdict);
    }
    drop(std::move(world), verdict);
    for (const Point& point : points) {
        if (verdict.failed()) return;
        if (out_of_time()) {
            counts_.out_of_time = true;
            break;
        }
        recover(sequence, point, verdict);
        if (verdict.failed()) {
            const Failure failure = verdict.failure();
            verdict = Verdict();
            verdict.fail(failure.oracle,
                         fmt::format("{} (sequence {}, crash at event {}, kept: {})",
                                     failure.message, sequence.name, point.event, point.policy));
        }
    }
    counts_.distinct_images = images_.size();
}

bool CrashSearch::judge(Actions& actions, const Point& point, Verdict& verdict) {
    actions.set_after(point.after);
    if (!actions.recover(point.host_died) || verdict.failed()) return false;
    actions.world().check_fsck(verdict, false);
    actions.check_space();
    return !verdict.failed();
}

void CrashSearch::recover(const Sequence& sequence, const Point& point, Verdict& verdict) {
    ++counts_.recoveries;
    auto world = std::make_unique<World>(sequence.world);
    Model model = point.model;
    Actions actions(*world, model, verdict);
    world->take(point.remains);
    const uint64_t before = world->events();
    if (judge(actions, point, verdict)) {
        // It goes on living: nothing leaks, and it closes well.
        const uint64_t events = world->events() - before;
        actions.detach_all();
        actions.settle();
        actions.checkpoint();
        actions.check_all();
        actions.check_space();
        if (!verdict.failed() && !world->close(verdict)) {
            verdict.fail("operation", "the pool does not close");
        }
        if (!verdict.failed()) world->check_fsck(verdict, true);
        world->check_oracles(verdict);
        for (uint64_t i = 0; i < options_.recovery_samples && events > 0 && !verdict.failed();
             ++i) {
            const uint64_t at = io::sim::mix(point.event * 7 + i + options_.seed) % events + 1;
            recover_again(sequence, point, at, verdict);
        }
    }
    drop(std::move(world), verdict);
}

// The same recovery, with another crash in its middle.
void CrashSearch::recover_again(const Sequence& sequence, const Point& point, uint64_t at_event,
                                Verdict& verdict) {
    ++counts_.recoveries;
    auto world = std::make_unique<World>(sequence.world);
    Model model = point.model;
    Actions actions(*world, model, verdict);
    world->take(point.remains);
    const auto policies = policies_at(at_event, options_.seed);
    const Policy& policy = policies[at_event % policies.size()];
    world->arm_crash(at_event, policy.plan);
    Point again{{},          point.model, point.after, point.host_died || !policy.plan.process_only,
                point.event, policy.name};
    bool recovered = judge(actions, point, verdict);
    // A recovery that came to its end has decided; its result may not change any more.
    if (recovered) again.after.reset();
    if (!verdict.failed() && !world->crashed()) {
        world->crash_now(policy.plan);
    }
    if (!verdict.failed() && world->restart(verdict)) {
        recovered = judge(actions, again, verdict);
        if (!recovered && !verdict.failed()) {
            verdict.fail("recovery-open", "does not come back after a second crash");
        }
        actions.settle();
        actions.checkpoint();
        if (!verdict.failed()) world->close(verdict);
        if (!verdict.failed()) world->check_fsck(verdict, true);
        world->check_oracles(verdict);
    }
    if (verdict.failed()) {
        const Failure failure = verdict.failure();
        verdict = Verdict();
        verdict.fail(failure.oracle, fmt::format("{}; crashed again at event {} of recovery, kept: "
                                                 "{}",
                                                 failure.message, at_event, policy.name));
    }
    drop(std::move(world), verdict);
}

}  // namespace stoa::simtest
