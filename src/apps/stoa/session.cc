#include "apps/stoa/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <random>

#include "apps/stoa/body.h"
#include "apps/stoa/remotes.h"
#include "apps/stoa/terminal.h"
#include "base/output.h"
#include "base/uuid.h"

namespace stoa::cli {

namespace {

using std::chrono::milliseconds;

// How long a daemon that was there may be away: an upgrade takes less.
constexpr milliseconds kAwayLimit{15'000};
constexpr milliseconds kAwayPause{200};
constexpr size_t kPagesMax = 100'000;
constexpr std::string_view kDefaultRoot = "/var/lib/stoa";

std::string environment(const char* name) {
    const char* value = std::getenv(name);
    return value == nullptr ? std::string() : std::string(value);
}

std::string new_key() {
    std::random_device device;  // tidy: allow random: a key that nobody has used before
    std::string key;
    for (int i = 0; i < 4; ++i) key += fmt::format("{:08x}", device());
    return key;
}

Error no_daemon(std::string_view where) {
    return {ErrorCode::io,
            fmt::format("{}\n  start it with: systemctl start stoad\n"
                        "  or, as any user: stoad --root DIR, and then STOA_ROOT=DIR",
                        where)};
}

}  // namespace

int exit_code_of(ErrorCode code) {
    switch (code) {
        case ErrorCode::invalid_argument:
        case ErrorCode::unsupported:
        case ErrorCode::out_of_range: return kRefused;
        case ErrorCode::not_found: return kNotFound;
        case ErrorCode::already_exists:
        case ErrorCode::in_use:
        case ErrorCode::busy:
        case ErrorCode::conflict: return kConflict;
        case ErrorCode::denied: return kDenied;
        case ErrorCode::timeout: return kTimedOut;
        default: return kFailed;
    }
}

std::string item_target(std::string_view plural, std::string_view reference) {
    std::string plain(reference);
    std::ranges::replace(plain, '/', '~');
    std::ranges::replace(plain, '@', '~');
    return fmt::format("/v1/{}/{}", plural, client::percent_encode(plain));
}

Result<client::Endpoint> Session::find() const {
    const std::string remote =
        !options_.remote.empty() || !options_.socket.empty() || !options_.root.empty()
            ? options_.remote
            : environment("STOA_REMOTE");
    if (!remote.empty() && remote != "local") return find_remote(remote);
    client::Endpoint endpoint;
    endpoint.socket = options_.socket;
    const std::string root =
        options_.root.empty() && endpoint.socket.empty() ? environment("STOA_ROOT") : options_.root;
    if (endpoint.socket.empty() && options_.root.empty()) {
        endpoint.socket = environment("STOA_SOCKET");
    }
    if (!endpoint.socket.empty()) return endpoint;
    if (!root.empty()) {
        TRY_ASSIGN(endpoint.socket, client::socket_of_root(root));
        return endpoint;
    }
    const auto usual = client::socket_of_root(std::string(kDefaultRoot));
    const std::vector<std::string> sockets = client::local_sockets();
    if (usual.ok()) endpoint.socket = *usual;
    else if (sockets.size() == 1) endpoint.socket = sockets[0];
    if (!endpoint.socket.empty()) return endpoint;
    if (sockets.empty()) return Error(ErrorCode::not_found, "no instance runs on this machine");
    std::string all;
    for (const std::string& socket : sockets) all += "\n  " + socket;
    return Error(ErrorCode::invalid_argument,
                 fmt::format("several instances run on this machine; choose one with STOA_ROOT=DIR "
                             "or STOA_SOCKET, one of:{}",
                             all));
}

Result<client::Client*> Session::client() {
    if (client_ == nullptr) {
        auto endpoint = find();
        if (!endpoint.ok()) {
            const ErrorCode code = endpoint.error().code();
            const bool is_local = options_.remote.empty() && environment("STOA_REMOTE").empty();
            is_missing_ = is_local && code == ErrorCode::not_found;
            return is_missing_ ? no_daemon(endpoint.error().message()) : endpoint.take_error();
        }
        const std::string token = environment("STOA_TOKEN");
        if (!token.empty() && endpoint->socket.empty()) endpoint->token = token;
        client_ = client::Client::create(*std::move(endpoint));
    }
    return client_.get();
}

bool Session::may_wait_for_daemon() const {
    const client::Failure failure = client_->failure();
    return was_connected_ &&
           (failure == client::Failure::hung_up || failure == client::Failure::unreachable);
}

Result<client::Answer> Session::exchange(const client::Call& call) {
    TRY_ASSIGN(client::Client * client, this->client());
    auto answer = client->call(call);
    milliseconds waited{0};
    const milliseconds limit = std::min(options_.limit.value_or(kAwayLimit), kAwayLimit);
    bool is_told = false;
    while (!answer.ok()) {
        const client::Failure failure = client->failure();
        if (failure == client::Failure::hung_up || failure == client::Failure::refused) {
            was_connected_ = true;
        }
        if (!may_wait_for_daemon() || waited >= limit) break;
        if (!is_told && errors_are_terminal()) {
            print_error("the daemon is away; waiting for it\n");
            is_told = true;
        }
        if (!client->pause(kAwayPause)) return Error(ErrorCode::cancelled, "interrupted");
        waited += kAwayPause;
        answer = client->call(call);
    }
    if (answer.ok()) was_connected_ = true;
    else if (client->failure() == client::Failure::unreachable &&
             !client->endpoint().socket.empty() && answer.error().code() == ErrorCode::io) {
        return no_daemon("no daemon answers at " + answer.error().message());
    }
    return answer;
}

Result<Json> Session::get(const std::string& target) {
    client::Call call{.target = target};
    if (options_.limit) call.limit = std::max(call.limit, *options_.limit);
    TRY_ASSIGN(auto answer, exchange(call));
    return std::move(answer.body);
}

Result<std::string> Session::get_text(const std::string& target) {
    TRY_ASSIGN(const auto answer, exchange({.target = target}));
    return answer.body.is_null() ? answer.text : to_pretty_text(answer.body) + '\n';
}

Result<client::Answer> Session::send(client::Method method, const std::string& target,
                                     const Json& body, const std::string& if_match) {
    client::Call call{.method = method, .target = target, .body = body};
    call.headers["Idempotency-Key"] = new_key();
    if (!if_match.empty()) call.headers["If-Match"] = if_match;
    if (options_.limit) call.limit = std::max(call.limit, *options_.limit);
    return exchange(call);
}

Result<JsonArray> Session::list(const std::string& target) {
    JsonArray items;
    std::string page;
    const char joint = target.find('?') == std::string::npos ? '?' : '&';
    for (size_t pages = 0; pages < kPagesMax; ++pages) {
        std::string asked = fmt::format("{}{}limit=500", target, joint);
        if (!page.empty()) asked += "&page=" + client::percent_encode(page);
        TRY_ASSIGN(Json answer, get(asked));
        JsonObject* object = answer.if_object();
        Json* found = object != nullptr ? object->if_contains("items") : nullptr;
        JsonArray* array = found != nullptr ? found->if_array() : nullptr;
        if (array == nullptr) {
            return Error(ErrorCode::io, fmt::format("{}: the answer is no list", target));
        }
        for (Json& item : *array) items.push_back(std::move(item));
        const std::string next = text_at(answer, "next");
        if (next.empty()) return items;
        if (next == page || array->empty()) {
            return Error(ErrorCode::io, fmt::format("{}: the list has no end", target));
        }
        page = next;
    }
    return Error(ErrorCode::out_of_range, fmt::format("{}: the list is too long", target));
}

bool Session::was_interrupted() const {
    return client_ != nullptr && client_->failure() == client::Failure::interrupted;
}

int Session::exit_code(const Error& error) const {
    if (is_missing_) return kNoDaemon;
    if (client_ == nullptr) return exit_code_of(error.code());
    switch (client_->failure()) {
        case client::Failure::unreachable:
        case client::Failure::hung_up:
            return error.code() == ErrorCode::denied ? kDenied : kNoDaemon;
        case client::Failure::interrupted: return kInterrupted;
        case client::Failure::late: return kTimedOut;
        default: return exit_code_of(error.code());
    }
}

}  // namespace stoa::cli
