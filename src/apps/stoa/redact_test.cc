#include "apps/stoa/redact.h"

#include <gtest/gtest.h>

namespace stoa::cli {
namespace {

TEST(Redaction, takes_out_what_is_named_like_a_secret) {
    const Json value = *parse_json(
        R"({"name":"a","API_TOKEN":"x","nested":[{"password":"y","has_password":true}],)"
        R"("password_ns":5})");
    const std::string expected =
        R"json({"name":"a","API_TOKEN":"(removed)","nested":[{"password":"(removed)",)json"
        R"("has_password":true}],"password_ns":5})";
    EXPECT_EQ(to_text(redacted(value)), expected);
}

TEST(Redaction, takes_secrets_out_of_texts) {
    EXPECT_EQ(redacted_text("root=/dev/vda user.password=abc quiet"),
              "root=/dev/vda user.password=(removed) quiet");
    EXPECT_EQ(redacted_text("Authorization: Bearer abc.def, token: \"a b\" end"),
              "Authorization: Bearer (removed) token: (removed) end");
    EXPECT_EQ(redacted_text("a token is kept"), "a token is kept");
}

}  // namespace
}  // namespace stoa::cli
