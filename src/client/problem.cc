#include "client/problem.h"

#include <fmt/format.h>

#include <array>
#include <tuple>
#include <utility>

#include "base/json.h"
#include "base/utf8.h"

namespace stoa::client {

namespace {

constexpr size_t kShownBytesMax = 200;

constexpr std::array<std::pair<std::string_view, ErrorCode>, 17> kCodes{{
    {"invalid_argument", ErrorCode::invalid_argument},
    {"not_found", ErrorCode::not_found},
    {"already_exists", ErrorCode::already_exists},
    {"in_use", ErrorCode::in_use},
    {"no_space", ErrorCode::no_space},
    {"out_of_range", ErrorCode::out_of_range},
    {"read_only", ErrorCode::read_only},
    {"corrupt", ErrorCode::corrupt},
    {"io", ErrorCode::io},
    {"unsupported", ErrorCode::unsupported},
    {"busy", ErrorCode::busy},
    {"cancelled", ErrorCode::cancelled},
    {"needs_full", ErrorCode::needs_full},
    {"conflict", ErrorCode::conflict},
    {"gone", ErrorCode::gone},
    {"timeout", ErrorCode::timeout},
    {"denied", ErrorCode::denied},
}};

ErrorCode code_of(uint32_t status) {
    switch (status) {
        case 400:
        case 405:
        case 413:
        case 415:
        case 422: return ErrorCode::invalid_argument;
        case 401:
        case 403: return ErrorCode::denied;
        case 404: return ErrorCode::not_found;
        case 409:
        case 412: return ErrorCode::conflict;
        case 410: return ErrorCode::gone;
        case 429: return ErrorCode::busy;
        case 501: return ErrorCode::unsupported;
        case 503: return ErrorCode::read_only;
        case 504: return ErrorCode::timeout;
        case 507: return ErrorCode::no_space;
        default: return ErrorCode::io;
    }
}

std::string text_of(const JsonObject& object, std::string_view name) {
    const Json* value = object.if_contains(name);
    return value != nullptr && value->is_string() ? std::string(value->get_string())
                                                  : std::string();
}

}  // namespace

bool parse_code(std::string_view word, ErrorCode& code) {
    for (const auto& [name, value] : kCodes) {
        if (name != word) continue;
        code = value;
        return true;
    }
    return false;
}

Problem parse_problem(uint32_t status, std::string_view body) {
    Problem problem;
    problem.status = status;
    problem.code = code_of(status);
    const Result<Json> json = parse_json(body);
    const JsonObject* object = json.ok() ? json->if_object() : nullptr;
    if (object == nullptr) {
        const std::string text = to_plain_text(body.substr(0, kShownBytesMax));
        problem.detail = text.empty() ? fmt::format("answered with status {}", status)
                                      : fmt::format("answered with status {}: {}", status, text);
        return problem;
    }
    problem.title = text_of(*object, "title");
    problem.detail = text_of(*object, "detail");
    problem.field = text_of(*object, "field");
    problem.task = text_of(*object, "task");
    std::ignore = parse_code(text_of(*object, "code"), problem.code);
    return problem;
}

Error Problem::to_error() const {
    std::string text = detail.empty() ? title : detail;
    if (text.empty()) text = fmt::format("answered with status {}", status);
    // The daemon often begins with it.
    const bool is_named = field.empty() || text.find(field) != std::string::npos;
    return {code, is_named ? text : fmt::format("{}: {}", field, text)};
}

}  // namespace stoa::client
