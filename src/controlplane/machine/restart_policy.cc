#include "controlplane/machine/restart_policy.h"

#include <algorithm>

namespace stoa::machine {

namespace {

constexpr int64_t kSecondNs = 1'000'000'000;
constexpr int64_t kPauseSecondsMax = 300;
constexpr uint32_t kDoublingsMax = 9;  // 2^9 s is beyond the longest pause

}  // namespace

void count_crash(model::VmStatus& status, const model::RestartPolicy& policy, int64_t now_ns,
                 int64_t ran_ns) {
    if (ran_ns >= int64_t{policy.window_seconds} * kSecondNs) status.crashes = 0;
    ++status.crashes;
    status.crashed_ns = now_ns;
}

std::optional<int64_t> restart_at_ns(const model::VmStatus& status,
                                     const model::RestartPolicy& policy) {
    if (policy.on_crash == model::OnCrash::stay_off) return std::nullopt;
    if (status.crashes == 0 || status.crashes > policy.attempts_max) return std::nullopt;
    const uint32_t doublings = std::min(status.crashes - 1, kDoublingsMax);
    const int64_t pause = std::min(int64_t{1} << doublings, kPauseSecondsMax);
    return status.crashed_ns + pause * kSecondNs;
}

}  // namespace stoa::machine
