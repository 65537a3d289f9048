// Latencies in constant memory: a sample costs the same whether it is the first or the millionth,
// so that counting does not make the spikes that it looks for.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <ctime>

namespace stoa::bench {

// Nanoseconds in buckets of at most 1/64 of their value.
class Histogram {
public:
    void add(uint64_t ns) {
        ++counts_[bucket(ns)];
        ++total_;
        max_ = std::max(max_, ns);
    }
    [[nodiscard]] uint64_t count() const { return total_; }
    [[nodiscard]] double max_us() const { return static_cast<double>(max_) / 1e3; }
    // The value that `part` (0 .. 1) of the samples do not exceed; 0 without samples.
    [[nodiscard]] double quantile_us(double part) const {
        const auto wanted = static_cast<uint64_t>(part * static_cast<double>(total_));
        uint64_t seen = 0;
        for (size_t i = 0; i < counts_.size(); ++i) {
            seen += counts_[i];
            if (seen > wanted) return std::min(static_cast<double>(upper(i)) / 1e3, max_us());
        }
        return max_us();
    }

private:
    static constexpr unsigned kBits = 6;
    static constexpr uint64_t kParts = uint64_t{1} << kBits;

    static size_t bucket(uint64_t ns) {
        if (ns < kParts) return ns;
        const auto shift = static_cast<unsigned>(std::bit_width(ns)) - kBits - 1;
        return (shift + 1) * kParts + ((ns >> shift) & (kParts - 1));
    }
    static uint64_t upper(size_t bucket) {
        if (bucket < kParts) return bucket;
        const uint64_t shift = bucket / kParts - 1;
        return ((kParts | bucket % kParts) + 1) << shift;
    }

    std::array<uint64_t, (64 - kBits + 1) * kParts> counts_{};
    uint64_t total_ = 0;
    uint64_t max_ = 0;
};

inline uint64_t clock_ns(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

// Time on the wall, and time that this thread computed meanwhile. With a device in memory and one
// thread the second is the first without what other processes on the machine took; sleeps, and
// waits for a real device, are only in the first.
struct Latencies {
    Histogram wall;
    Histogram cpu;
};

class Stopwatch {
public:
    void record(Latencies& into) const {
        into.cpu.add(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_);
        into.wall.add(clock_ns(CLOCK_MONOTONIC) - wall_);
    }
    [[nodiscard]] double wall_ms() const {
        return static_cast<double>(clock_ns(CLOCK_MONOTONIC) - wall_) / 1e6;
    }
    [[nodiscard]] double cpu_ms() const {
        return static_cast<double>(clock_ns(CLOCK_THREAD_CPUTIME_ID) - cpu_) / 1e6;
    }

private:
    uint64_t wall_ = clock_ns(CLOCK_MONOTONIC);
    uint64_t cpu_ = clock_ns(CLOCK_THREAD_CPUTIME_ID);
};

}  // namespace stoa::bench
