#include "controlplane/host/clock.h"

#include <ctime>

#include "base/check.h"

namespace stoa::host {

namespace {

int64_t read_clock(clockid_t clock) {
    timespec now{};
    CHECK(::clock_gettime(clock, &now) == 0);
    return int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

int64_t SystemClock::wall_ns() const { return read_clock(CLOCK_REALTIME); }
int64_t SystemClock::monotonic_ns() const { return read_clock(CLOCK_BOOTTIME); }

}  // namespace stoa::host
