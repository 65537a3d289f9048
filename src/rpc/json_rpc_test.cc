#include "rpc/json_rpc.h"

#include <gtest/gtest.h>

namespace stoa::rpc {
namespace {

// What the client of a call reads if the server writes `line`.
Message read(const std::string& line) {
    EXPECT_TRUE(line.ends_with('\n'));
    auto message = parse_message(line);
    EXPECT_TRUE(message.ok()) << line;
    return *std::move(message);
}

TEST(JsonRpcTest, a_call_arrives_with_its_parameters) {
    const Parsed parsed = parse_request(request_line("volume.get", JsonObject{{"volume", "a"}}, 7));
    ASSERT_TRUE(parsed.request.has_value());
    EXPECT_EQ(parsed.request->method, "volume.get");
    EXPECT_EQ(to_text(parsed.request->params), R"({"volume":"a"})");
    EXPECT_EQ(to_text(parsed.request->id), "7");
    EXPECT_FALSE(parsed.request->is_notification);
    EXPECT_TRUE(parse_request(R"({"jsonrpc":"2.0","method":"a"})").request->is_notification);
}

TEST(JsonRpcTest, an_answer_is_a_result_or_the_same_error) {
    EXPECT_EQ(to_text(*read(result_line(1, JsonArray{1, 2})).result), "[1,2]");
    const Message failed = read(error_line("x", Error(ErrorCode::no_space, "pool a is full")));
    EXPECT_EQ(failed.result.error().code(), ErrorCode::no_space);
    EXPECT_EQ(failed.result.error().message(), "pool a is full");
    EXPECT_EQ(to_text(failed.id), "\"x\"");
    EXPECT_EQ(read(unknown_method_line(1, "a")).result.error().message(),
              "unknown method \"a\"; rpc.methods lists them");
}

TEST(JsonRpcTest, a_notification_has_no_id) {
    const Message message = read(notification_line("event", JsonObject{{"text", "t"}}));
    EXPECT_TRUE(message.is_notification);
    EXPECT_EQ(message.method, "event");
    EXPECT_EQ(to_text(message.params), R"({"text":"t"})");
}

TEST(JsonRpcTest, what_is_no_request_is_told_why) {
    const auto refusal = [](std::string_view line) {
        const Parsed parsed = parse_request(line);
        EXPECT_FALSE(parsed.request.has_value()) << line;
        return read(malformed_line(parsed.malformed)).result.error().message();
    };
    EXPECT_EQ(refusal("{"), "JSON: incomplete JSON at byte 1 of 1");
    EXPECT_EQ(refusal("[]"), "request: it must be one object");
    EXPECT_EQ(refusal(R"({"method":"a"})"), "request: \"jsonrpc\" must be \"2.0\"");
    EXPECT_EQ(refusal(R"({"jsonrpc":"2.0","id":{}})"),
              "request: \"id\" must be a string, a number or null");
    EXPECT_EQ(refusal(R"({"jsonrpc":"2.0","id":1})"), "request: \"method\" must be a string");
    EXPECT_EQ(refusal(R"({"jsonrpc":"2.0","method":"a","params":[1]})"),
              "request: \"params\" must be an object with named parameters");
}

TEST(JsonRpcTest, what_is_no_answer_is_an_error) {
    for (const char* line :
         {"", "[]", "{}", R"({"jsonrpc":"2.0"})", R"({"jsonrpc":"2.0","id":1})"}) {
        EXPECT_EQ(parse_message(line).error().code(), ErrorCode::invalid_argument) << line;
    }
    EXPECT_FALSE(parse_message(R"({"jsonrpc":"2.0","id":1,"error":7})")->result.ok());
}

}  // namespace
}  // namespace stoa::rpc
