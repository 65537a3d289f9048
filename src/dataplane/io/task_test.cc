#include "dataplane/io/task.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "dataplane/io/sim/simulator.h"

namespace stoa::io {
namespace {

Task<void> set(bool& flag) {
    flag = true;
    co_return;
}

TEST(Task, starts_only_when_it_is_awaited) {
    sim::Simulator simulator(1);
    bool started = false;
    {
        const Task<void> dropped = set(started);
        EXPECT_FALSE(started);
    }
    EXPECT_FALSE(started);
    simulator.run(set(started));
    EXPECT_TRUE(started);
}

struct Traced {
    int copies = 0;
    int moves = 0;
    Traced() = default;
    Traced(const Traced& other) : copies(other.copies + 1), moves(other.moves) {}
    Traced(Traced&& other) noexcept : copies(other.copies), moves(other.moves + 1) {}
    Traced& operator=(const Traced&) = delete;
    Traced& operator=(Traced&&) = delete;
    ~Traced() = default;
};

Task<Traced> make_traced() { co_return Traced(); }
Task<std::unique_ptr<int>> make_owned(int value) { co_return std::make_unique<int>(value); }

Task<int> count_copies() {
    const Traced traced = co_await make_traced();
    EXPECT_EQ(traced.moves, 2);  // into the promise, out of it
    co_return traced.copies;
}

Task<int> read_owned() {
    const std::unique_ptr<int> owned = co_await make_owned(7);
    co_return *owned;
}

TEST(Task, moves_its_value_and_never_copies_it) {
    sim::Simulator simulator(1);
    EXPECT_EQ(simulator.run(count_copies()), 0);
    EXPECT_EQ(simulator.run(read_owned()), 7);
}

Task<Result<int>> refuse() { co_return Error(ErrorCode::busy, "the lamp is lit"); }

Task<Result<int>> pass_on() {
    CO_TRY_ASSIGN(const int value, co_await refuse());
    co_return value + 1;
}

TEST(Task, carries_errors_through_co_try) {
    sim::Simulator simulator(1);
    const Result<int> result = simulator.run(pass_on());
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code(), ErrorCode::busy);
    EXPECT_EQ(result.error().message(), "the lamp is lit");
}

Task<uint64_t> identity(uint64_t value) { co_return value; }

Task<uint64_t> sum_of_ready_tasks(uint64_t count) {
    uint64_t sum = 0;
    for (uint64_t i = 0; i < count; ++i) sum += co_await identity(i);
    co_return sum;
}

TEST(Task, a_million_ready_awaits_do_not_grow_the_stack) {
    sim::Simulator simulator(1);
    constexpr uint64_t kCount = 1'000'000;
    EXPECT_EQ(simulator.run(sum_of_ready_tasks(kCount)), kCount * (kCount - 1) / 2);
}

Task<uint64_t> depth(uint64_t levels) {
    if (levels == 0) co_return 0;
    co_return 1 + co_await depth(levels - 1);
}

TEST(Task, deep_chains_live_on_the_heap) {
    sim::Simulator simulator(1);
    EXPECT_EQ(simulator.run(depth(200'000)), 200'000);
}

// Counts how many of it live, and is an argument of coroutines.
class Alive {
public:
    explicit Alive(int& count) : count_(&count) { ++*count_; }
    Alive(Alive&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
    Alive(const Alive&) = delete;
    Alive& operator=(const Alive&) = delete;
    Alive& operator=(Alive&&) = delete;
    ~Alive() {
        if (count_ != nullptr) --*count_;
    }

private:
    int* count_;
};

Task<void> hold(Executor& executor, Alive held) {
    co_await executor.yield();
    static_cast<void>(held);
}

TEST(Task, frees_arguments_of_tasks_that_ended_or_never_ran) {
    sim::Simulator simulator(1);
    int alive = 0;
    {
        const Task<void> dropped = hold(simulator, Alive(alive));
    }
    EXPECT_EQ(alive, 0);
    simulator.run(hold(simulator, Alive(alive)));
    EXPECT_EQ(alive, 0);
}

TEST(FramePool, gives_a_released_frame_of_the_same_class_again) {
    void* first = allocate_frame(200);
    release_frame(first, 200);
    void* second = allocate_frame(250);
    release_frame(second, 250);
#if !__has_feature(address_sanitizer) && !__has_feature(thread_sanitizer)
    EXPECT_EQ(first, second);
#endif
    void* large = allocate_frame(size_t{1} << 20);  // beyond the classes
    ASSERT_NE(large, nullptr);
    release_frame(large, size_t{1} << 20);
}

}  // namespace
}  // namespace stoa::io
