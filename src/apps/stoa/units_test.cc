#include "apps/stoa/units.h"

#include <gtest/gtest.h>

namespace stoa::cli {
namespace {

TEST(Size, is_read_and_written) {
    EXPECT_EQ(*parse_size("4096"), 4096u);
    EXPECT_EQ(*parse_size("512M"), uint64_t{512} << 20);
    EXPECT_EQ(*parse_size("10GiB"), uint64_t{10} << 30);
    EXPECT_EQ(*parse_size("1.5g"), uint64_t{3} << 29);
    for (const char* wrong : {"", "G", "-1", "1X", "1.2.3", "1 G", "0.3", "99999999P", "1iB"}) {
        EXPECT_FALSE(parse_size(wrong).ok()) << wrong;
    }
    EXPECT_EQ(format_size(0), "0 B");
    EXPECT_EQ(format_size(uint64_t{512} << 20), "512 MiB");
    EXPECT_EQ(format_size(uint64_t{3} << 29), "1.5 GiB");
    EXPECT_EQ(format_size(UINT64_MAX), "16.0 EiB");
}

TEST(Duration, is_read_and_written) {
    EXPECT_EQ(*parse_seconds("90"), 90u);
    EXPECT_EQ(*parse_seconds("5m"), 300u);
    EXPECT_EQ(*parse_seconds("7d"), 604'800u);
    for (const char* wrong : {"", "m", "5x", "-1s", "1e9d"}) {
        EXPECT_FALSE(parse_seconds(wrong).ok()) << wrong;
    }
    EXPECT_EQ(format_duration(0), "0s");
    EXPECT_EQ(format_duration(59), "59s");
    EXPECT_EQ(format_duration(310), "5m 10s");
    EXPECT_EQ(format_duration(7200), "2h");
    EXPECT_EQ(format_duration(3 * 86400 + 4 * 3600 + 59), "3d 4h");
}

}  // namespace
}  // namespace stoa::cli
