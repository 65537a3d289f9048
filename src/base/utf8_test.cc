#include "base/utf8.h"

#include <gtest/gtest.h>

namespace stoa {
namespace {

TEST(Utf8Test, tells_text_from_bytes) {
    for (const char* good : {"", "disk", "Stra\xC3\x9F!", "\xE2\x82\xAC", "\xF0\x9F\x98\x80",
                             "\xED\x9F\xBF", "\xF4\x8F\xBF\xBF"}) {
        EXPECT_TRUE(is_utf8(good)) << good;
    }
    for (const char* bad :
         {"\x80", "\xC0\xAF", "\xC3", "\xE0\x80\x80", "\xED\xA0\x80", "\xF0\x80\x80\x80",
          "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "a\xFF", "\xE2\x82"}) {
        EXPECT_FALSE(is_utf8(bad)) << bad;
    }
}

TEST(Utf8Test, bytes_that_are_no_text_are_replaced_and_the_text_around_them_stays) {
    EXPECT_EQ(to_utf8("Stra\xC3\x9F"), "Stra\xC3\x9F");
    EXPECT_EQ(to_utf8("a\xFFz\xE2\x82"), "a\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(Utf8Test, a_prefix_never_cuts_a_character) {
    EXPECT_EQ(utf8_prefix("a\xE2\x82\xAC", 3), "a");
    EXPECT_EQ(utf8_prefix("a\xE2\x82\xAC", 4), "a\xE2\x82\xAC");
    EXPECT_EQ(utf8_prefix("\xE2\x82\xAC", 2), "");
}

TEST(Utf8Test, valid_bytes_end_at_the_first_that_is_no_character) {
    EXPECT_EQ(utf8_bytes(""), 0U);
    EXPECT_EQ(utf8_bytes("a\xE2\x82\xAC"), 4U);
    EXPECT_EQ(utf8_bytes("a\xE2\x82"), 1U);
    EXPECT_EQ(utf8_bytes("\xFF"), 0U);
}

TEST(Utf8Test, control_characters_are_found_and_not_shown) {
    EXPECT_EQ(find_control("a b\xC2\xA0"), std::string_view::npos);
    EXPECT_EQ(find_control("ab\t"), 2U);
    EXPECT_EQ(find_control("a\x7F"), 1U);
    EXPECT_EQ(find_control("a\xC2\x80"), 1U);
    EXPECT_EQ(to_plain_text("a\x1B[1m\xC2\x9F\xE2\x82\xAC\xFF"), "a?[1m?\xE2\x82\xAC?");
    EXPECT_EQ(to_plain_text("\xE2\x82"), "??");
}

}  // namespace
}  // namespace stoa
