#include "base/result.h"

#include <memory>
#include <string>

#include <gtest/gtest.h>

namespace stoa {
namespace {

Result<int> half_of(int number) {
    if (number % 2 != 0) {
        return Error(ErrorCode::invalid_argument, "number " + std::to_string(number) + " is odd");
    }
    return number / 2;
}

Result<void> must_be_even(int number) {
    TRY(half_of(number));
    return {};
}

Result<int> quarter_of(int number) {
    TRY_ASSIGN(const int half, half_of(number));
    TRY_ASSIGN(const int quarter, half_of(half));
    return quarter;
}

TEST(Result, holds_its_value) {
    const Result<int> result = half_of(8);
    ASSERT_TRUE(result.ok());
    EXPECT_TRUE(static_cast<bool>(result));
    EXPECT_EQ(*result, 4);
}

TEST(Result, holds_its_error) {
    const Result<int> result = half_of(7);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().code(), ErrorCode::invalid_argument);
    EXPECT_EQ(result.error().message(), "number 7 is odd");
    EXPECT_EQ(result.error().system_errno(), 0);
}

TEST(Result, moves_a_value_that_cannot_be_copied) {
    Result<std::unique_ptr<int>> result = std::make_unique<int>(5);
    ASSERT_TRUE(result.ok());
    const std::unique_ptr<int> taken = *std::move(result);
    EXPECT_EQ(*taken, 5);
}

TEST(Result, arrow_reaches_the_members_of_the_value) {
    Result<std::string> result = std::string("pool");
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->size(), 4U);
}

TEST(Result, try_returns_the_error_of_a_step) {
    EXPECT_TRUE(must_be_even(2).ok());
    const Result<void> result = must_be_even(3);
    ASSERT_FALSE(result.ok());
    EXPECT_EQ(result.error().message(), "number 3 is odd");
}

TEST(Result, try_assign_passes_values_on_and_stops_at_the_first_error) {
    const Result<int> good = quarter_of(12);
    ASSERT_TRUE(good.ok());
    EXPECT_EQ(*good, 3);
    const Result<int> bad = quarter_of(6);
    ASSERT_FALSE(bad.ok());
    EXPECT_EQ(bad.error().message(), "number 3 is odd");
}

TEST(Error, context_comes_before_the_message_and_keeps_code_and_errno) {
    const Error inner(ErrorCode::io, "read of 4096 bytes failed", 5);
    const Error outer = inner.with_context("device nvme0");
    EXPECT_EQ(outer.message(), "device nvme0: read of 4096 bytes failed");
    EXPECT_EQ(outer.code(), ErrorCode::io);
    EXPECT_EQ(outer.system_errno(), 5);
}

TEST(Error, every_code_has_words) {
    for (int code = 0; code <= static_cast<int>(ErrorCode::denied); ++code) {
        EXPECT_NE(to_string(static_cast<ErrorCode>(code)), "unknown") << "code " << code;
    }
}

}  // namespace
}  // namespace stoa
