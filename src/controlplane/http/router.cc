#include "controlplane/http/router.h"

#include <algorithm>
#include <optional>
#include <set>
#include <utility>

#include <fmt/format.h>

#include "base/utf8.h"
#include "controlplane/http/problem.h"

namespace stoa::http {

namespace {

constexpr size_t kSegmentsMax = 16;

Error bad(std::string message) { return {ErrorCode::invalid_argument, std::move(message)}; }

std::optional<unsigned> hex_digit(char c) {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a' + 10);
    if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A' + 10);
    return std::nullopt;
}

std::vector<std::string_view> split(std::string_view text, char by) {
    std::vector<std::string_view> parts;
    for (size_t at = 0; at <= text.size();) {
        const size_t end = std::min(text.find(by, at), text.size());
        parts.push_back(text.substr(at, end - at));
        at = end + 1;
    }
    return parts;
}

// "http://host/path" (RFC 9112, 3.2.2) is "/path".
std::string_view without_origin(std::string_view target) {
    for (const std::string_view scheme : {"http://", "https://"}) {
        if (!target.starts_with(scheme)) continue;
        const size_t slash = target.find('/', scheme.size());
        return slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
    }
    return target;
}

std::optional<Method> method_of(std::string_view text) {
    if (text == "GET" || text == "HEAD") return Method::get;
    if (text == "POST") return Method::post;
    if (text == "PUT") return Method::put;
    if (text == "PATCH") return Method::patch;
    if (text == "DELETE") return Method::erase;
    return std::nullopt;
}

std::string authority(const Head& head) {
    constexpr std::string_view kBearer = "bearer ";
    const std::string value = head.header("authorization");
    if (value.size() <= kBearer.size()) return {};
    const bool matches = std::ranges::equal(
        std::string_view(value).substr(0, kBearer.size()), kBearer,
        [](char a, char b) { return (a >= 'A' && a <= 'Z' ? static_cast<char>(a + 32) : a) == b; });
    return matches ? value.substr(kBearer.size()) : std::string();
}

// "\"17\"" and "17" are the revision 17.
std::optional<std::string> revision_of(const Head& head) {
    std::string value = head.header("if-match");
    if (value.empty()) return std::nullopt;
    if (value.size() >= 2 && value.front() == '"' && value.back() == '"') {
        value = value.substr(1, value.size() - 2);
    }
    return value;
}

struct Template {
    std::vector<std::string> segments;  // a parameter with its braces
    size_t parameters = 0;
};

bool is_parameter(std::string_view segment) {
    return segment.size() > 2 && segment.front() == '{' && segment.back() == '}';
}

Result<Template> parse_template(const std::string& path) {
    Template parsed;
    if (!path.starts_with('/')) return bad(fmt::format("route {}: must begin with /", path));
    for (const std::string_view segment : split(std::string_view(path).substr(1), '/')) {
        const bool braces = segment.find_first_of("{}") != std::string_view::npos;
        if (segment.empty() || (braces && !is_parameter(segment))) {
            return bad(fmt::format("route {}: a segment is a word or one {{parameter}}", path));
        }
        if (braces) ++parsed.parameters;
        parsed.segments.emplace_back(segment);
    }
    return parsed;
}

bool fits(const Template& wanted, const std::vector<std::string>& segments) {
    if (wanted.segments.size() != segments.size()) return false;
    for (size_t i = 0; i < segments.size(); ++i) {
        const std::string& segment = wanted.segments[i];
        if (is_parameter(segment) ? segments[i].empty() : segment != segments[i]) return false;
    }
    return true;
}

// What every route of this kind takes besides its own.
bool takes(const Route& route, std::string_view name, bool& repeated) {
    repeated = false;
    const auto found = std::ranges::find(route.query, name, &Parameter::name);
    if (found != route.query.end()) {
        repeated = found->repeated;
        return true;
    }
    if (std::holds_alternative<Change>(route.handler))
        return name == "plan" || name == "plan_token";
    return std::holds_alternative<Live>(route.handler) && name == "ticket";
}

Error unknown_parameter(const Route& route, std::string_view name) {
    std::string known;
    for (const Parameter& one : route.query) {
        known += known.empty() ? "" : ", ";
        known += one.name;
    }
    if (std::holds_alternative<Change>(route.handler)) {
        known += known.empty() ? "plan, plan_token" : ", plan, plan_token";
    }
    return bad(fmt::format("unknown field \"{}\"; possible here: {}", to_plain_text(name),
                           known.empty() ? "none" : known));
}

Result<Query> read_query(const Route& route, std::string_view text) {
    Query query;
    if (text.empty()) return query;
    for (const std::string_view part : split(text, '&')) {
        if (part.empty()) continue;
        const size_t equals = std::min(part.find('='), part.size());
        TRY_ASSIGN(std::string name, percent_decode(part.substr(0, equals), true));
        TRY_ASSIGN(std::string value,
                   percent_decode(part.substr(std::min(equals + 1, part.size())), true));
        bool repeated = false;
        if (!takes(route, name, repeated)) return unknown_parameter(route, name);
        if (!repeated && query.contains(name)) {
            return bad(fmt::format("\"{}\" is given more than once", name));
        }
        if (query.size() >= kQueryParametersMax) return bad("too many parameters in the query");
        query.emplace(std::move(name), std::move(value));
    }
    return query;
}

}  // namespace

Result<std::string> percent_decode(std::string_view text, bool is_query) {
    std::string decoded;
    decoded.reserve(text.size());
    for (size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            decoded += is_query && text[i] == '+' ? ' ' : text[i];
            continue;
        }
        const auto high = i + 2 < text.size() ? hex_digit(text[i + 1]) : std::nullopt;
        const auto low = i + 2 < text.size() ? hex_digit(text[i + 2]) : std::nullopt;
        if (!high || !low) {
            return bad(fmt::format("\"{}\": '%' needs two hex digits after it",
                                   to_plain_text(utf8_prefix(to_utf8(text), 100))));
        }
        decoded += static_cast<char>(*high * 16 + *low);
        i += 2;
    }
    if (!is_utf8(decoded) || find_control(decoded) != std::string::npos) {
        return bad(fmt::format("\"{}\" is not one line of UTF-8",
                               to_plain_text(utf8_prefix(to_utf8(decoded), 100))));
    }
    return decoded;
}

std::string percent_encode(std::string_view text) {
    std::string encoded;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '~';
        if (plain) {
            encoded += c;
        } else {
            encoded += fmt::format("%{:02X}", static_cast<unsigned char>(c));
        }
    }
    return encoded;
}

struct Router::State {
    std::vector<Route> routes;
    std::vector<Template> templates;  // of the same index
};

Router::Router(std::unique_ptr<State> state) : state_(std::move(state)) {}
Router::~Router() = default;

std::span<const Route> Router::routes() const { return state_->routes; }

Result<std::unique_ptr<Router>> Router::create(std::vector<Route> routes) {
    // Words before parameters: "/v1/vms/search" is no VM's name.
    std::ranges::sort(routes, {}, [](const Route& route) {
        return std::pair(std::ranges::count(route.path, '{'), route.path);
    });
    auto state = std::make_unique<State>();
    std::set<std::pair<Method, std::string>> seen;
    for (const Route& route : routes) {
        TRY_ASSIGN(Template parsed, parse_template(route.path));
        std::string shape;
        for (const std::string& segment : parsed.segments) {
            shape += is_parameter(segment) ? "/{}" : "/" + segment;
        }
        if (!seen.emplace(route.method, shape).second) {
            return bad(
                fmt::format("route {} {}: is there twice", to_string(route.method), route.path));
        }
        state->templates.push_back(std::move(parsed));
    }
    state->routes = std::move(routes);
    return std::unique_ptr<Router>(new Router(std::move(state)));
}

std::variant<Match, Response> Router::match(const Head& head) const {
    if (head.target.size() > kTargetBytesMax) {
        return problem(400, bad(fmt::format("the target of the request is longer than {} bytes",
                                            kTargetBytesMax)));
    }
    const std::optional<Method> method = method_of(head.method);
    if (!method) {
        return problem(501,
                       Error(ErrorCode::unsupported, fmt::format("the method {} means nothing here",
                                                                 to_plain_text(head.method))));
    }
    const std::string_view target = without_origin(head.target);
    const size_t question = std::min(target.find('?'), target.size());
    const std::string_view path = target.substr(0, question);
    const auto not_found = [&] {
        const std::string shown = to_plain_text(utf8_prefix(to_utf8(path), 200));
        return problem(Error(ErrorCode::not_found, fmt::format("nothing is at {}", shown)));
    };
    if (!path.starts_with('/')) return not_found();
    std::vector<std::string> segments;
    for (const std::string_view segment : split(path.substr(1), '/')) {
        if (segments.size() == kSegmentsMax) return not_found();
        Result<std::string> decoded = percent_decode(segment, false);
        if (!decoded.ok()) return problem(decoded.error());
        segments.push_back(*std::move(decoded));
    }
    std::set<std::string_view> allowed;
    for (size_t i = 0; i < state_->routes.size(); ++i) {
        const Route& route = state_->routes[i];
        const Template& wanted = state_->templates[i];
        if (!fits(wanted, segments)) continue;
        allowed.insert(to_string(route.method));
        if (route.method != *method) continue;
        Match match{.route = &route, .request = {}};
        match.request.method = *method;
        match.request.path = std::string(path);
        for (size_t k = 0; k < segments.size(); ++k) {
            const std::string& segment = wanted.segments[k];
            if (!is_parameter(segment)) continue;
            match.request.parameters[segment.substr(1, segment.size() - 2)] = segments[k];
        }
        Result<Query> query =
            read_query(route, target.substr(std::min(question + 1, target.size())));
        if (!query.ok()) return problem(400, query.error(), &route);
        match.request.query = *std::move(query);
        match.request.if_match = revision_of(head);
        match.request.idempotency_key = head.header("idempotency-key");
        match.request.peer = head.peer.address;
        match.request.bearer = authority(head);
        return match;
    }
    if (allowed.empty()) return not_found();
    Response response =
        problem(405, Error(ErrorCode::unsupported,
                           fmt::format("{} cannot be done to {}; possible: {}", head.method,
                                       to_plain_text(path), fmt::join(allowed, ", "))));
    response.headers["Allow"] = fmt::format("{}", fmt::join(allowed, ", "));
    return response;
}

Result<Json> parse_body(const Route& route, const Head& head, std::string_view text) {
    const bool wants = !route.body_schema.is_null();
    if (text.empty()) {
        if (!wants) return Json(nullptr);
        if (route.body_optional) return Json(JsonObject{});
        return bad("the request needs a body: a JSON object");
    }
    if (!wants) return bad("the request takes no body");
    const std::string type = head.header("content-type");
    const std::string_view media = std::string_view(type).substr(0, type.find(';'));
    if (!type.empty() && media != "application/json") {
        return bad(fmt::format("the body must be application/json, not {}", to_plain_text(type)));
    }
    Result<Json> parsed = parse_json(text);
    if (!parsed.ok()) return parsed.error().with_context("the body");
    if (!parsed->is_object()) return bad("the body must be a JSON object");
    return parsed;
}

}  // namespace stoa::http
