#include "controlplane/api/api.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/utf8.h"
#include "controlplane/api/change.h"
#include "controlplane/api/kinds.h"
#include "controlplane/api/record_routes.h"
#include "controlplane/api/redact.h"
#include "controlplane/api/system_routes.h"
#include "controlplane/http/problem.h"
#include "controlplane/http/router.h"

namespace stoa::api {

namespace {

using http::Exchange;
using http::Match;
using http::Principal;
using http::Response;
using http::Route;

constexpr uint64_t kBodyBytesMax = 1u << 20;
constexpr size_t kShownPathBytesMax = 300;

std::string name_of(const Route& route) {
    return fmt::format("{} {}", http::to_string(route.method), route.path);
}

// The host of "https://host:port"; of "host:port" too.
std::string_view host_of(std::string_view origin) {
    const size_t scheme = origin.find("://");
    if (scheme != std::string_view::npos) origin.remove_prefix(scheme + 3);
    return origin;
}

// Puts ids for names into the parameters, and gives the resource's path. What does not exist keeps
// its name, and the right is asked for on all of its kind, so that nobody learns names by trying.
std::string resolve(const records::Records& records, const Route& route, http::Request& request) {
    if (route.resource.empty()) return "/";
    std::string path;
    std::string kind;
    for (size_t at = 1; at <= route.resource.size();) {
        const size_t end = std::min(route.resource.find('/', at), route.resource.size());
        const std::string segment = route.resource.substr(at, end - at);
        at = end + 1;
        if (!segment.starts_with('{')) {
            kind = segment;
            path += "/" + segment;
            continue;
        }
        std::string& value = request.parameters[segment.substr(1, segment.size() - 2)];
        value = reference_of(value);
        bool found = false;
        with_kind(kind, [&]<class Kind>() {
            const auto record = records.find<Kind>(value);
            if (!record.ok()) return;
            value = (*record)->id.to_string();
            found = true;
        });
        if (!found) break;
        path += "/" + value;
    }
    return path.empty() ? "/" : path;
}

// The route's path with the parameters as they are now.
std::string path_of(const Route& route, const http::Request& request) {
    std::string path;
    for (size_t at = 1; at <= route.path.size();) {
        const size_t end = std::min(route.path.find('/', at), route.path.size());
        const std::string segment = route.path.substr(at, end - at);
        at = end + 1;
        path += '/';
        path += segment.starts_with('{')
                    ? http::percent_encode(request.parameter(segment.substr(1, segment.size() - 2)))
                    : segment;
    }
    return path;
}

}  // namespace

struct Api::State {
    State(Context& with, std::unique_ptr<http::Router> routes)
        : context(with), router(std::move(routes)) {}

    asio::awaitable<Response> serve(Exchange& exchange, Match& match);
    asio::awaitable<Response> run(Exchange& exchange, Match& match, const std::string& resource);
    asio::awaitable<Response> run_change(const Route& route, const http::Request& request,
                                         std::string raw);
    Async<Principal> identify(const http::Head& head, const Match& match);
    void audit(const Route& route, const http::Request& request, const std::string& subject,
               const std::string& verb, const Response& response);

    Context& context;
    std::unique_ptr<http::Router> router;
};

// Who it is. Browsers cannot send a token when they open a WebSocket, and do send where the page is
// from: they need a ticket, and a page of this server.
Async<Principal> Api::State::identify(const http::Head& head, const Match& match) {
    const http::Request& request = match.request;
    if (std::holds_alternative<http::Live>(match.route->handler)) {
        const std::string origin = head.header("origin");
        if (!origin.empty() && host_of(origin) != head.header("host")) {
            co_return Error(ErrorCode::denied,
                            fmt::format("a page of {} may not open WebSockets here",
                                        to_plain_text(utf8_prefix(to_utf8(origin), 100))));
        }
        if (request.has("ticket")) {
            CO_TRY_ASSIGN(const std::string name,
                          context.tickets.redeem(request.option("ticket"), request.path));
            co_return context.authorizer.find(name);
        }
        if (!origin.empty()) {
            co_return Error(ErrorCode::denied, "browsers need a ticket: POST to the same path");
        }
    }
    co_return co_await context.authorizer.authenticate(
        {.peer = head.peer, .bearer = request.bearer});
}

void Api::State::audit(const Route& route, const http::Request& request, const std::string& subject,
                       const std::string& verb, const Response& response) {
    const bool good = response.status < 400;
    JsonObject data{{"route", name_of(route)},
                    {"path", request.path},
                    {"status", response.status},
                    {"peer", request.peer}};
    if (!good && response.body.is_object()) {
        if (const Json* code = response.body.get_object().if_contains("code")) data["code"] = *code;
    }
    if (!request.body.is_null()) data["body"] = redact(request.body, route.body_schema);
    const std::string what = verb.empty() ? route.permission : verb;
    context.journal.add(
        {.kind = journal::Kind::audit,
         .subject = subject,
         .text = fmt::format("{} {} ({} {})", what.empty() ? "login" : what,
                             good ? "granted" : "refused", http::to_string(request.method),
                             utf8_prefix(request.path, kShownPathBytesMax)),
         .principal = request.principal,
         .data = std::move(data)});
}

asio::awaitable<Response> Api::State::serve(Exchange& exchange, Match& match) {
    const Route& route = *match.route;
    http::Request& request = match.request;
    const bool is_read = std::holds_alternative<http::Read>(route.handler);
    const std::string resource = resolve(context.records, route, request);
    request.path = path_of(route, request);
    if (!route.permission.empty()) {
        const Result<Principal> principal = co_await identify(exchange.head(), match);
        if (!principal.ok()) {
            Response refused = http::problem(401, principal.error());
            if (!is_read) audit(route, request, "", "", refused);
            co_return refused;
        }
        request.principal = principal->name;
        const Result<void> may =
            context.authorizer.authorize(*principal, route.permission, resource);
        if (!may.ok() && !route.is_list && !route.is_personal) {
            Response refused = http::problem(403, may.error());
            if (!is_read) audit(route, request, resource.substr(1), "", refused);
            co_return refused;
        }
    }
    co_return co_await run(exchange, match, resource.substr(1));
}

// `subject`: "vm/ID" or "vm" or empty.
asio::awaitable<Response> Api::State::run(Exchange& exchange, Match& match,
                                          const std::string& subject) {
    const Route& route = *match.route;
    http::Request& request = match.request;
    if (const auto* live = std::get_if<http::Live>(&route.handler)) {
        Response answer{.status = 101};
        if (!route.permission.ends_with(".read")) audit(route, request, subject, "", answer);
        const Result<void> done = co_await exchange.upgrade(*live, request);
        co_return done.ok() ? std::move(answer) : http::problem(done.error());
    }
    if (const auto* upload = std::get_if<http::Upload>(&route.handler)) {
        Result<Response> result = co_await upload->run(request, exchange.stream(upload->bytes_max));
        Response answer = result.ok() ? *std::move(result)
                          : result.error().code() == ErrorCode::out_of_range
                              ? http::body_problem(result.error())
                              : http::problem(result.error(), &route);
        audit(route, request, subject, "", answer);
        co_return answer;
    }
    const Result<std::string> text = co_await exchange.body(kBodyBytesMax);
    if (!text.ok()) co_return http::body_problem(text.error());
    Result<Json> body = http::parse_body(route, exchange.head(), *text);
    if (!body.ok()) co_return http::problem(body.error(), &route);
    request.body = *std::move(body);
    if (std::holds_alternative<http::Change>(route.handler)) {
        co_return co_await run_change(route, request,
                                      fmt::format("{}\n{}", exchange.head().target, *text));
    }
    const auto* read = std::get_if<http::Read>(&route.handler);
    const auto* direct = std::get_if<http::Direct>(&route.handler);
    Result<Response> result =
        co_await (read != nullptr ? read->run(request) : direct->run(request));
    Response answer = result.ok() ? *std::move(result) : http::problem(result.error(), &route);
    if (direct != nullptr) audit(route, request, subject, "", answer);
    co_return answer;
}

asio::awaitable<Response> Api::State::run_change(const Route& route, const http::Request& request,
                                                 std::string raw) {
    ChangeOutcome outcome = co_await do_change(context, route, request, std::move(raw));
    if (!outcome.is_shown_only) {
        audit(route, request, outcome.target, outcome.verb, outcome.response);
    }
    co_return std::move(outcome.response);
}

Api::Api(std::unique_ptr<State> state) : state_(std::move(state)) {}
Api::~Api() = default;

std::span<const Route> Api::routes() const { return state_->router->routes(); }

Result<std::unique_ptr<Api>> Api::create(Context& context, std::vector<Route> routes) {
    for (auto& more : {record_routes(context), system_routes(context)}) {
        routes.insert(routes.end(), more.begin(), more.end());
    }
    routes.push_back(document_route(routes, context.about.version));
    TRY_ASSIGN(auto router, http::Router::create(std::move(routes)));
    return std::unique_ptr<Api>(new Api(std::make_unique<State>(context, std::move(router))));
}

asio::awaitable<Response> Api::handle(Exchange& exchange) {
    Context& context = state_->context;
    const int64_t start_ns = context.clock.monotonic_ns();
    auto found = state_->router->match(exchange.head());
    std::string name;
    bool is_live = false;
    Response response;
    if (auto* match = std::get_if<Match>(&found)) {
        name = name_of(*match->route);
        is_live = std::holds_alternative<http::Live>(match->route->handler);
        response = co_await state_->serve(exchange, *match);
    } else {
        response = std::get<Response>(std::move(found));
    }
    if (!is_live || response.status >= 400) {
        const auto ns = static_cast<double>(context.clock.monotonic_ns() - start_ns);
        context.requests.observe(name, response.status, ns / 1e9);
    }
    co_return response;
}

}  // namespace stoa::api
