#include "dataplane/io/reactor.h"

#include <gtest/gtest.h>
#include <liburing.h>

#include <coroutine>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace stoa::io {
namespace {

constexpr uint64_t kMs = 1'000'000;

std::unique_ptr<Reactor> make_reactor(ReactorOptions options = {}) {
    auto reactor = Reactor::create(options);
    if (!reactor.ok()) {
        ADD_FAILURE() << reactor.error().message();
        std::abort();
    }
    return *std::move(reactor);
}

Task<int> give(int value) { co_return value; }

TEST(Reactor, gives_the_result_of_the_task_and_runs_again) {
    const auto reactor = make_reactor();
    EXPECT_EQ(reactor->run(give(3)), 3);
    EXPECT_EQ(reactor->run(give(4)), 4);
}

TEST(Reactor, refuses_impossible_options) {
    auto reactor = Reactor::create({.submission_entries = 8, .completion_entries = 4});
    ASSERT_FALSE(reactor.ok());
    EXPECT_EQ(reactor.error().code(), ErrorCode::invalid_argument);
    EXPECT_EQ(reactor.error().message(),
              "reactor: 8 submission entries, 4 completion entries and 1024 resumptions per turn "
              "are not a valid configuration");
}

Task<void> sleep_and_note(Executor& executor, uint64_t due_ns, int id, std::vector<int>& order) {
    co_await executor.sleep_until(due_ns);
    EXPECT_GE(executor.now_ns(), due_ns);
    order.push_back(id);
}

Task<void> sleep_in_disorder(Executor& executor, std::vector<int>& order) {
    TaskGroup group(executor);
    const uint64_t start = executor.now_ns();
    group.spawn(sleep_and_note(executor, start + 3 * kMs, 3, order));
    group.spawn(sleep_and_note(executor, start + kMs, 1, order));
    group.spawn(sleep_and_note(executor, start + 2 * kMs, 2, order));
    group.spawn(sleep_and_note(executor, start, 0, order));
    group.spawn(sleep_and_note(executor, start + 3 * kMs, 4, order));
    co_await group.join();
}

TEST(Reactor, timers_fire_in_order_of_time_and_not_early) {
    const auto reactor = make_reactor();
    std::vector<int> order;
    reactor->run(sleep_in_disorder(*reactor, order));
    EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3, 4}));
}

Task<void> spin(Executor& executor, const bool& stop) {
    while (!stop) co_await executor.yield();
}

Task<void> sleep_beside_a_spinning_task(Executor& executor) {
    TaskGroup group(executor);
    bool stop = false;
    group.spawn(spin(executor, stop));
    co_await executor.sleep_ns(2 * kMs);
    stop = true;
    co_await group.join();
}

TEST(Reactor, a_task_that_only_yields_does_not_starve_timers) {
    const auto reactor = make_reactor();
    reactor->run(sleep_beside_a_spinning_task(*reactor));
}

TEST(Reactor, clocks_and_randomness_are_the_systems) {
    const auto reactor = make_reactor();
    const uint64_t before = reactor->now_ns();
    EXPECT_GE(reactor->now_ns(), before);
    EXPECT_GT(reactor->wall_ns(), uint64_t{1'700'000'000} * 1'000 * kMs);
    std::set<uint64_t> seen;
    for (int i = 0; i < 1000; ++i) seen.insert(reactor->random());
    EXPECT_EQ(seen.size(), 1000U);
}

// No-operations straight on the ring.
class NopClient final : public RingClient {
public:
    explicit NopClient(Reactor& reactor) : reactor_(reactor), number_(reactor.add_client(*this)) {}
    NopClient(const NopClient&) = delete;
    NopClient& operator=(const NopClient&) = delete;
    ~NopClient() { reactor_.remove_client(number_); }

    struct Awaiter final : Continuation {
        explicit Awaiter(NopClient& owner) : client(owner) {}
        NopClient& client;
        std::coroutine_handle<> handle;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> suspended) {
            handle = suspended;
            io_uring_sqe& entry = client.reactor_.next_entry();
            io_uring_prep_nop(&entry);
            io_uring_sqe_set_data64(&entry, Reactor::tag(client.number_, this));
        }
        void await_resume() const noexcept {}
        void resume() override { handle.resume(); }
    };
    Awaiter nop() { return Awaiter(*this); }
    void complete(void* item, int result) override {
        EXPECT_EQ(result, 0);
        ++completed;
        reactor_.post(*static_cast<Awaiter*>(item));
    }

    uint64_t completed = 0;

private:
    Reactor& reactor_;
    const uint16_t number_;
};

Task<void> repeat_nop(NopClient& client, int rounds) {
    for (int i = 0; i < rounds; ++i) co_await client.nop();
}

Task<void> many_nops(Executor& executor, NopClient& client, int tasks, int rounds) {
    TaskGroup group(executor);
    for (int i = 0; i < tasks; ++i) group.spawn(repeat_nop(client, rounds));
    co_await group.join();
}

TEST(Reactor, more_operations_than_either_ring_holds_all_complete) {
    const auto reactor = make_reactor({.submission_entries = 4, .completion_entries = 4});
    NopClient client(*reactor);
    reactor->run(many_nops(*reactor, client, 1000, 10));
    EXPECT_EQ(client.completed, 10'000U);
}

// Resumes a task from another thread.
struct Message final : Continuation {
    void resume() override {
        received->push_back(id);
        condition->notify_all();
    }
    int id = 0;
    std::vector<int>* received = nullptr;
    Condition* condition = nullptr;
};

Task<void> receive(Condition& condition, const std::vector<int>& received, size_t count) {
    while (received.size() < count) co_await condition.wait();
}

TEST(Reactor, posts_from_other_threads_wake_it_and_keep_their_order) {
    constexpr int kThreads = 4;
    constexpr int kEach = 5000;
    const auto reactor = make_reactor();
    Condition condition(*reactor);
    std::vector<int> received;
    std::vector<Message> messages(static_cast<size_t>(kThreads) * kEach);
    for (size_t i = 0; i < messages.size(); ++i) {
        messages[i].id = static_cast<int>(i);
        messages[i].received = &received;
        messages[i].condition = &condition;
    }
    std::vector<std::thread> threads;
    threads.reserve(kThreads);
    for (int thread = 0; thread < kThreads; ++thread) {
        threads.emplace_back([&reactor, &messages, thread] {
            for (int i = 0; i < kEach; ++i) {
                reactor->post_from_other_thread(
                    messages[static_cast<size_t>(thread) * kEach + static_cast<size_t>(i)]);
                if (i % 500 == 0) std::this_thread::yield();
            }
        });
    }
    reactor->run(receive(condition, received, messages.size()));
    for (std::thread& thread : threads) thread.join();
    ASSERT_EQ(received.size(), messages.size());
    std::vector<int> last(kThreads, -1);
    for (const int id : received) {
        const auto thread = static_cast<size_t>(id / kEach);
        EXPECT_GT(id, last[thread]);
        last[thread] = id;
    }
}

TEST(Reactor, a_post_from_another_thread_ends_a_wait_without_timers) {
    const auto reactor = make_reactor();
    Condition condition(*reactor);
    std::vector<int> received;
    Message message;
    message.received = &received;
    message.condition = &condition;
    for (size_t round = 1; round <= 100; ++round) {
        std::thread other([&reactor, &message] { reactor->post_from_other_thread(message); });
        reactor->run(receive(condition, received, round));
        other.join();
    }
    EXPECT_EQ(received.size(), 100U);
}

}  // namespace
}  // namespace stoa::io
