// Router: from the head of a request to a route of the table, and from its body to JSON.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "controlplane/http/route.h"
#include "controlplane/http/service.h"

namespace stoa::http {

constexpr size_t kTargetBytesMax = 8u << 10;
constexpr size_t kQueryParametersMax = 64;

// The route and what it is asked; everything of the request but its body and principal.
struct Match {
    const Route* route = nullptr;
    Request request;
};

class Router {
public:
    // Errors: invalid_argument (a path twice with the same method, a template that is none).
    static Result<std::unique_ptr<Router>> create(std::vector<Route> routes);
    Router(const Router&) = delete;
    Router& operator=(const Router&) = delete;
    ~Router();

    // Or the answer: 400 (encoding; an unknown or repeated parameter, by name), 404, 405 with
    // Allow, 501 (a method that HTTP has and the API has not).
    [[nodiscard]] std::variant<Match, Response> match(const Head& head) const;
    [[nodiscard]] std::span<const Route> routes() const;

private:
    struct State;
    explicit Router(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

// The text of a body as the route's schema wants one. Errors: invalid_argument.
[[nodiscard]] Result<Json> parse_body(const Route& route, const Head& head, std::string_view text);

// "%2F" and the like; in a query '+' is a space. Errors: invalid_argument (cut or wrong digits,
// not UTF-8, a control character).
[[nodiscard]] Result<std::string> percent_decode(std::string_view text, bool is_query);
[[nodiscard]] std::string percent_encode(std::string_view text);

}  // namespace stoa::http
