// Random: a small deterministic generator (xoshiro256**, Blackman and Vigna, seeded by splitmix64).
// The same seed gives the same numbers on every machine. Not for secrets.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>

#include "base/check.h"

namespace stoa::io::sim {

// Scrambles 64 bits: a bijection in which every input bit changes half of the output bits.
constexpr uint64_t mix(uint64_t value) {
    value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
    value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
    return value ^ (value >> 31);
}

class Random {
public:
    explicit Random(uint64_t seed) {
        for (uint64_t& word : state_) word = mix(seed += 0x9e3779b97f4a7c15);
    }

    // 64 random bits.
    uint64_t next() {
        const uint64_t result = std::rotl(state_[1] * 5, 7) * 9;
        const uint64_t shifted = state_[1] << 17;
        state_[2] ^= state_[0];
        state_[3] ^= state_[1];
        state_[1] ^= state_[2];
        state_[0] ^= state_[3];
        state_[2] ^= shifted;
        state_[3] = std::rotl(state_[3], 45);
        return result;
    }
    // 0 .. n - 1; n > 0.
    uint64_t below(uint64_t n) {
        CHECK(n > 0);
        return next() % n;
    }
    // first .. last, both included.
    uint64_t between(uint64_t first, uint64_t last) { return first + below(last - first + 1); }
    // True with probability `p`, 0 .. 1. Draws nothing where the answer is certain.
    bool chance(double p) {
        if (p <= 0) return false;
        if (p >= 1) return true;
        return static_cast<double>(next() >> 11) * 0x1p-53 < p;
    }
    // An element of a container that is not empty.
    template <class Container>
    auto& pick(Container& items) {
        return items[static_cast<size_t>(below(items.size()))];
    }
    template <class Container>
    void shuffle(Container& items) {
        for (size_t left = items.size(); left > 1; --left) {
            std::swap(items[left - 1], items[static_cast<size_t>(below(left))]);
        }
    }

private:
    std::array<uint64_t, 4> state_{};
};

}  // namespace stoa::io::sim
