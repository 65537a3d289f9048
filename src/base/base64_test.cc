#include "base/base64.h"

#include <gtest/gtest.h>

namespace stoa {
namespace {

TEST(Base64, the_examples_of_rfc_4648) {
    const std::pair<std::string, std::string> examples[] = {{"", ""},
                                                            {"f", "Zg=="},
                                                            {"fo", "Zm8="},
                                                            {"foo", "Zm9v"},
                                                            {"foob", "Zm9vYg=="},
                                                            {"fooba", "Zm9vYmE="},
                                                            {"foobar", "Zm9vYmFy"},
                                                            {"\xff\xfe", "//4="}};
    for (const auto& [bytes, text] : examples) {
        EXPECT_EQ(to_base64(bytes), text);
        EXPECT_EQ(*from_base64(text), bytes);
    }
}

TEST(Base64, all_bytes_come_back) {
    std::string bytes;
    for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
    EXPECT_EQ(*from_base64(to_base64(bytes)), bytes);
}

TEST(Base64, what_is_no_base64_is_refused) {
    for (const std::string text : {"Zg", "Zg=", "Z===", "====", "Zm9v\n", "Zm=v",
                                   "Zg==Zg==", "Zm9*", "Z", "Zm9\n", "Zm9v\xff"}) {
        EXPECT_FALSE(from_base64(text).ok()) << text;
    }
}

}  // namespace
}  // namespace stoa
