// Task<T>: a lazy coroutine, awaited exactly once, that resolves to a T.
//
// A task starts when it is awaited and resumes its awaiter directly when it ends (symmetric
// transfer: no stack growth, no queue). Destroying a task that was not awaited, or has ended,
// frees it; destroying one that is suspended in the middle is a bug of the owner.
// Tasks never throw. Rules for arguments and captures: docs/decisions/003-coroutines.md.
#pragma once

#include <coroutine>
#include <cstdlib>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/result.h"
#include "dataplane/io/frame_pool.h"

namespace stoa::io {

template <class T = void>
class Task;

namespace detail {

struct PromiseBase {
    std::coroutine_handle<> awaiter;

    static void* operator new(size_t size) { return allocate_frame(size); }
    static void operator delete(void* frame, size_t size) { release_frame(frame, size); }

    std::suspend_always initial_suspend() noexcept { return {}; }
    struct FinalAwaiter {
        bool await_ready() noexcept { return false; }
        template <class Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> ended) noexcept {
            return ended.promise().awaiter;
        }
        void await_resume() noexcept {}
    };
    FinalAwaiter final_suspend() noexcept { return {}; }
    void unhandled_exception() noexcept { std::abort(); }
};

template <class T>
struct Promise : PromiseBase {
    std::optional<T> value;

    Task<T> get_return_object();
    template <class U>
    void return_value(U&& result) {
        value.emplace(std::forward<U>(result));
    }
};

template <>
struct Promise<void> : PromiseBase {
    Task<void> get_return_object();
    void return_void() {}
};

}  // namespace detail

template <class T>
class [[nodiscard]] Task {
public:
    using promise_type = detail::Promise<T>;
    using Handle = std::coroutine_handle<promise_type>;

    explicit Task(Handle handle) : handle_(handle) {}
    Task(Task&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
    Task& operator=(Task&&) = delete;
    Task(const Task&) = delete;
    Task& operator=(const Task&) = delete;
    ~Task() {
        if (handle_) handle_.destroy();
    }

    struct Awaiter {
        Handle handle;
        bool await_ready() const noexcept { return false; }
        std::coroutine_handle<> await_suspend(std::coroutine_handle<> awaiter) noexcept {
            handle.promise().awaiter = awaiter;
            return handle;
        }
        T await_resume() {
            if constexpr (!std::is_void_v<T>) return std::move(*handle.promise().value);
        }
    };
    Awaiter operator co_await() && noexcept { return Awaiter{handle_}; }

private:
    Handle handle_;
};

template <class T>
Task<T> detail::Promise<T>::get_return_object() {
    return Task<T>(Task<T>::Handle::from_promise(*this));
}

inline Task<void> detail::Promise<void>::get_return_object() {
    return Task<void>(Task<void>::Handle::from_promise(*this));
}

}  // namespace stoa::io
