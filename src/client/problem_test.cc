#include "client/problem.h"

#include <gtest/gtest.h>

namespace stoa::client {
namespace {

TEST(Problem, has_the_code_and_the_field_of_the_daemon) {
    const Problem problem = parse_problem(
        409,
        R"({"title":"Conflict","detail":"is used","code":"in_use","field":"disks","task":"t"})");
    EXPECT_EQ(problem.code, ErrorCode::in_use);
    EXPECT_EQ(problem.task, "t");
    EXPECT_EQ(problem.to_error().message(), "disks: is used");
    EXPECT_EQ(problem.to_error().code(), ErrorCode::in_use);
}

TEST(Problem, names_a_field_once) {
    const Problem problem =
        parse_problem(400, R"({"detail":"memory_bytes: must be more","field":"memory_bytes"})");
    EXPECT_EQ(problem.to_error().message(), "memory_bytes: must be more");
    EXPECT_EQ(problem.code, ErrorCode::invalid_argument);
}

TEST(Problem, is_described_if_it_cannot_be_read) {
    EXPECT_EQ(parse_problem(502, "<html>\x1b[2J").to_error().message(),
              "answered with status 502: <html>?[2J");
    EXPECT_EQ(parse_problem(404, "").to_error().message(), "answered with status 404");
    EXPECT_EQ(parse_problem(404, "").code, ErrorCode::not_found);
    EXPECT_EQ(parse_problem(401, "{}").to_error().code(), ErrorCode::denied);
    EXPECT_EQ(parse_problem(500, R"({"code":"nonsense","detail":1})").code, ErrorCode::io);
}

}  // namespace
}  // namespace stoa::client
