// `stoa vm console`: the serial console of a guest on this terminal.
//
// Each connection needs a ticket of its own. When the daemon restarts, a new one is asked for until
// it is back; the guest runs on meanwhile. console_test.py plays all of it on a pseudo terminal.
#include <unistd.h>

#include <cstdlib>

#include "apps/stoa/body.h"
#include "apps/stoa/commands.h"
#include "apps/stoa/terminal.h"
#include "base/utf8.h"
#include "client/endpoint.h"
#include "client/websocket.h"

namespace stoa::cli {

namespace {

constexpr auto kConnectLimit = std::chrono::seconds(10);
constexpr auto kPause = std::chrono::milliseconds(300);
constexpr int kAttemptsMax = 200;  // a minute
constexpr std::string_view kDefaultEscape = "^]";

// "^]" or "^A": the control character; one plain character is itself.
Result<char> parse_key(std::string_view text) {
    if (text.size() == 1) return text[0];
    if (text.size() == 2 && text[0] == '^') {
        const char upper =
            text[1] >= 'a' && text[1] <= 'z' ? static_cast<char>(text[1] - 'a' + 'A') : text[1];
        if (upper >= '@' && upper <= '_') return static_cast<char>(upper - '@');
    }
    return Error(ErrorCode::invalid_argument,
                 fmt::format("--escape: \"{}\" is no key: write ^] or ^A", text));
}

Result<std::unique_ptr<client::WebSocket>> open_console(Session& session, const std::string& vm) {
    TRY_ASSIGN(client::Client * client, session.client());
    const std::string target = item_target("vms", vm) + "/console";
    TRY_ASSIGN(const auto answer, client->call({.method = client::Method::post, .target = target}));
    const std::string ticket = client::percent_encode(text_at(answer.body, "ticket"));
    return client->open_socket(fmt::format("{}?ticket={}", target, ticket), kConnectLimit);
}

// After it was lost: until the daemon is back. Errors: those that waiting does not heal.
Result<std::unique_ptr<client::WebSocket>> reopen(Session& session, const std::string& vm) {
    for (int attempt = 0;; ++attempt) {
        TRY_ASSIGN(client::Client * client, session.client());
        if (!client->pause(kPause)) return Error(ErrorCode::cancelled, "interrupted");
        auto socket = open_console(session, vm);
        if (socket.ok() || attempt == kAttemptsMax) return socket;
        const client::Failure failure = client->failure();
        if (failure == client::Failure::refused || failure == client::Failure::interrupted) {
            return socket;
        }
    }
}

}  // namespace

Result<int> run_console(Context& context, const Invocation& invocation) {
    const char* wanted = std::getenv("STOA_ESCAPE");
    std::string escape = invocation.option("--escape");
    if (escape.empty()) escape = wanted != nullptr ? wanted : std::string(kDefaultEscape);
    TRY_ASSIGN(const char key, parse_key(escape));
    const std::string vm = invocation.argument("NAME");
    Session& session = context.session();
    TRY_ASSIGN(auto socket, open_console(session, vm));
    print_error("console of {}; {} leaves it\n", to_plain_text(vm), to_plain_text(escape));
    const auto raw = RawTerminal::enter();
    const std::string_view end = raw ? "\r\n" : "\n";
    const client::KeyFilter filter = [key](std::string_view typed) -> std::optional<std::string> {
        const size_t at = typed.find(key);
        if (at == std::string_view::npos) return std::string(typed);
        return std::nullopt;
    };
    const client::Sink output = [](std::string_view piece) -> Result<void> {
        write_text(stdout, piece);
        if (std::fflush(stdout) != 0) return Error(ErrorCode::io, "the output cannot be written");
        return {};
    };
    while (true) {
        TRY_ASSIGN(const client::RelayEnd how, socket->relay(STDIN_FILENO, filter, output));
        switch (how) {
            case client::RelayEnd::left:
                print_error("{}left the console{}", end, end);
                return kDone;
            case client::RelayEnd::interrupted: return kInterrupted;
            case client::RelayEnd::closed: {
                const std::string reason = to_plain_text(socket->close_reason());
                print_error("{}the console is closed{}{}{}", end, reason.empty() ? "" : ": ",
                            reason, end);
                return kDone;
            }
            case client::RelayEnd::lost: break;
        }
        print_error("{}the daemon is away; reconnecting{}", end, end);
        auto again = reopen(session, vm);
        if (!again.ok()) return again.take_error();
        socket = *std::move(again);
        print_error("connected again{}", end);
    }
}

}  // namespace stoa::cli
