// Commands that make something, with a little more to it than one request: pools, images, users,
// passwords, tokens; and version.
#include "apps/stoa/body.h"
#include "apps/stoa/change.h"
#include "apps/stoa/commands.h"
#include "apps/stoa/terminal.h"
#include "apps/stoa/units.h"
#include "base/utf8.h"

namespace stoa::cli {

namespace {

Result<std::string> read_password(const Invocation& invocation, const std::string& user) {
    if (invocation.has("--password-stdin")) return read_line();
    TRY_ASSIGN(const std::string first, ask_secret(fmt::format("New password of {}", user)));
    TRY_ASSIGN(const std::string second, ask_secret("Once more"));
    if (first == second) return first;
    return Error(ErrorCode::invalid_argument, "the two are not the same");
}

Result<int> create_at(Context& context, std::string target, const Invocation& invocation,
                      JsonObject fields, std::string_view done) {
    Change change;
    change.target = std::move(target);
    change.title =
        fmt::format("{} {}", invocation.verb->noun, to_plain_text(text_at(fields, "name")));
    change.body = std::move(fields);
    change.done = done;
    TRY(make_change(context, change));
    return kDone;
}

}  // namespace

Result<int> run_pool_create(Context& context, const Invocation& invocation) {
    TRY_ASSIGN(Body body, make_body(invocation));
    Json size;
    if (invocation.has("--size")) {
        TRY_ASSIGN(size, to_value(Take::size, "--size", {invocation.option("--size")}));
    }
    JsonArray devices;
    for (const std::string& path : invocation.all("DEVICE")) {
        JsonObject device{{"path", path}};
        if (!size.is_null()) device["create_bytes"] = size;
        devices.push_back(std::move(device));
    }
    body.fields["devices"] = std::move(devices);
    return create_at(context, "/v1/pools", invocation, std::move(body.fields),
                     invocation.has("--open") ? "opened" : "created");
}

Result<int> run_image_build(Context& context, const Invocation& invocation) {
    TRY_ASSIGN(Body body, make_body(invocation));
    if (!body.fields.contains("name")) body.fields["name"] = invocation.argument("RECIPE");
    return create_at(context, "/v1/images/build", invocation, std::move(body.fields), "built");
}

Result<int> run_image_import(Context& context, const Invocation& invocation) {
    TRY_ASSIGN(Body body, make_body(invocation));
    return create_at(context, "/v1/images/import", invocation, std::move(body.fields), "imported");
}

Result<int> run_user_create(Context& context, const Invocation& invocation) {
    TRY_ASSIGN(Body body, make_body(invocation));
    if (!invocation.has("--no-password")) {
        TRY_ASSIGN(const std::string password,
                   read_password(invocation, invocation.argument("NAME")));
        body.fields["password"] = password;
    }
    return create_at(context, "/v1/users", invocation, std::move(body.fields), "created");
}

Result<int> run_user_password(Context& context, const Invocation& invocation) {
    const std::string name = invocation.argument("NAME");
    JsonObject fields;
    // Whoever is logged in must know the old one to set his own; an administrator need not.
    if (!context.session().options().remote.empty() && can_ask() &&
        !invocation.has("--password-stdin")) {
        TRY_ASSIGN(const std::string old,
                   ask_secret("Old password, if it is your own (else empty)"));
        if (!old.empty()) fields["old_password"] = old;
    }
    TRY_ASSIGN(const std::string password, read_password(invocation, name));
    fields["password"] = password;
    Change change;
    change.target = item_target("users", name) + "/password";
    change.body = std::move(fields);
    change.title = fmt::format("password of {}", to_plain_text(name));
    change.done = "set";
    TRY(make_change(context, change));
    return kDone;
}

Result<int> run_token_create(Context& context, const Invocation& invocation) {
    TRY_ASSIGN(const Body body, make_body(invocation));
    TRY_ASSIGN(const auto answer,
               context.session().send(client::Method::post, "/v1/tokens", body.fields));
    const std::string token = to_plain_text(text_at(answer.body, "token"));
    if (token.empty()) return Error(ErrorCode::io, "the daemon gave no token");
    if (context.wishes().output != Output::table) {
        context.show_value(answer.body);
    } else {
        print("{}\n", token);
        if (!context.wishes().quiet) print_error("it is not shown again\n");
    }
    return kDone;
}

Result<int> run_version(Context& context, const Invocation& /*invocation*/) {
    const auto info = context.session().get("/v1/info");
    if (context.wishes().output != Output::table) {
        JsonObject all{{"client", STOA_VERSION}};
        if (info.ok()) all["daemon"] = *info;
        context.show_value(all);
        return kDone;
    }
    print("stoa   {}\n", STOA_VERSION);
    if (info.ok()) {
        print("stoad  {}, instance {}\n", to_plain_text(text_at(*info, "version")),
              to_plain_text(text_at(*info, "instance")));
    } else {
        print("stoad  no daemon answers\n");
    }
    return kDone;
}

}  // namespace stoa::cli
