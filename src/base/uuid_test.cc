#include "base/uuid.h"

#include <string>

#include <gtest/gtest.h>

namespace stoa {
namespace {

constexpr std::string_view kText = "0191e0c8-7b3a-7c4d-9e5f-a0b1c2d3e4f5";

TEST(Uuid, prints_what_it_parsed) {
    const Result<Uuid> id = Uuid::parse(kText);
    ASSERT_TRUE(id.ok());
    EXPECT_EQ(id->to_string(), kText);
    EXPECT_EQ(id->bytes[0], std::byte{0x01});
    EXPECT_EQ(id->bytes[15], std::byte{0xf5});
}

TEST(Uuid, accepts_upper_case_and_prints_lower_case) {
    const Result<Uuid> id = Uuid::parse("0191E0C8-7B3A-7C4D-9E5F-A0B1C2D3E4F5");
    ASSERT_TRUE(id.ok());
    EXPECT_EQ(id->to_string(), kText);
}

TEST(Uuid, refuses_every_prefix_and_every_foreign_character) {
    for (size_t length = 0; length < kText.size(); ++length) {
        EXPECT_FALSE(Uuid::parse(kText.substr(0, length)).ok()) << "length " << length;
    }
    EXPECT_FALSE(Uuid::parse(std::string(kText) + "0").ok());
    for (size_t at = 0; at < kText.size(); ++at) {
        std::string text(kText);
        text[at] = 'g';
        const Result<Uuid> id = Uuid::parse(text);
        ASSERT_FALSE(id.ok()) << text;
        EXPECT_EQ(id.error().code(), ErrorCode::invalid_argument);
    }
}

TEST(Uuid, error_names_the_text) {
    const Result<Uuid> id = Uuid::parse("web1");
    ASSERT_FALSE(id.ok());
    EXPECT_NE(id.error().message().find("'web1'"), std::string::npos);
}

TEST(Uuid, default_is_nil) {
    EXPECT_TRUE(Uuid{}.is_nil());
    EXPECT_EQ(Uuid{}.to_string(), "00000000-0000-0000-0000-000000000000");
}

TEST(Uuid, from_random_sets_version_and_variant_and_keeps_the_other_bits) {
    EXPECT_EQ(Uuid::from_random(0, 0).to_string(), "00000000-0000-4000-8000-000000000000");
    EXPECT_EQ(Uuid::from_random(~uint64_t{0}, ~uint64_t{0}).to_string(),
              "ffffffff-ffff-4fff-bfff-ffffffffffff");
}

TEST(Uuid, orders_by_bytes) {
    EXPECT_LT(Uuid::from_random(1, 0), Uuid::from_random(2, 0));
    EXPECT_EQ(Uuid::from_random(7, 9), Uuid::from_random(7, 9));
}

TEST(UuidHash, is_the_same_for_equal_and_differs_for_neighbours) {
    const UuidHash hash;
    EXPECT_EQ(hash(Uuid::from_random(7, 9)), hash(Uuid::from_random(7, 9)));
    EXPECT_NE(hash(Uuid::from_random(7, 9)), hash(Uuid::from_random(7, 10)));
    EXPECT_NE(hash(Uuid::from_random(7, 9)), hash(Uuid::from_random(8, 9)));
}

}  // namespace
}  // namespace stoa
