#include "controlplane/api/change.h"

#include <utility>

#include <fmt/format.h>

#include "controlplane/api/kinds.h"
#include "controlplane/http/problem.h"

namespace stoa::api {

namespace {

using http::Response;

// How it was answered the first time decides how a repetition is answered.
Response answer_of(const Context& context, const std::optional<Uuid>& task,
                   const std::string& target, bool is_create) {
    if (task) {
        return {.status = 202, .body = JsonObject{{"task", task->to_string()}, {"target", target}}};
    }
    const std::optional<Target> parsed = parse_target(target);
    std::optional<Json> record;
    if (parsed) record = record_of(context.records, *parsed);
    if (!record) return {.body = JsonObject{{"target", target}}};
    Response response{.status = is_create ? 201U : 200U, .body = *std::move(record)};
    if (is_create) {
        response.headers["Location"] =
            fmt::format("/v1/{}s/{}", parsed->kind, parsed->id.to_string());
    }
    return response;
}

Response show(const task::Plan& plan, const std::string& token) {
    JsonArray steps;
    for (const model::Step& step : plan.steps) {
        steps.push_back(JsonObject{{"type", step.type}, {"text", step.text}});
    }
    JsonObject body{{"token", token},        {"verb", plan.verb},
                    {"target", plan.target}, {"steps", std::move(steps)},
                    {"bytes", plan.bytes},   {"downtime_ms", plan.downtime_ms}};
    if (!plan.capacity_after.is_null()) body["capacity_after"] = plan.capacity_after;
    return {.body = std::move(body)};
}

struct Wanted {
    bool only_shown = false;
    std::string token;
};

Result<Wanted> wanted_of(const http::Request& request) {
    Wanted wanted{.only_shown = false, .token = request.option("plan_token")};
    if (request.has("plan")) {
        const std::string text = request.option("plan");
        if (text != "true" && text != "false" && !text.empty()) {
            return Error(ErrorCode::invalid_argument, "\"plan\" must be true or false");
        }
        wanted.only_shown = text != "false";
    }
    if (wanted.only_shown && !wanted.token.empty()) {
        return Error(ErrorCode::invalid_argument,
                     "\"plan_token\" is for doing a plan; leave out "
                     "plan=true");
    }
    return wanted;
}

Result<void> check_revision(const Context& context, const http::Request& request,
                            const task::Plan& plan) {
    if (!request.if_match) return {};
    const std::optional<Target> target = parse_target(plan.target);
    const auto now = target ? revision_of(context.records, *target) : std::nullopt;
    if (now && (*request.if_match == *now || *request.if_match == "*")) return {};
    return Error(ErrorCode::conflict,
                 fmt::format("{} is of revision {}, not {}: it was changed meanwhile; look again",
                             plan.target, now.value_or("none"), *request.if_match));
}

class Change {
public:
    Change(Context& context, const http::Route& route, const http::Request& request,
           std::string raw)
        : context_(context), route_(route), request_(request), raw_(std::move(raw)),
          is_create_(route.method == http::Method::post &&
                     route.path.find('{') == std::string::npos) {}

    asio::awaitable<ChangeOutcome> run();

private:
    Async<std::optional<Response>> answered_before();
    Async<Response> plan_and_do(ChangeOutcome& outcome);
    Async<Response> submit(task::Plan plan);

    [[nodiscard]] task::OnceKey once_key() const {
        return {.principal = request_.principal,
                .route = fmt::format("{} {}", http::to_string(route_.method), route_.path),
                .key = request_.idempotency_key,
                .request = raw_};
    }
    [[nodiscard]] bool has_key() const { return !request_.idempotency_key.empty(); }

    Context& context_;
    const http::Route& route_;
    const http::Request& request_;
    std::string raw_;
    bool is_create_;
    std::optional<uint32_t> status_;  // instead of what the error's code says
};

Async<std::optional<Response>> Change::answered_before() {
    auto before =
        co_await task::answered_before(context_.store, once_key(), context_.clock.wall_ns());
    if (!before.ok()) {
        if (before.error().code() == ErrorCode::already_exists) status_ = 422;
        co_return before.error();
    }
    if (!*before) co_return std::optional<Response>();
    const task::OnceAnswer& answer = **before;
    co_return std::optional<Response>(answer_of(context_, answer.task, answer.target, is_create_));
}

Async<Response> Change::submit(task::Plan plan) {
    if (!has_key()) {
        const std::string target = plan.target;
        CO_TRY_ASSIGN(const auto task,
                      co_await context_.engine.submit(std::move(plan), request_.principal));
        co_return answer_of(context_, task, target, is_create_);
    }
    CO_TRY_ASSIGN(const auto done,
                  co_await context_.engine.submit_once(std::move(plan), once_key()));
    co_return answer_of(context_, done.task, done.target, is_create_);
}

Async<Response> Change::plan_and_do(ChangeOutcome& outcome) {
    CO_TRY_ASSIGN(const Wanted wanted, wanted_of(request_));
    if (has_key() && !wanted.only_shown) {
        CO_TRY_ASSIGN(auto before, co_await answered_before());
        if (before) co_return *std::move(before);
    }
    task::Ids::Seed seed{.now_ns = context_.clock.wall_ns(), .random = context_.random.next()};
    if (!wanted.token.empty()) {
        CO_TRY_ASSIGN(seed, context_.plan_tokens.seed_of(wanted.token, request_.principal));
    }
    task::Ids ids(seed);
    CO_TRY_ASSIGN(task::Plan plan, std::get<http::Change>(route_.handler).plan(request_, ids));
    outcome.verb = plan.verb;
    outcome.target = plan.target;
    if (const Result<void> same = check_revision(context_, request_, plan); !same.ok()) {
        status_ = 412;
        co_return same.error();
    }
    if (wanted.only_shown) {
        outcome.is_shown_only = true;
        co_return show(plan, context_.plan_tokens.keep(plan, seed, request_.principal));
    }
    if (!wanted.token.empty()) {
        CO_TRY(context_.plan_tokens.take(wanted.token, request_.principal, plan));
    }
    co_return co_await submit(std::move(plan));
}

asio::awaitable<ChangeOutcome> Change::run() {
    ChangeOutcome outcome;
    Result<Response> result = co_await plan_and_do(outcome);
    if (result.ok()) {
        outcome.response = *std::move(result);
    } else {
        const uint32_t status = status_.value_or(http::status_of(result.error().code()));
        outcome.response = http::problem(status, result.error(), &route_);
    }
    co_return outcome;
}

}  // namespace

asio::awaitable<ChangeOutcome> do_change(Context& context, const http::Route& route,
                                         const http::Request& request, std::string raw) {
    Change change(context, route, request, std::move(raw));
    co_return co_await change.run();
}

}  // namespace stoa::api
