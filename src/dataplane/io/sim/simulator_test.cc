#include "dataplane/io/sim/simulator.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "dataplane/io/sim/disk.h"
#include "dataplane/io/sim/shared_memory.h"
#include "dataplane/io/sync.h"

namespace stoa::io::sim {
namespace {

Task<void> log_after(Simulator& simulator, uint64_t delay_ns, int id, std::vector<int>& log) {
    co_await simulator.sleep_ns(delay_ns);
    log.push_back(id);
}

Task<void> yield_and_log(Simulator& simulator, int rounds, int id, std::vector<int>& log) {
    for (int i = 0; i < rounds; ++i) {
        log.push_back(id);
        co_await simulator.yield();
    }
}

TEST(Simulator, timers_fire_by_due_time_then_in_the_order_they_were_set) {
    Simulator simulator(1);
    std::vector<int> log;
    TaskGroup group(simulator);
    group.spawn(log_after(simulator, 300, 1, log));
    group.spawn(log_after(simulator, 100, 2, log));
    group.spawn(log_after(simulator, 300, 3, log));
    group.spawn(log_after(simulator, 200, 4, log));
    simulator.run(group.join());
    EXPECT_EQ(log, (std::vector<int>{2, 4, 1, 3}));
    EXPECT_EQ(simulator.now_ns(), Simulator::kStartNs + 300);
}

TEST(Simulator, ready_tasks_take_turns_first_in_first_out) {
    Simulator simulator(1);
    std::vector<int> log;
    TaskGroup group(simulator);
    group.spawn(yield_and_log(simulator, 2, 1, log));
    group.spawn(yield_and_log(simulator, 2, 2, log));
    simulator.run(group.join());
    EXPECT_EQ(log, (std::vector<int>{1, 2, 1, 2}));
    EXPECT_EQ(simulator.now_ns(), Simulator::kStartNs);
}

Task<std::unique_ptr<int>> answer(Simulator& simulator) {
    co_await simulator.sleep_ns(5);
    co_return std::make_unique<int>(42);
}

TEST(Simulator, run_returns_the_result_of_the_task) {
    Simulator simulator(1);
    EXPECT_EQ(*simulator.run(answer(simulator)), 42);
}

Task<int> wait_then_answer(Condition& condition) {
    co_await condition.wait();
    co_return 7;
}

Task<void> wait_for(Condition& condition) { co_await condition.wait(); }

Task<int> spin(Simulator& simulator, const bool& stop) {
    while (!stop) co_await simulator.yield();
    co_return 1;
}

TEST(Simulator, a_stuck_task_is_reported_and_ends_when_it_is_woken_later) {
    Simulator simulator(1);
    Condition condition(simulator);
    EXPECT_EQ(simulator.try_run(wait_then_answer(condition)), std::nullopt);
    EXPECT_TRUE(simulator.is_idle());
    EXPECT_FALSE(simulator.try_run(wait_for(condition)));
    condition.notify_all();
    EXPECT_TRUE(simulator.run_until_idle());
    EXPECT_FALSE(condition.has_waiters());
}

TEST(Simulator, a_task_that_goes_round_in_circles_is_stopped_by_the_bound) {
    Simulator simulator(1);
    bool stop = false;
    EXPECT_EQ(simulator.try_run(spin(simulator, stop), 1000), std::nullopt);
    EXPECT_FALSE(simulator.is_idle());
    EXPECT_FALSE(simulator.run_until_idle(1000));
    stop = true;
    EXPECT_TRUE(simulator.run_until_idle());
}

TEST(SimulatorDeathTest, run_aborts_with_a_message_on_a_deadlock) {
    EXPECT_DEATH(
        {
            Simulator simulator(1);
            Condition condition(simulator);
            simulator.run(wait_for(condition));
        },
        "nothing is queued");
}

TEST(Simulator, run_for_lets_exactly_that_time_pass) {
    Simulator simulator(1);
    std::vector<int> log;
    TaskGroup group(simulator);
    group.spawn(log_after(simulator, 100, 1, log));
    group.spawn(log_after(simulator, 101, 2, log));
    simulator.run_for(100);
    EXPECT_EQ(log, std::vector<int>{1});
    EXPECT_EQ(simulator.now_ns(), Simulator::kStartNs + 100);
    simulator.run(group.join());
}

TEST(Simulator, the_wall_clock_jumps_without_the_monotonic_one) {
    Simulator simulator(1);
    const uint64_t wall = simulator.wall_ns();
    EXPECT_EQ(wall, Simulator::kWallBaseNs + Simulator::kStartNs);
    simulator.jump_wall(-3'600'000'000'000);
    EXPECT_EQ(simulator.wall_ns(), wall - 3'600'000'000'000);
    EXPECT_EQ(simulator.now_ns(), Simulator::kStartNs);
}

Task<void> write_at_random(Simulator& simulator, Disk& disk, int count) {
    AlignedBuffer buffer(kPageBytes);
    for (int i = 0; i < count; ++i) {
        std::fill_n(buffer.data(), buffer.size(), static_cast<std::byte>(simulator.random()));
        const uint64_t page = simulator.random() % 64;
        EXPECT_EQ(co_await disk.write(page * kPageBytes, buffer.bytes()), 0);
        if (simulator.random() % 4 == 0) EXPECT_EQ(co_await disk.flush(), 0);
        EXPECT_EQ(co_await disk.read(page * kPageBytes, buffer.bytes()), 0);
    }
}

struct Run {
    uint64_t trace;
    uint64_t image;
    uint64_t crash;
    uint64_t now_ns;
    bool operator==(const Run&) const = default;
};

Run run_with(uint64_t seed) {
    Simulator simulator(seed);
    Disk disk(simulator, {}, Image(uint64_t{1} << 20));
    TaskGroup group(simulator);
    for (int i = 0; i < 4; ++i) group.spawn(write_at_random(simulator, disk, 50));
    simulator.run(group.join());
    const CrashPolicy policy{.keep = CrashKeep::random, .seed = seed, .tear = true};
    return {simulator.trace_hash(), disk.image().hash(), disk.crash_image(policy).hash(),
            simulator.now_ns()};
}

TEST(Simulator, the_same_seed_gives_the_same_run_and_another_seed_another_one) {
    for (uint64_t seed = 1; seed <= 20; ++seed) {
        EXPECT_EQ(run_with(seed), run_with(seed)) << "seed " << seed;
        EXPECT_NE(run_with(seed).trace, run_with(seed + 1).trace) << "seed " << seed;
    }
}

TEST(Random, helpers_stay_in_their_range_and_follow_the_seed) {
    Random random(7);
    Random twin(7);
    std::vector<int> items{1, 2, 3, 4, 5};
    int hits = 0;
    for (int i = 0; i < 10'000; ++i) {
        const uint64_t value = random.below(10);
        EXPECT_LT(value, 10U);
        EXPECT_EQ(value, twin.below(10));
        hits += random.chance(0.25) ? 1 : 0;
        twin.next();
    }
    EXPECT_NEAR(hits, 2500, 250);
    EXPECT_FALSE(random.chance(0));
    EXPECT_TRUE(random.chance(1));
    EXPECT_GE(random.pick(items), 1);
    random.shuffle(items);
    std::ranges::sort(items);
    EXPECT_EQ(items, (std::vector<int>{1, 2, 3, 4, 5}));
    EXPECT_EQ(random.between(3, 3), 3U);
}

TEST(SharedMemory, a_snapshot_brings_back_the_content) {
    SharedMemory memory(4096);
    EXPECT_TRUE(is_zero(memory.bytes()));
    memory.bytes()[100] = std::byte{9};
    const std::vector<std::byte> snapshot = memory.snapshot();
    memory.bytes()[100] = std::byte{1};
    SharedMemory restored{ConstBytes(snapshot)};
    EXPECT_EQ(restored.bytes()[100], std::byte{9});
    EXPECT_EQ(restored.bytes().size(), 4096U);
}

}  // namespace
}  // namespace stoa::io::sim
