#include "base/output.h"

#include <gtest/gtest.h>

namespace stoa {
namespace {

TEST(OutputTest, one_is_singular) {
    EXPECT_EQ(count_of(0, "problem"), "0 problems");
    EXPECT_EQ(count_of(1, "problem"), "1 problem");
    EXPECT_EQ(count_of(1, "crash", "crashes"), "1 crash");
    EXPECT_EQ(count_of(0, "crash", "crashes"), "0 crashes");
    EXPECT_EQ(count_of(2, "data block"), "2 data blocks");
}

TEST(OutputTest, a_stream_that_is_full_throws_nothing_and_remembers) {
    std::FILE* full = std::fopen("/dev/full", "w");
    ASSERT_NE(full, nullptr);
    write_text(full, std::string(1 << 20, 'x'));
    EXPECT_NE(std::ferror(full), 0);
    std::fclose(full);
}

}  // namespace
}  // namespace stoa
