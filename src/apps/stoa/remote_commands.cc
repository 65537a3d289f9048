// Commands about the control planes of other machines: remote, login.
#include <algorithm>
#include <cctype>
#include <cstdlib>

#include "apps/stoa/body.h"
#include "apps/stoa/commands.h"
#include "apps/stoa/remotes.h"
#include "apps/stoa/terminal.h"
#include "apps/stoa/text.h"
#include "apps/stoa/units.h"
#include "base/utf8.h"
#include "controlplane/model/record.h"

namespace stoa::cli {

namespace {

constexpr auto kConnectLimit = std::chrono::seconds(10);

// Hexadecimal digits alone, in capitals.
std::string plain_digits(std::string_view text) {
    std::string digits;
    for (const char c : text) {
        if (c != ':' && c != ' ') {
            digits += static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
        }
    }
    if (digits.starts_with("SHA256")) digits.erase(0, 6);
    return digits;
}

// "paris" of "paris.example.org"; the address with '-' otherwise.
std::string default_name(const std::string& host) {
    std::string name = host.substr(0, host.find('.'));
    if (!model::check_name(name).ok() ||
        name.find_first_not_of("0123456789") == std::string::npos) {
        name = host;
        for (char& c : name) {
            if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '-';
        }
    }
    return name;
}

Json to_shown(const Remote& remote) {
    return JsonObject{{"name", remote.name},
                      {"url", remote.url},
                      {"fingerprint", remote.fingerprint},
                      {"logged_in", !remote.token.empty()}};
}

Result<void> check_trust(const Invocation& invocation, const Context& context,
                         const client::PeerCertificate& peer, const std::string& url) {
    const std::string wanted = plain_digits(invocation.option("--fingerprint"));
    const bool is_given = invocation.has("--fingerprint");
    if (is_given && wanted == plain_digits(peer.fingerprint)) return {};
    if (is_given) {
        return Error(ErrorCode::denied,
                     fmt::format("{}: its fingerprint is {}, not the one that was given", url,
                                 peer.fingerprint));
    }
    std::string spaced = peer.fingerprint;
    std::ranges::replace(spaced, ':', ' ');
    print_error("{} of {}\n  {}\n  SHA-256 {}\n", peer.is_authority ? "authority" : "certificate",
                url, to_plain_text(peer.subject), wrap(spaced, 10, 60));
    return context.confirm("Is this what its administrator says (stoa host show)?");
}

}  // namespace

Result<int> run_remote_list(Context& context, const Invocation& /*invocation*/) {
    TRY_ASSIGN(const Remotes remotes, load_remotes());
    if (context.wishes().output != Output::table) {
        JsonArray all;
        for (const Remote& remote : remotes.remotes) all.push_back(to_shown(remote));
        context.show_value(all);
        return kDone;
    }
    Table table({{.title = "NAME"}, {.title = "URL"}, {.title = "LOGGED IN"}});
    for (const Remote& remote : remotes.remotes) {
        if (context.wishes().quiet) print("{}\n", to_plain_text(remote.name));
        table.add({to_plain_text(remote.name), to_plain_text(remote.url),
                   remote.token.empty() ? "-" : "yes"});
    }
    if (context.wishes().quiet) return kDone;
    if (table.empty()) print_error("no remotes\n");
    else write_text(stdout, table.to_text(output_width()));
    return kDone;
}

Result<int> run_remote_show(Context& context, const Invocation& invocation) {
    const std::string name = invocation.argument("NAME");
    TRY(find_remote(name));
    TRY_ASSIGN(const Remotes remotes, load_remotes());
    const auto& remote = *std::ranges::find(remotes.remotes, name, &Remote::name);
    if (context.wishes().output != Output::table) {
        context.show_value(to_shown(remote));
        return kDone;
    }
    print("name         {}\nurl          {}\nfingerprint  {}\nlogged in    {}\n",
          to_plain_text(remote.name), to_plain_text(remote.url), to_plain_text(remote.fingerprint),
          remote.token.empty() ? "no" : "yes");
    return kDone;
}

Result<int> run_remote_add(Context& context, const Invocation& invocation) {
    TRY_ASSIGN(const auto endpoint, client::parse_url(invocation.argument("URL")));
    Remote remote;
    remote.url = endpoint.to_string();
    remote.name = invocation.argument("NAME");
    if (remote.name.empty()) remote.name = default_name(endpoint.host);
    TRY(model::check_name(remote.name));
    if (remote.name == "local") {
        return Error(ErrorCode::already_exists, "\"local\" is this machine: choose another name");
    }
    TRY_ASSIGN(Remotes remotes, load_remotes());
    if (std::ranges::find(remotes.remotes, remote.name, &Remote::name) != remotes.remotes.end()) {
        return Error(
            ErrorCode::already_exists,
            fmt::format("there is a remote \"{}\" already: give another name, or delete it",
                        remote.name));
    }
    const auto peer = client::fetch_certificate(endpoint.host, endpoint.port, kConnectLimit);
    if (!peer.ok() && peer.error().code() == ErrorCode::io) {
        print_error("stoa: {}\n", to_plain_text(peer.error().message()));
        return kNoDaemon;
    }
    if (!peer.ok()) return peer.error();
    TRY(check_trust(invocation, context, *peer, remote.url));
    remote.certificate = peer->pem;
    remote.fingerprint = peer->fingerprint;
    const char* token = std::getenv("STOA_TOKEN");
    remote.token = invocation.option("--token");
    if (remote.token.empty() && token != nullptr) remote.token = token;
    const bool has_token = !remote.token.empty();
    const std::string name = remote.name;
    remotes.remotes.push_back(std::move(remote));
    TRY(save_remotes(remotes));
    context.say("remote {} added{}\n", name,
                has_token ? "" : fmt::format("; log in with: stoa -r {} login", name));
    return kDone;
}

Result<int> run_remote_delete(Context& context, const Invocation& invocation) {
    const std::string name = invocation.argument("NAME");
    TRY(find_remote(name));
    TRY_ASSIGN(Remotes remotes, load_remotes());
    std::erase_if(remotes.remotes, [&](const Remote& remote) { return remote.name == name; });
    TRY(save_remotes(remotes));
    context.say("remote {} deleted\n", to_plain_text(name));
    return kDone;
}

Result<int> run_login(Context& context, const Invocation& invocation) {
    std::string name = context.session().options().remote;
    const char* usual = std::getenv("STOA_REMOTE");
    if (name.empty() && usual != nullptr) name = usual;
    if (name.empty() || name == "local") {
        return Error(
            ErrorCode::invalid_argument,
            "this machine's daemon knows you by your user id; to log in elsewhere: stoa -r "
            "REMOTE login");
    }
    std::string user = invocation.option("--user");
    if (user.empty() && can_ask()) {
        print_error("User: ");
        TRY_ASSIGN(user, read_line());
    }
    if (user.empty()) return Error(ErrorCode::invalid_argument, "--user is missing");
    TRY_ASSIGN(const std::string password,
               invocation.has("--password-stdin")
                   ? read_line()
                   : ask_secret(fmt::format("Password of {} at {}", user, name)));
    TRY_ASSIGN(client::Client * client, context.session().client());
    client->set_token("");
    const client::Call call{.method = client::Method::post,
                            .target = "/v1/login",
                            .body = JsonObject{{"user", user}, {"password", password}}};
    TRY_ASSIGN(const auto answer, client->call(call));
    TRY_ASSIGN(Remotes remotes, load_remotes());
    const auto found = std::ranges::find(remotes.remotes, name, &Remote::name);
    if (found == remotes.remotes.end()) {
        return Error(ErrorCode::not_found, fmt::format("remote \"{}\" is gone", name));
    }
    found->token = text_at(answer.body, "token");
    if (found->token.empty()) return Error(ErrorCode::io, "the daemon gave no token");
    TRY(save_remotes(remotes));
    const int64_t expires = number_at(answer.body, "expires_ns");
    context.say("logged in to {} as {}{}\n", name, to_plain_text(user),
                expires > 0 ? fmt::format(", until {}", format_time(expires)) : "");
    return kDone;
}

}  // namespace stoa::cli
