// Names that users give: which are refused, and what they are told.
#include "dataplane/pool/names.h"

#include <gtest/gtest.h>

#include <string>

namespace stoa::pool {
namespace {

std::string refusal(const std::string& name) {
    const Result<void> checked = check_name(name, "volume");
    return checked.ok() ? "" : checked.error().message();
}

std::string pool_refusal(const std::string& name) {
    const Result<void> checked = check_pool_name(name);
    return checked.ok() ? "" : checked.error().message();
}

TEST(Names, text_in_any_language_is_a_name) {
    for (const char* good : {"db", "web 2", "größe", "データ", "a\xF0\x9F\x98\x80", "\xC2\xA0"}) {
        EXPECT_EQ(refusal(good), "");
        EXPECT_EQ(pool_refusal(good), "");
    }
    EXPECT_EQ(pool_refusal("a/b@c"), "");
}

TEST(Names, what_is_no_text_is_refused_and_not_repeated) {
    EXPECT_EQ(refusal("a\nb"), "'a?b' is no volume name: byte 2 is a control character (0x0a)");
    EXPECT_EQ(refusal("\x7F"), "'?' is no volume name: byte 1 is a control character (0x7f)");
    EXPECT_EQ(refusal(std::string("ab\0", 3)),
              "'ab?' is no volume name: byte 3 is a control character (0x00)");
    EXPECT_EQ(refusal("ab\xC2\x9B"),
              "'ab?' is no volume name: byte 3 is a control character (U+009B)");
    EXPECT_EQ(refusal("ab\xFFz"), "'ab?z' is no volume name: it is not UTF-8 from byte 3 on");
    EXPECT_EQ(refusal("\xC0\x8A"),
              "'?"
              "?' is no volume name: it is not UTF-8 from byte 1 on");
    EXPECT_EQ(refusal("x\xED\xA0\x80"),
              "'x?"
              "?"
              "?' is no volume name: it is not UTF-8 from byte 2 on");
    EXPECT_EQ(pool_refusal("a\x1B[2J"),
              "'a?[2J' is no pool name: byte 2 is a control character (0x1b)");
    EXPECT_EQ(pool_refusal("\x80"), "'?' is no pool name: it is not UTF-8 from byte 1 on");
}

TEST(Names, lengths_and_separators) {
    EXPECT_EQ(refusal(""), "'' is no volume name: it has 0 bytes, allowed are 1 to 63");
    EXPECT_EQ(
        refusal(std::string(64, 'n')),
        "'" + std::string(64, 'n') + "' is no volume name: it has 64 bytes, allowed are 1 to 63");
    EXPECT_EQ(pool_refusal(""), "'' is no pool name: it has 0 bytes, allowed are 1 to 31");
    EXPECT_EQ(refusal("a/b"), "'a/b' is no volume name: '/' and '@' are not allowed in it");
    EXPECT_EQ(refusal("a@b"), "'a@b' is no volume name: '/' and '@' are not allowed in it");
    // A message does not repeat a megabyte.
    EXPECT_LT(refusal(std::string(1 << 20, 'n')).size(), 200U);
    EXPECT_LT(refusal(std::string(1 << 20, '\n')).size(), 200U);
}

}  // namespace
}  // namespace stoa::pool
