#include "dataplane/io/sync.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <string>
#include <vector>

#include "dataplane/io/sim/simulator.h"

namespace stoa::io {
namespace {

Task<void> use_lock(Executor& executor, Mutex& mutex, int id, std::vector<int>& order) {
    const Mutex::Guard guard = co_await mutex.lock();
    order.push_back(id);
    co_await executor.sleep_ns(10);
    order.push_back(id);
}

Task<void> contend(Executor& executor, std::vector<int>& order) {
    Mutex mutex(executor);
    TaskGroup group(executor);
    for (int id = 0; id < 4; ++id) group.spawn(use_lock(executor, mutex, id, order));
    co_await group.join();
    EXPECT_FALSE(mutex.is_locked());
}

TEST(Mutex, is_exclusive_and_passed_on_in_the_order_of_waiting) {
    sim::Simulator simulator(1);
    std::vector<int> order;
    simulator.run(contend(simulator, order));
    EXPECT_EQ(order, (std::vector<int>{0, 0, 1, 1, 2, 2, 3, 3}));
}

Task<void> take_again(Executor& executor, Mutex& mutex, int id, std::vector<int>& order) {
    for (int round = 0; round < 3; ++round) {
        const Mutex::Guard guard = co_await mutex.lock();
        order.push_back(id);
        co_await executor.yield();
    }
}

Task<void> alternate(Executor& executor, std::vector<int>& order) {
    Mutex mutex(executor);
    TaskGroup group(executor);
    group.spawn(take_again(executor, mutex, 0, order));
    group.spawn(take_again(executor, mutex, 1, order));
    co_await group.join();
}

TEST(Mutex, a_task_that_takes_it_again_at_once_overtakes_no_waiter) {
    sim::Simulator simulator(1);
    std::vector<int> order;
    simulator.run(alternate(simulator, order));
    EXPECT_EQ(order, (std::vector<int>{0, 1, 0, 1, 0, 1}));
}

struct Load {
    uint64_t now = 0;
    uint64_t peak = 0;
    std::vector<int> order;
};

Task<void> occupy(Executor& executor, Semaphore& semaphore, int id, Load& load) {
    co_await semaphore.acquire();
    load.order.push_back(id);
    load.peak = std::max(load.peak, ++load.now);
    co_await executor.sleep_ns(10);
    --load.now;
    semaphore.release();
}

Task<void> crowd(Executor& executor, Load& load) {
    Semaphore semaphore(executor, 3);
    TaskGroup group(executor);
    for (int id = 0; id < 10; ++id) group.spawn(occupy(executor, semaphore, id, load));
    co_await group.join();
}

TEST(Semaphore, admits_so_many_and_the_rest_in_the_order_of_waiting) {
    sim::Simulator simulator(1);
    Load load;
    simulator.run(crowd(simulator, load));
    EXPECT_EQ(load.peak, 3U);
    EXPECT_EQ(load.order, (std::vector<int>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
}

Task<void> await_condition(Condition& condition, int id, std::vector<int>& woken) {
    co_await condition.wait();
    woken.push_back(id);
}

Task<void> notify(Executor& executor, std::vector<int>& woken) {
    Condition condition(executor);
    TaskGroup group(executor);
    for (int id = 0; id < 3; ++id) group.spawn(await_condition(condition, id, woken));
    condition.notify_one();
    EXPECT_TRUE(woken.empty()) << "woken inside the call";
    co_await executor.yield();
    EXPECT_EQ(woken, (std::vector<int>{0}));
    condition.notify_all();
    EXPECT_FALSE(condition.has_waiters());
    EXPECT_EQ(woken.size(), 1U) << "woken inside the call";
    co_await group.join();
}

TEST(Condition, wakes_in_order_and_never_inside_the_call) {
    sim::Simulator simulator(1);
    std::vector<int> woken;
    simulator.run(notify(simulator, woken));
    EXPECT_EQ(woken, (std::vector<int>{0, 1, 2}));
}

Task<void> wait_twice(Condition& condition, int& wakes) {
    co_await condition.wait();
    ++wakes;
    co_await condition.wait();
    ++wakes;
}

Task<void> notify_a_repeated_waiter(Executor& executor, int& wakes_after_first) {
    Condition condition(executor);
    TaskGroup group(executor);
    int wakes = 0;
    group.spawn(wait_twice(condition, wakes));
    condition.notify_all();
    co_await executor.yield();
    co_await executor.yield();
    wakes_after_first = wakes;
    condition.notify_all();
    co_await group.join();
}

TEST(Condition, one_notification_wakes_a_task_that_waits_again_once) {
    sim::Simulator simulator(1);
    int wakes = 0;
    simulator.run(notify_a_repeated_waiter(simulator, wakes));
    EXPECT_EQ(wakes, 1);
}

Task<void> spawn_more(Executor& executor, TaskGroup& group, int generations, int& ended) {
    co_await executor.sleep_ns(5);
    if (generations > 0) {
        group.spawn(spawn_more(executor, group, generations - 1, ended));
        group.spawn(spawn_more(executor, group, generations - 1, ended));
    }
    ++ended;
}

Task<int> join_a_growing_group(Executor& executor) {
    TaskGroup group(executor);
    int ended = 0;
    group.spawn(spawn_more(executor, group, 3, ended));
    co_await group.join();
    EXPECT_EQ(group.running(), 0U);
    co_await group.join();  // nothing runs: at once
    co_return ended;
}

TEST(TaskGroup, join_waits_for_what_was_spawned_meanwhile) {
    sim::Simulator simulator(1);
    EXPECT_EQ(simulator.run(join_a_growing_group(simulator)), 15);
}

Task<void> mark(int& count) {
    ++count;
    co_return;
}

Task<void> spawn_ready(Executor& executor, int& count) {
    TaskGroup group(executor);
    group.spawn(mark(count));
    EXPECT_EQ(count, 1) << "spawn runs a task until it suspends";
    EXPECT_EQ(group.running(), 0U);
    co_await group.join();
}

TEST(TaskGroup, spawn_runs_until_the_first_suspension) {
    sim::Simulator simulator(1);
    int count = 0;
    simulator.run(spawn_ready(simulator, count));
    EXPECT_EQ(count, 1);
}

}  // namespace
}  // namespace stoa::io
