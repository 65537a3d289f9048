#include "rpc/json_rpc.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace stoa::rpc {

namespace {

constexpr int kParseError = -32700;
constexpr int kInvalidRequest = -32600;
constexpr int kMethodNotFound = -32601;
constexpr int kFailed = -32000;

struct CodeWord {
    ErrorCode code;
    std::string_view word;
};

// Part of the contract: a word never changes.
constexpr std::array kCodeWords = {
    CodeWord{ErrorCode::invalid_argument, "invalid_argument"},
    CodeWord{ErrorCode::not_found, "not_found"},
    CodeWord{ErrorCode::already_exists, "already_exists"},
    CodeWord{ErrorCode::in_use, "in_use"},
    CodeWord{ErrorCode::no_space, "no_space"},
    CodeWord{ErrorCode::out_of_range, "out_of_range"},
    CodeWord{ErrorCode::read_only, "read_only"},
    CodeWord{ErrorCode::corrupt, "corrupt"},
    CodeWord{ErrorCode::io, "io"},
    CodeWord{ErrorCode::unsupported, "unsupported"},
    CodeWord{ErrorCode::busy, "busy"},
    CodeWord{ErrorCode::cancelled, "cancelled"},
    CodeWord{ErrorCode::needs_full, "needs_full"},
    CodeWord{ErrorCode::conflict, "conflict"},
    CodeWord{ErrorCode::gone, "gone"},
    CodeWord{ErrorCode::timeout, "timeout"},
    CodeWord{ErrorCode::denied, "denied"},
};

std::string_view word_of(ErrorCode code) {
    return std::ranges::find(kCodeWords, code, &CodeWord::code)->word;
}

JsonObject envelope() { return {{"jsonrpc", "2.0"}}; }

std::string line(JsonObject message) { return to_text(std::move(message)) + '\n'; }

std::string failure(const Json& id, int code, std::string_view text, JsonObject data) {
    JsonObject error{{"code", code}, {"message", text}};
    if (!data.empty()) error["data"] = std::move(data);
    JsonObject message = envelope();
    message["id"] = id;
    message["error"] = std::move(error);
    return line(std::move(message));
}

Parsed invalid(Json id, std::string message) {
    return {std::nullopt, {kInvalidRequest, "request: " + std::move(message), std::move(id)}};
}

bool is_id(const Json& id) { return id.is_null() || id.is_string() || id.is_number(); }

bool has_version(const JsonObject& object) {
    const Json* version = object.if_contains("jsonrpc");
    return version != nullptr && version->is_string() && version->get_string() == "2.0";
}

// The error in an answer.
Error error_of(const Json& from) {
    const JsonObject* object = from.if_object();
    std::string text = "the server's error has no message";
    ErrorCode code = ErrorCode::io;
    if (object == nullptr) return {code, text};
    if (const Json* message = object->if_contains("message"); message && message->is_string()) {
        text = std::string(message->get_string());
    }
    const Json* number = object->if_contains("code");
    if (number != nullptr && number->is_int64() && number->get_int64() != kFailed) {
        code = ErrorCode::invalid_argument;
    }
    const Json* data = object->if_contains("data");
    if (data == nullptr || !data->is_object()) return {code, text};
    const Json* name = data->get_object().if_contains("code");
    if (name == nullptr || !name->is_string()) return {code, text};
    const auto known =
        std::ranges::find(kCodeWords, std::string_view(name->get_string()), &CodeWord::word);
    return {known != kCodeWords.end() ? known->code : code, text};
}

}  // namespace

Parsed parse_request(std::string_view text) {
    Result<Json> json = parse_json(text);
    if (!json.ok()) return {std::nullopt, {kParseError, json.error().message(), nullptr}};
    JsonObject* object = json->if_object();
    if (object == nullptr) return invalid(nullptr, "it must be one object");
    Request request;
    const Json* id = object->if_contains("id");
    request.is_notification = id == nullptr;
    if (id != nullptr && !is_id(*id)) {
        return invalid(nullptr, "\"id\" must be a string, a number or null");
    }
    if (id != nullptr) request.id = *id;
    if (!has_version(*object)) return invalid(request.id, "\"jsonrpc\" must be \"2.0\"");
    const Json* method = object->if_contains("method");
    if (method == nullptr || !method->is_string()) {
        return invalid(request.id, "\"method\" must be a string");
    }
    request.method = std::string(method->get_string());
    if (const Json* params = object->if_contains("params"); params != nullptr) {
        if (!params->is_object()) {
            return invalid(request.id, "\"params\" must be an object with named parameters");
        }
        request.params = *params;
    }
    return {std::move(request), {}};
}

std::string request_line(std::string_view method, const Json& params, uint64_t id) {
    JsonObject message = envelope();
    message["id"] = id;
    message["method"] = method;
    message["params"] = params;
    return line(std::move(message));
}

std::string result_line(const Json& id, const Json& result) {
    JsonObject message = envelope();
    message["id"] = id;
    message["result"] = result;
    return line(std::move(message));
}

std::string error_line(const Json& id, const Error& error) {
    return failure(id, kFailed, error.message(), {{"code", word_of(error.code())}});
}

std::string malformed_line(const Malformed& malformed) {
    return failure(malformed.id, malformed.code, malformed.message, {});
}

std::string unknown_method_line(const Json& id, std::string_view method) {
    return failure(id, kMethodNotFound,
                   fmt::format("unknown method {}; rpc.methods lists them", to_text(Json(method))),
                   {});
}

std::string notification_line(std::string_view method, const Json& params) {
    JsonObject message = envelope();
    message["method"] = method;
    message["params"] = params;
    return line(std::move(message));
}

Result<Message> parse_message(std::string_view text) {
    TRY_ASSIGN(const Json json, parse_json(text));
    const JsonObject* object = json.if_object();
    if (object == nullptr || !has_version(*object)) {
        return Error(ErrorCode::invalid_argument, "the answer is no JSON-RPC message");
    }
    Message message;
    const Json* method = object->if_contains("method");
    const Json* result = object->if_contains("result");
    const Json* error = object->if_contains("error");
    if (const Json* id = object->if_contains("id"); id != nullptr) message.id = *id;
    if (method != nullptr && method->is_string()) {
        message.is_notification = true;
        message.method = std::string(method->get_string());
        if (const Json* params = object->if_contains("params")) message.params = *params;
    } else if (error != nullptr) {
        message.result = error_of(*error);
    } else if (result != nullptr) {
        message.result = *result;
    } else {
        return Error(ErrorCode::invalid_argument, "the answer has neither result nor error");
    }
    return message;
}

}  // namespace stoa::rpc
