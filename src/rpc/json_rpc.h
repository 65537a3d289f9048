// JSON-RPC 2.0 (jsonrpc.org/specification), one message a line: the frame of every call.
//
// Batches are not taken. An error of the called function has the code -32000 and says which
// ErrorCode it is in data.code.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "base/json.h"
#include "base/result.h"

namespace stoa::rpc {

constexpr size_t kLineBytesMax = 1 << 20;  // longer messages end the connection

struct Request {
    std::string method;
    Json params = JsonObject();
    Json id;  // a string, a number or null
    bool is_notification = false;  // no answer is wanted
};

// What is wrong with a request before anybody was called.
struct Malformed {
    int code = 0;  // -32700: no JSON; -32600: no request
    std::string message;
    Json id;
};

struct Parsed {
    std::optional<Request> request;  // else:
    Malformed malformed;
};

[[nodiscard]] Parsed parse_request(std::string_view line);

// All of these end with a newline.
[[nodiscard]] std::string request_line(std::string_view method, const Json& params, uint64_t id);
[[nodiscard]] std::string result_line(const Json& id, const Json& result);
[[nodiscard]] std::string error_line(const Json& id, const Error& error);
[[nodiscard]] std::string malformed_line(const Malformed& malformed);
[[nodiscard]] std::string unknown_method_line(const Json& id, std::string_view method);
[[nodiscard]] std::string notification_line(std::string_view method, const Json& params);

// What a client reads.
struct Message {
    bool is_notification = false;
    std::string method;      // of a notification
    Json params;
    Json id;                 // of an answer
    Result<Json> result = Json(nullptr);
};

// Errors: invalid_argument (no JSON-RPC message).
Result<Message> parse_message(std::string_view line);

}  // namespace stoa::rpc
