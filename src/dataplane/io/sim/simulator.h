// Simulator: an executor without time, threads or chance. Everything that happens follows from the
// seed: the same seed and the same program give the same run (simulator_test.cc).
//
// What is ready runs first in, first out. When nothing is, the clock jumps to the earliest timer;
// timers due at one instant fire in the order in which they were set.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "dataplane/io/executor.h"
#include "dataplane/io/frame_pool.h"
#include "dataplane/io/sim/random.h"
#include "dataplane/io/task.h"

namespace stoa::io::sim {

class Simulator final : public Executor {
public:
    static constexpr uint64_t kStartNs = 1'000'000'000;
    static constexpr uint64_t kWallBaseNs = 1'700'000'000'000'000'000;
    static constexpr uint64_t kStepsMax = 100'000'000;

    explicit Simulator(uint64_t seed) : random_(seed) {}
    Simulator(const Simulator&) = delete;
    Simulator& operator=(const Simulator&) = delete;

    void post(Continuation& item) override { ready_.push(item); }
    void post_at(uint64_t due_ns, Continuation& item) override;
    [[nodiscard]] uint64_t now_ns() const override { return now_ns_; }
    [[nodiscard]] uint64_t wall_ns() const override {
        return kWallBaseNs + now_ns_ + wall_jump_ns_;
    }
    [[nodiscard]] uint64_t random() override { return random_.next(); }

    // Takes `item` out of the timers; true if it was there. O(timers).
    bool cancel(const Continuation& item);
    // Moves the wall clock, not the monotonic one; negative: back.
    void jump_wall(int64_t by_ns) { wall_jump_ns_ += static_cast<uint64_t>(by_ns); }

    // Resumes the next continuation; false if nothing is queued.
    bool step();
    // Steps until nothing is queued, no timer either; false if `steps_max` were not enough.
    bool run_until_idle(uint64_t steps_max = kStepsMax);
    // Runs everything that happens within the next `duration_ns` and lets that time pass.
    void run_for(uint64_t duration_ns);
    [[nodiscard]] bool is_idle() const { return ready_.empty() && timers_.empty(); }
    [[nodiscard]] uint64_t steps() const { return steps_; }

    // Steps until `task` has ended and gives its result (void: true). Nothing, or false, if it
    // cannot end (nothing is queued any more: is_idle()) or did not within `steps_max`; the task
    // then still waits, ends normally if more steps let it, and is leaked if they never do.
    template <class T>
    auto try_run(Task<T> task, uint64_t steps_max = kStepsMax);
    // The same for a task that has to end: otherwise prints why it did not, and aborts.
    template <class T>
    T run(Task<T> task);

    // Mixes `value` into the trace: events of devices, and whatever a test wants to compare.
    void trace(uint64_t value) { trace_hash_ = mix(trace_hash_ + value); }
    // Equal for two runs in which the same things happened at the same simulated times.
    [[nodiscard]] uint64_t trace_hash() const { return trace_hash_; }

private:
    template <class T>
    struct Outcome {
        std::optional<T> value;
        [[nodiscard]] bool ended() const { return value.has_value(); }
    };
    struct Ended {};
    // The frame that awaits a task run from outside; frees itself when the task has ended.
    struct Root {
        struct promise_type {
            static void* operator new(size_t size) { return allocate_frame(size); }
            static void operator delete(void* frame, size_t size) { release_frame(frame, size); }
            Root get_return_object() {
                return {std::coroutine_handle<promise_type>::from_promise(*this)};
            }
            std::suspend_always initial_suspend() noexcept { return {}; }
            std::suspend_never final_suspend() noexcept { return {}; }
            void return_void() {}
            void unhandled_exception() noexcept { std::abort(); }
        };
        std::coroutine_handle<promise_type> handle;
    };
    // Shared: a stuck task keeps its outcome beyond the call that started it.
    template <class T, class Value>
    static Root drive(Task<T> task, std::shared_ptr<Outcome<Value>> outcome) {
        if constexpr (std::is_void_v<T>) {
            co_await std::move(task);
            outcome->value.emplace();
        } else {
            outcome->value.emplace(co_await std::move(task));
        }
    }
    [[noreturn]] void fail_stuck() const;

    Random random_;
    ContinuationQueue ready_;
    std::vector<Timer> timers_;  // a heap, the earliest on top
    uint64_t now_ns_ = kStartNs;
    uint64_t wall_jump_ns_ = 0;
    uint64_t sequence_ = 0;
    uint64_t steps_ = 0;
    uint64_t trace_hash_ = 0;
};

template <class T>
auto Simulator::try_run(Task<T> task, uint64_t steps_max) {
    using Value = std::conditional_t<std::is_void_v<T>, Ended, T>;
    auto outcome = std::make_shared<Outcome<Value>>();
    drive<T, Value>(std::move(task), outcome).handle.resume();
    for (uint64_t taken = 0; !outcome->ended() && taken < steps_max && step(); ++taken) {
    }
    if constexpr (std::is_void_v<T>) return outcome->ended();
    else return std::move(outcome->value);
}

template <class T>
T Simulator::run(Task<T> task) {
    auto result = try_run(std::move(task));
    if (!result) fail_stuck();
    if constexpr (!std::is_void_v<T>) return *std::move(result);
}

}  // namespace stoa::io::sim
