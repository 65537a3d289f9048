// Time, as the control plane sees it; TestClock stands still until it is told to go on.
#pragma once

#include <cstdint>

namespace stoa::host {

class Clock {
public:
    Clock() = default;
    Clock(const Clock&) = delete;
    Clock& operator=(const Clock&) = delete;
    virtual ~Clock() = default;

    // Since 1970; jumps when somebody sets it. For what people read, and for validity.
    [[nodiscard]] virtual int64_t wall_ns() const = 0;
    // Since the host's start, also while it slept; never goes back. For durations.
    [[nodiscard]] virtual int64_t monotonic_ns() const = 0;
};

// Any thread.
class SystemClock final : public Clock {
public:
    [[nodiscard]] int64_t wall_ns() const override;
    [[nodiscard]] int64_t monotonic_ns() const override;
};

// One thread. Public, so that tests say what time it is.
class TestClock final : public Clock {
public:
    [[nodiscard]] int64_t wall_ns() const override { return now_wall_ns; }
    [[nodiscard]] int64_t monotonic_ns() const override { return now_monotonic_ns; }
    void advance_ns(int64_t by_ns) {
        now_wall_ns += by_ns;
        now_monotonic_ns += by_ns;
    }

    int64_t now_wall_ns = int64_t{1'700'000'000} * 1'000'000'000;
    int64_t now_monotonic_ns = 1'000'000'000;
};

}  // namespace stoa::host
