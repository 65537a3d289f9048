#include "apps/stoa/text.h"

#include <gtest/gtest.h>

namespace stoa::cli {
namespace {

TEST(Table, is_aligned) {
    Table table({{.title = "NAME"}, {.title = "SIZE", .is_number = true}});
    table.add({"web1", "512 MiB"});
    table.add({"größe", "1 GiB"});
    EXPECT_EQ(table.to_text(0),
              "NAME      SIZE\n"
              "web1   512 MiB\n"
              "größe    1 GiB\n");
}

TEST(Table, is_cut_where_it_is_widest) {
    Table table({{.title = "A"}, {.title = "B"}});
    table.add({"short", "a text that is much too long for it"});
    EXPECT_EQ(table.to_text(20),
              "A      B\n"
              "short  a text that …\n");
}

TEST(Text, is_cut_between_characters) {
    EXPECT_EQ(cut("größe", 5), "größe");
    EXPECT_EQ(cut("größe", 4), "grö…");
    EXPECT_EQ(cut("ab", 1), "…");
    EXPECT_EQ(cut("ab", 0), "");
}

TEST(Text, is_wrapped_at_words) {
    EXPECT_EQ(wrap("one two three", 2, 10), "one two\n  three");
    EXPECT_EQ(wrap("averylongword b", 2, 6), "averylongword\n  b");
}

}  // namespace
}  // namespace stoa::cli
