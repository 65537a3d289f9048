#include "controlplane/qemu/line_buffer.h"

#include <gtest/gtest.h>

namespace stoa::qemu {
namespace {

// The next line; "-": too long; "!": none.
std::string next_of(LineBuffer& buffer) {
    auto line = buffer.next();
    if (!line) return "!";
    return line->ok() ? **line : "-";
}

TEST(LineBufferTest, lines_come_whole_however_they_arrive) {
    LineBuffer buffer({.line_bytes_max = 10});
    for (const char c : std::string("one\ntwo\n\nthr")) buffer.add({&c, 1});
    EXPECT_EQ(next_of(buffer), "one");
    EXPECT_EQ(next_of(buffer), "two");
    EXPECT_EQ(next_of(buffer), "");
    EXPECT_EQ(next_of(buffer), "!");
    buffer.add("ee\n");
    EXPECT_EQ(next_of(buffer), "three");
}

TEST(LineBufferTest, a_line_that_is_too_long_is_skipped_to_its_end) {
    LineBuffer buffer({.line_bytes_max = 4});
    buffer.add("1234\n12345");
    buffer.add("67");
    buffer.add("8\nnext\n");
    EXPECT_EQ(next_of(buffer), "1234");
    EXPECT_EQ(next_of(buffer), "-");
    EXPECT_EQ(next_of(buffer), "next");
}

TEST(LineBufferTest, what_came_before_ff_is_forgotten_in_its_line_alone) {
    LineBuffer buffer({.line_bytes_max = 8, .starts_anew_at_ff = true});
    buffer.add("first\nhalf\xff");
    buffer.add("second\nmuch too long to be kept\xffthird\n");
    EXPECT_EQ(next_of(buffer), "first");
    EXPECT_EQ(next_of(buffer), "second");
    EXPECT_EQ(next_of(buffer), "third");
    EXPECT_EQ(next_of(buffer), "!");
}

}  // namespace
}  // namespace stoa::qemu
