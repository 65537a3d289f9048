#include <gtest/gtest.h>

#include "controlplane/machine/admission.h"

namespace stoa::machine {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kGiB = uint64_t{1} << 30;

TEST(Admission, the_smaller_of_host_and_cgroup_counts_less_what_is_kept) {
    EXPECT_EQ(guest_bytes_max({.host_bytes = 16 * kGiB, .reserve_bytes = kGiB}), 15 * kGiB);
    EXPECT_EQ(guest_bytes_max({.host_bytes = 16 * kGiB,
                               .cgroup_limit_bytes = 8 * kGiB,
                               .reserve_bytes = kGiB,
                               .caches_bytes = kGiB}),
              6 * kGiB);
    EXPECT_EQ(guest_bytes_max({.host_bytes = kGiB, .reserve_bytes = 2 * kGiB}), 0U);
}

TEST(Admission, a_guest_under_tcg_costs_more_than_under_kvm) {
    model::VmSpec spec;
    spec.memory_bytes = 128 * kMiB;
    EXPECT_GT(guest_bytes(spec, "kvm"), spec.memory_bytes);
    EXPECT_GE(guest_bytes(spec, "tcg"), guest_bytes(spec, "kvm") + 180 * kMiB);
}

TEST(Admission, what_does_not_fit_is_refused_with_all_figures) {
    const MemoryBudget budget{.host_bytes = 4 * kGiB, .reserve_bytes = kGiB};
    EXPECT_TRUE(admit(budget, 2 * kGiB, kGiB, "web1").ok());
    const auto refused = admit(budget, 2 * kGiB, kGiB + kMiB, "web1");
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), ErrorCode::no_space);
    EXPECT_EQ(refused.error().message(),
              "vm web1 needs 1.0 GiB of memory with the overhead of QEMU; 1.0 GiB of 3.0 GiB for "
              "guests are left: stop another VM, give this one less, or lower the host's reserve "
              "of 1.0 GiB");
}

}  // namespace
}  // namespace stoa::machine
