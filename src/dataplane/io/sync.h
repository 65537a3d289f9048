// Waiting between tasks of one executor: event, condition, mutex, semaphore, and the group that
// joins spawned tasks. Nothing here is thread-safe: all users live on one executor.
//
// A waiter is resumed through the executor's queue, never inside the call that woke it, so the
// caller's own view of its data does not change under its feet.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>

#include "dataplane/io/executor.h"

namespace stoa::io {

// Tasks wait until somebody notifies; like a condition variable, recheck after waking.
class Condition {
public:
    explicit Condition(Executor& executor) : executor_(executor) {}
    Condition(const Condition&) = delete;
    Condition& operator=(const Condition&) = delete;
    ~Condition() { CHECK(waiting_.empty()); }

    struct Awaiter final : Continuation {
        explicit Awaiter(Condition& owner) : condition(owner) {}
        Condition& condition;
        std::coroutine_handle<> handle;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> suspended) {
            handle = suspended;
            condition.waiting_.push(*this);
        }
        void await_resume() const noexcept {}
        void resume() override { handle.resume(); }
    };
    Awaiter wait() { return Awaiter(*this); }
    void notify_all() {
        // Moved to a list first: a resumed waiter that waits again must not be woken twice.
        while (Continuation* item = waiting_.pop()) executor_.post(*item);
    }
    void notify_one() {
        if (Continuation* item = waiting_.pop()) executor_.post(*item);
    }
    [[nodiscard]] bool has_waiters() const { return !waiting_.empty(); }

private:
    Executor& executor_;
    ContinuationQueue waiting_;
};

// Fair mutual exclusion. Unlock passes the lock to the first waiter.
class Mutex {
public:
    explicit Mutex(Executor& executor) : executor_(executor) {}
    Mutex(const Mutex&) = delete;
    Mutex& operator=(const Mutex&) = delete;
    ~Mutex() { CHECK(!locked_); }

    class [[nodiscard]] Guard {
    public:
        explicit Guard(Mutex* mutex) : mutex_(mutex) {}
        Guard(Guard&& other) noexcept : mutex_(other.mutex_) { other.mutex_ = nullptr; }
        Guard(const Guard&) = delete;
        Guard& operator=(const Guard&) = delete;
        Guard& operator=(Guard&&) = delete;
        ~Guard() { unlock(); }
        void unlock() {
            if (mutex_ != nullptr) mutex_->release();
            mutex_ = nullptr;
        }

    private:
        Mutex* mutex_;
    };

    struct Awaiter final : Continuation {
        explicit Awaiter(Mutex& owner) : mutex(owner) {}
        Mutex& mutex;
        std::coroutine_handle<> handle;
        bool await_ready() noexcept {
            if (mutex.locked_) return false;
            mutex.locked_ = true;
            return true;
        }
        void await_suspend(std::coroutine_handle<> suspended) {
            handle = suspended;
            mutex.waiting_.push(*this);
        }
        Guard await_resume() noexcept { return Guard(&mutex); }
        void resume() override { handle.resume(); }
    };
    Awaiter lock() { return Awaiter(*this); }
    [[nodiscard]] bool is_locked() const { return locked_; }

private:
    void release() {
        if (Continuation* next = waiting_.pop()) executor_.post(*next);  // stays locked, for it
        else locked_ = false;
    }

    Executor& executor_;
    ContinuationQueue waiting_;
    bool locked_ = false;
};

// Counts permits; at most `permits` holders. Fair.
class Semaphore {
public:
    Semaphore(Executor& executor, uint64_t permits) : executor_(executor), permits_(permits) {}
    Semaphore(const Semaphore&) = delete;
    Semaphore& operator=(const Semaphore&) = delete;
    ~Semaphore() { CHECK(waiting_.empty()); }

    struct Awaiter final : Continuation {
        explicit Awaiter(Semaphore& owner) : semaphore(owner) {}
        Semaphore& semaphore;
        std::coroutine_handle<> handle;
        bool await_ready() noexcept {
            if (semaphore.permits_ == 0) return false;
            --semaphore.permits_;
            return true;
        }
        void await_suspend(std::coroutine_handle<> suspended) {
            handle = suspended;
            semaphore.waiting_.push(*this);
        }
        void await_resume() const noexcept {}
        void resume() override { handle.resume(); }
    };
    Awaiter acquire() { return Awaiter(*this); }
    void release() {
        if (Continuation* next = waiting_.pop()) executor_.post(*next);  // the permit is passed on
        else ++permits_;
    }

private:
    Executor& executor_;
    uint64_t permits_;
    ContinuationQueue waiting_;
};

// Runs tasks beside each other and joins them. Its owner awaits join() before destroying it.
class TaskGroup {
public:
    explicit TaskGroup(Executor& executor) : idle_(executor) {}
    TaskGroup(const TaskGroup&) = delete;
    TaskGroup& operator=(const TaskGroup&) = delete;
    ~TaskGroup() { CHECK(running_ == 0); }

    // Starts `task` now; it runs until its first suspension inside this call.
    void spawn(Task<void> task) {
        ++running_;
        Runner runner = run(*this, std::move(task));
        runner.handle.resume();
    }
    // Waits until nothing runs. Tasks spawned meanwhile are waited for too.
    Task<void> join() {
        while (running_ > 0) co_await idle_.wait();
    }
    [[nodiscard]] size_t running() const { return running_; }

private:
    struct Runner {
        struct promise_type {
            static void* operator new(size_t size) { return allocate_frame(size); }
            static void operator delete(void* frame, size_t size) { release_frame(frame, size); }
            Runner get_return_object() {
                return {std::coroutine_handle<promise_type>::from_promise(*this)};
            }
            std::suspend_always initial_suspend() noexcept { return {}; }
            std::suspend_never final_suspend() noexcept { return {}; }
            void return_void() {}
            void unhandled_exception() noexcept { std::abort(); }
        };
        std::coroutine_handle<promise_type> handle;
    };
    static Runner run(TaskGroup& group, Task<void> task) {
        co_await std::move(task);
        if (--group.running_ == 0) group.idle_.notify_all();
    }

    Condition idle_;
    size_t running_ = 0;
};

}  // namespace stoa::io
