// Executor: the loop that runs the tasks of one thread, its clock and its timers.
//
// Two implementations: Reactor (io_uring, reactor.h) and sim::Simulator (deterministic from a
// seed). Everything that belongs to one executor is used from its thread only.
#pragma once

#include <coroutine>
#include <cstdint>

#include "dataplane/io/task.h"

namespace stoa::io {

// Something that continues later: embedded in its owner, which outlives it; never allocated.
class Continuation {
public:
    virtual void resume() = 0;
    Continuation* next = nullptr;  // link of the queue that holds it

protected:
    ~Continuation() = default;
};

// First in, first out; owns nothing.
class ContinuationQueue {
public:
    [[nodiscard]] bool empty() const { return head_ == nullptr; }
    void push(Continuation& item) {
        item.next = nullptr;
        if (tail_ != nullptr) tail_->next = &item;
        else head_ = &item;
        tail_ = &item;
    }
    Continuation* pop() {
        Continuation* item = head_;
        if (item != nullptr) {
            head_ = item->next;
            if (head_ == nullptr) tail_ = nullptr;
        }
        return item;
    }

private:
    Continuation* head_ = nullptr;
    Continuation* tail_ = nullptr;
};

struct Timer {
    uint64_t due_ns = 0;
    uint64_t sequence = 0;
    Continuation* continuation = nullptr;
};

class Executor {
public:
    virtual ~Executor() = default;

    // Queues `item` to be resumed soon, after what is queued already.
    virtual void post(Continuation& item) = 0;
    // Resumes `item` when now_ns() reaches `due_ns`. It cannot be taken back.
    virtual void post_at(uint64_t due_ns, Continuation& item) = 0;
    // Monotonic nanoseconds.
    [[nodiscard]] virtual uint64_t now_ns() const = 0;
    // Wall clock, nanoseconds since 1970; may jump.
    [[nodiscard]] virtual uint64_t wall_ns() const = 0;
    // 64 random bits: cryptographic in the reactor, seeded in the simulator.
    [[nodiscard]] virtual uint64_t random() = 0;

    // Awaitable: lets everything that is queued run first.
    auto yield() { return YieldAwaiter{*this}; }
    auto sleep_until(uint64_t due_ns) { return SleepAwaiter{*this, due_ns}; }
    auto sleep_ns(uint64_t duration_ns) { return SleepAwaiter{*this, now_ns() + duration_ns}; }

private:
    struct YieldAwaiter final : Continuation {
        explicit YieldAwaiter(Executor& owner) : executor(owner) {}
        Executor& executor;
        std::coroutine_handle<> handle;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> suspended) {
            handle = suspended;
            executor.post(*this);
        }
        void await_resume() const noexcept {}
        void resume() override { handle.resume(); }
    };
    struct SleepAwaiter final : Continuation {
        SleepAwaiter(Executor& owner, uint64_t due) : executor(owner), due_ns(due) {}
        Executor& executor;
        uint64_t due_ns;
        std::coroutine_handle<> handle;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> suspended) {
            handle = suspended;
            executor.post_at(due_ns, *this);
        }
        void await_resume() const noexcept {}
        void resume() override { handle.resume(); }
    };
};

}  // namespace stoa::io
