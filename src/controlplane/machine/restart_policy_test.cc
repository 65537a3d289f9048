#include <gtest/gtest.h>

#include "controlplane/machine/restart_policy.h"

namespace stoa::machine {
namespace {

constexpr int64_t kSecond = 1'000'000'000;

TEST(RestartPolicy, pauses_double_up_to_five_minutes) {
    const model::RestartPolicy policy{.attempts_max = 20};
    model::VmStatus status;
    const int64_t pauses[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300};
    for (const int64_t pause : pauses) {
        count_crash(status, policy, 1000 * kSecond, kSecond);
        EXPECT_EQ(restart_at_ns(status, policy), (1000 + pause) * kSecond);
    }
}

TEST(RestartPolicy, attempts_end) {
    const model::RestartPolicy policy{.attempts_max = 2};
    model::VmStatus status;
    count_crash(status, policy, kSecond, kSecond);
    count_crash(status, policy, kSecond, kSecond);
    EXPECT_TRUE(restart_at_ns(status, policy).has_value());
    count_crash(status, policy, kSecond, kSecond);
    EXPECT_FALSE(restart_at_ns(status, policy).has_value());
}

TEST(RestartPolicy, a_long_run_forgives) {
    const model::RestartPolicy policy{.attempts_max = 2, .window_seconds = 60};
    model::VmStatus status;
    status.crashes = 2;
    count_crash(status, policy, 5 * kSecond, 60 * kSecond);
    EXPECT_EQ(status.crashes, 1U);
    EXPECT_EQ(restart_at_ns(status, policy), 6 * kSecond);
}

TEST(RestartPolicy, who_is_to_stay_off_does) {
    const model::RestartPolicy policy{.on_crash = model::OnCrash::stay_off};
    model::VmStatus status;
    count_crash(status, policy, 0, 0);
    EXPECT_FALSE(restart_at_ns(status, policy).has_value());
}

}  // namespace
}  // namespace stoa::machine
