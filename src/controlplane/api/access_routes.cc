#include "controlplane/api/access_routes.h"

#include <utility>

#include <fmt/format.h>

#include "controlplane/access/plans.h"
#include "controlplane/api/route_parts.h"
#include "controlplane/http/problem.h"

namespace stoa::api {

namespace {

using access::Access;
using http::Method;
using http::Request;
using http::Response;
using http::Route;

Async<Response> log_in(Access& access, const Request& request) {
    model::Login body;
    CO_TRY(from_json(request.body, body));
    const Result<model::LoginResult> result = co_await access.login(std::move(body), request.peer);
    if (result.ok()) co_return Response{.body = to_json(*result)};
    switch (result.error().code()) {
        case ErrorCode::denied: co_return http::problem(401, result.error());
        case ErrorCode::busy: co_return http::problem(429, result.error());
        default: co_return result.error();
    }
}

Async<Response> log_out(Access& access, const Request& request) {
    CO_TRY(co_await access.logout(request.bearer));
    co_return Response{.status = 204};
}

Async<Response> create_user(Context& context, Access& access, const Request& request) {
    model::UserCreate body;
    CO_TRY(from_json(request.body, body));
    CO_TRY_ASSIGN(const Uuid id, co_await access.create_user(std::move(body)));
    const auto* record = context.records.get<model::User>(id);
    if (record == nullptr) {
        co_return Error(ErrorCode::conflict, "the user was deleted at the same time");
    }
    Response response{.status = 201, .body = to_json(*record)};
    response.headers["Location"] = "/v1/users/" + id.to_string();
    co_return response;
}

// Everybody may set his own, who gives the old one; others need user.set on the user.
Async<Response> set_password(Context& context, Access& access, const Request& request) {
    model::UserPassword body;
    CO_TRY(from_json(request.body, body));
    CO_TRY_ASSIGN(const http::Principal principal, context.authorizer.find(request.principal));
    const std::string& user = request.parameter("user");
    const std::string own = "user/" + user;
    if (principal.name != own) {
        const Result<void> may =
            context.authorizer.authorize(principal, "user.set", "/user/" + user);
        if (!may.ok()) co_return http::problem(403, may.error());
    }
    const Result<void> done = co_await access.set_password(user, std::move(body), principal);
    if (done.ok()) co_return Response{.status = 204};
    if (done.error().code() == ErrorCode::busy) co_return http::problem(429, done.error());
    co_return done.error();
}

Async<Response> create_token(Context& context, Access& access, const Request& request) {
    model::TokenCreate body;
    CO_TRY(from_json(request.body, body));
    CO_TRY_ASSIGN(http::Principal principal, context.authorizer.find(request.principal));
    CO_TRY_ASSIGN(const model::TokenCreated made,
                  co_await access.create_token(std::move(body), std::move(principal)));
    co_return Response{.status = 201, .body = to_json(made)};
}

void add_login(std::vector<Route>& routes, Access& access) {
    routes.push_back({.method = Method::post,
                      .path = "/v1/login",
                      .summary = "Gives a token for a user's name and password",
                      .handler = http::Direct{[&access](const Request& request) {
                          return log_in(access, request);
                      }},
                      .body_schema = json_schema<model::Login>(),
                      .answer_schema = json_schema<model::LoginResult>()});
    routes.push_back({.method = Method::post,
                      .path = "/v1/logout",
                      .permission = "session.end",
                      .summary = "Ends the session of the token that the request bears",
                      .handler = http::Direct{[&access](const Request& request) {
                          return log_out(access, request);
                      }},
                      .is_personal = true});
}

void add_users(std::vector<Route>& routes, Context& context, Access& access) {
    using model::User;
    Route create = create_route<User, model::UserCreate>({});
    create.handler = http::Direct{[&context, &access](const Request& request) {
        return create_user(context, access, request);
    }};
    routes.push_back(std::move(create));
    routes.push_back(set_route<User, model::UserSet>(with_body<model::UserSet>(
        [&context](const model::UserSet& body, const Request& request, task::Ids& /*ids*/) {
            return access::plan_user_set(context.records, request.parameter("user"), body, "");
        })));
    routes.push_back(delete_route<User>({[&context](const Request& request, task::Ids& /*ids*/) {
        return access::plan_user_delete(context.records, request.parameter("user"), "");
    }}));
    routes.push_back({.method = Method::post,
                      .path = "/v1/users/{user}/password",
                      .permission = "user.set",
                      .resource = "/user/{user}",
                      .summary = "Sets a password; one's own with the old one",
                      .handler = http::Direct{[&context, &access](const Request& request) {
                          return set_password(context, access, request);
                      }},
                      .body_schema = json_schema<model::UserPassword>(),
                      .is_personal = true});
}

void add_roles(std::vector<Route>& routes, Context& context) {
    using model::Role;
    routes.push_back(create_route<Role, model::RoleCreate>(with_body<model::RoleCreate>(
        [&context](const model::RoleCreate& body, const Request& /*request*/, task::Ids& ids) {
            return access::plan_role_create(context.records, ids, body);
        })));
    routes.push_back(set_route<Role, model::RoleSet>(with_body<model::RoleSet>(
        [&context](const model::RoleSet& body, const Request& request, task::Ids& /*ids*/) {
            return access::plan_role_set(context.records, request.parameter("role"), body, "");
        })));
    routes.push_back(delete_route<Role>({[&context](const Request& request, task::Ids& /*ids*/) {
        return access::plan_role_delete(context.records, request.parameter("role"), "");
    }}));
}

void add_tokens(std::vector<Route>& routes, Context& context, Access& access) {
    using model::Token;
    Route create = create_route<Token, model::TokenCreate>({});
    create.answer_schema = json_schema<model::TokenCreated>();
    create.is_personal = true;
    create.handler = http::Direct{[&context, &access](const Request& request) {
        return create_token(context, access, request);
    }};
    routes.push_back(std::move(create));
    routes.push_back(delete_route<Token>({[&context](const Request& request, task::Ids& /*ids*/) {
        return access::plan_token_delete(context.records, request.parameter("token"), "");
    }}));
}

}  // namespace

std::vector<Route> access_routes(Context& context, Access& access) {
    std::vector<Route> routes;
    add_login(routes, access);
    add_users(routes, context, access);
    add_roles(routes, context);
    add_tokens(routes, context, access);
    return routes;
}

}  // namespace stoa::api
