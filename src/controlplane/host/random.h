// Randomness: from the kernel, good for keys; SeededRandom repeats itself, for tests alone.
#pragma once

#include <cstdint>

#include "base/bytes.h"

namespace stoa::host {

class Random {
public:
    Random() = default;
    Random(const Random&) = delete;
    Random& operator=(const Random&) = delete;
    virtual ~Random() = default;

    // Cannot fail: a host without randomness aborts the program.
    virtual void fill(MutableBytes into) = 0;
    [[nodiscard]] uint64_t next();
};

// getrandom(2). Any thread.
class SystemRandom final : public Random {
public:
    void fill(MutableBytes into) override;
};

// One thread.
class SeededRandom final : public Random {
public:
    explicit SeededRandom(uint64_t seed) : state_(seed) {}
    void fill(MutableBytes into) override;

private:
    uint64_t state_;
};

}  // namespace stoa::host
