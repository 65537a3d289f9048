#include "controlplane/http/problem.h"

#include <algorithm>

namespace stoa::http {

namespace {

bool is_field_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '.' || c == '[' ||
           c == ']';
}

// The object of a schema's properties, through a "$ref" to its own "$defs".
const JsonObject* properties_of(const Json& schema) {
    const JsonObject* object = schema.if_object();
    if (object == nullptr) return nullptr;
    if (const Json* reference = object->if_contains("$ref"); reference && reference->is_string()) {
        const std::string_view text = reference->get_string();
        const std::string_view name = text.substr(text.rfind('/') + 1);
        const Json* definitions = object->if_contains("$defs");
        if (definitions == nullptr || !definitions->is_object()) return nullptr;
        const Json* found = definitions->get_object().if_contains(name);
        object = found == nullptr ? nullptr : found->if_object();
        if (object == nullptr) return nullptr;
    }
    const Json* properties = object->if_contains("properties");
    return properties == nullptr ? nullptr : properties->if_object();
}

bool has_field(const Route& route, std::string_view name) {
    const JsonObject* properties = properties_of(route.body_schema);
    if (properties != nullptr && properties->contains(name)) return true;
    return std::ranges::any_of(route.query, [&](const Parameter& one) { return one.name == name; });
}

std::string_view first_word(std::string_view path) {
    return path.substr(0, path.find_first_of(".["));
}

// Where a message begins with a field; see the header.
std::string_view leading_field(std::string_view message, bool& is_unknown) {
    constexpr std::string_view kUnknown = "unknown field ";
    is_unknown = message.starts_with(kUnknown);
    if (is_unknown) message.remove_prefix(kUnknown.size());
    if (message.starts_with('"')) {
        const size_t end = message.find('"', 1);
        if (end == std::string_view::npos) return {};
        const std::string_view path = message.substr(1, end - 1);
        return is_unknown || std::ranges::all_of(path, is_field_character) ? path
                                                                           : std::string_view();
    }
    const auto end = std::ranges::find_if_not(message, is_field_character);
    const std::string_view path(message.begin(), end);
    const std::string_view rest = message.substr(path.size());
    return rest.starts_with(": ") || rest.starts_with(" \"") ? path : std::string_view();
}

}  // namespace

uint32_t status_of(ErrorCode code) {
    switch (code) {
        case ErrorCode::invalid_argument:
        case ErrorCode::out_of_range: return 400;
        case ErrorCode::denied: return 403;
        case ErrorCode::not_found: return 404;
        case ErrorCode::already_exists:
        case ErrorCode::in_use:
        case ErrorCode::needs_full:
        case ErrorCode::busy:
        case ErrorCode::conflict: return 409;
        case ErrorCode::gone: return 410;
        case ErrorCode::unsupported: return 501;
        case ErrorCode::read_only:
        case ErrorCode::cancelled: return 503;
        case ErrorCode::timeout: return 504;
        case ErrorCode::no_space: return 507;
        case ErrorCode::corrupt:
        case ErrorCode::io: break;
    }
    return 500;
}

std::string_view title_of(uint32_t status) {
    switch (status) {
        case 400: return "Bad Request";
        case 401: return "Unauthorized";
        case 403: return "Forbidden";
        case 404: return "Not Found";
        case 405: return "Method Not Allowed";
        case 408: return "Request Timeout";
        case 409: return "Conflict";
        case 410: return "Gone";
        case 412: return "Precondition Failed";
        case 413: return "Content Too Large";
        case 415: return "Unsupported Media Type";
        case 422: return "Unprocessable Content";
        case 426: return "Upgrade Required";
        case 429: return "Too Many Requests";
        case 431: return "Request Header Fields Too Large";
        case 501: return "Not Implemented";
        case 503: return "Service Unavailable";
        case 504: return "Gateway Timeout";
        case 507: return "Insufficient Storage";
        default: return "Internal Server Error";
    }
}

std::string field_of(std::string_view message, const Route& route) {
    bool is_unknown = false;
    std::string_view path = leading_field(message, is_unknown);
    if (path.empty()) return {};
    if (is_unknown) return std::string(path);
    constexpr std::string_view kSpec = "spec.";
    if (!has_field(route, first_word(path)) && path.starts_with(kSpec)) {
        path.remove_prefix(kSpec.size());
    }
    return has_field(route, first_word(path)) ? std::string(path) : std::string();
}

Response problem(uint32_t status, const Error& error, const Route* route) {
    JsonObject body{{"type", "about:blank"},
                    {"title", title_of(status)},
                    {"status", status},
                    {"detail", error.message()},
                    {"code", to_string(error.code())}};
    if (route != nullptr) {
        const std::string field = field_of(error.message(), *route);
        if (!field.empty()) body["field"] = field;
    }
    Response response{.status = status, .body = std::move(body)};
    response.headers["Content-Type"] = "application/problem+json";
    if (status == 401) response.headers["WWW-Authenticate"] = "Bearer realm=\"stoa\"";
    return response;
}

Response body_problem(const Error& error) {
    switch (error.code()) {
        case ErrorCode::out_of_range: return problem(413, error);
        case ErrorCode::timeout: return problem(408, error);
        default: return problem(400, error);
    }
}

Response problem(const Error& error, const Route* route) {
    return problem(status_of(error.code()), error, route);
}

}  // namespace stoa::http
