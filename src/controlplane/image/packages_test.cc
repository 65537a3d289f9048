#include "controlplane/image/packages.h"

#include <gtest/gtest.h>

namespace stoa::image {
namespace {

TEST(PackagesTest, versions_are_ordered_as_dpkg_orders_them) {
    const std::vector<std::string> ascending = {"1.0~rc1", "1.0",   "1.0-1", "1.0-1+b1", "1.0-2",
                                                "1.0a",    "1.0.1", "1.9",   "1.10",     "1:0.1"};
    for (size_t i = 0; i < ascending.size(); ++i) {
        for (size_t j = 0; j < ascending.size(); ++j) {
            EXPECT_EQ(is_older(ascending[i], ascending[j]), i < j)
                << ascending[i] << " " << ascending[j];
        }
    }
}

TEST(PackagesTest, the_newest_file_of_a_package_is_taken) {
    const std::vector<std::string> files = {"libc6_2.36-9_amd64.deb",
                                            "libc6_2.36-10_amd64.deb",
                                            "libc6-dev_2.37-1_amd64.deb",
                                            "libc6_2.37-1_amd64.deb.part",
                                            "qemu-guest-agent_1%3a7.2_amd64.deb",
                                            "qemu-guest-agent_8.0_amd64.deb",
                                            "linux-image-6.1.0-9-cloud-amd64_6.1.9-1_amd64.deb",
                                            "linux-image-6.1.0-10-cloud-amd64_6.1.20-1_amd64.deb",
                                            "linux-image-cloud-amd64_6.1.99-1_amd64.deb"};
    EXPECT_EQ(newest_file("libc6", files), "libc6_2.36-10_amd64.deb");
    EXPECT_EQ(newest_file("qemu-guest-agent", files), "qemu-guest-agent_1%3a7.2_amd64.deb");
    EXPECT_EQ(newest_file("linux-image-*", files),
              "linux-image-6.1.0-10-cloud-amd64_6.1.20-1_amd64.deb");
    EXPECT_EQ(newest_file("busybox-static", files), "");
}

}  // namespace
}  // namespace stoa::image
