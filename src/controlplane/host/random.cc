#include "controlplane/host/random.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/check.h"

namespace stoa::host {

uint64_t Random::next() {
    uint64_t value = 0;
    fill(std::as_writable_bytes(std::span(&value, 1)));
    return value;
}

void SystemRandom::fill(MutableBytes into) {
    while (!into.empty()) {
        const ssize_t got = ::getrandom(into.data(), into.size(), 0);
        if (got < 0 && errno == EINTR) continue;
        CHECK(got > 0);
        into = into.subspan(static_cast<size_t>(got));
    }
}

// SplitMix64 (Steele, Lea, Flood 2014).
void SeededRandom::fill(MutableBytes into) {
    while (!into.empty()) {
        state_ += 0x9e3779b97f4a7c15;
        uint64_t value = state_;
        value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9;
        value = (value ^ (value >> 27)) * 0x94d049bb133111eb;
        value ^= value >> 31;
        const size_t piece = std::min(into.size(), sizeof value);
        std::memcpy(into.data(), &value, piece);
        into = into.subspan(piece);
    }
}

}  // namespace stoa::host
