// What happened, who changed what, and why: event list, audit list, why.
#include <algorithm>
#include <deque>

#include "apps/stoa/body.h"
#include "apps/stoa/columns.h"
#include "apps/stoa/commands.h"
#include "apps/stoa/show.h"
#include "apps/stoa/terminal.h"
#include "apps/stoa/text.h"
#include "apps/stoa/units.h"
#include "base/utf8.h"
#include "client/endpoint.h"
#include "client/websocket.h"

namespace stoa::cli {

namespace {

constexpr int64_t kNsPerSecond = 1'000'000'000;
constexpr size_t kDefaultLimit = 50;
constexpr size_t kPageEntries = 500;
constexpr auto kQuietLimit = std::chrono::hours(24 * 365);
constexpr auto kPause = std::chrono::milliseconds(500);

struct Asked {
    size_t limit = kDefaultLimit;
    int64_t since_ns = 0;
};

Result<Asked> parse_asked(const Invocation& invocation) {
    Asked asked;
    if (invocation.has("--limit")) {
        TRY_ASSIGN(const Json limit,
                   to_value(Take::number, "--limit", {invocation.option("--limit")}));
        asked.limit = static_cast<size_t>(number_at(JsonObject{{"n", limit}}, "n"));
    }
    if (invocation.has("--since")) {
        const auto seconds = parse_seconds(invocation.option("--since"));
        if (!seconds.ok()) return seconds.error().with_context("--since");
        asked.since_ns = now_ns() - static_cast<int64_t>(*seconds) * kNsPerSecond;
        if (!invocation.has("--limit")) asked.limit = SIZE_MAX;
    }
    return asked;
}

// The newest entries that pass, oldest first; `last` gets the sequence of the very newest.
Result<std::deque<Json>> newest(Context& context, std::string target, const Asked& asked,
                                int64_t& last, bool (*passes)(const Json& entry) = nullptr) {
    std::deque<Json> kept;
    target += fmt::format("{}newest_first=true&limit={}", target.contains('?') ? '&' : '?',
                          std::min(asked.limit, kPageEntries));
    std::string page = target;
    while (true) {
        TRY_ASSIGN(const Json answer, context.session().get(page));
        const Json* items = find_field(answer, "items");
        if (items == nullptr || !items->is_array()) {
            return Error(ErrorCode::io, fmt::format("{}: the answer is no list", target));
        }
        for (const Json& entry : items->get_array()) {
            last = std::max(last, number_at(entry, "sequence"));
            if (number_at(entry, "time_ns") < asked.since_ns) return kept;
            if (passes != nullptr && !passes(entry)) continue;
            kept.push_front(entry);
            if (kept.size() == asked.limit) return kept;
        }
        const int64_t next = number_at(answer, "next");
        if (next <= 0 || items->get_array().empty()) return kept;
        page = fmt::format("{}&since={}", target, next);
    }
}

// All pages, of which the last entries count.
Result<std::deque<Json>> decisions(Context& context, const std::string& target, size_t limit) {
    std::deque<Json> kept;
    std::string page = target;
    while (true) {
        TRY_ASSIGN(const Json answer, context.session().get(page));
        const Json* items = find_field(answer, "items");
        if (items == nullptr || !items->is_array()) {
            return Error(ErrorCode::io, fmt::format("{}: the answer is no list", target));
        }
        for (const Json& entry : items->get_array()) {
            kept.push_back(entry);
            if (kept.size() > limit) kept.pop_front();
        }
        const int64_t next = number_at(answer, "next");
        if (next <= 0 || items->get_array().empty()) return kept;
        page = fmt::format("{}?since={}", target, next);
    }
}

// "vm/ID" as "vm web1"; the host's own have none.
std::string subject_of(Context& context, const Json& entry) {
    const std::string subject = text_at(entry, "subject");
    const size_t slash = subject.find('/');
    const Noun* noun = find_noun(subject.substr(0, slash));
    if (slash == std::string::npos || noun == nullptr) return to_plain_text(subject);
    return fmt::format("{} {}", noun->name,
                       context.name_of(noun->plural, subject.substr(slash + 1)));
}

// "local/0" and "user/ID".
std::string principal_of(Context& context, const Json& entry) {
    const std::string principal = text_at(entry, "principal");
    if (!principal.starts_with("user/")) return to_plain_text(principal);
    return context.name_of("users", principal.substr(5));
}

void show_entries(Context& context, const std::deque<Json>& entries, bool with_principal,
                  std::string_view none) {
    if (context.wishes().output != Output::table) {
        JsonArray all;
        for (const Json& entry : entries) all.push_back(entry);
        context.show_value(all);
        return;
    }
    std::vector<Table::Column> columns{{.title = "TIME", .is_fixed = true}};
    if (with_principal) columns.push_back({.title = "WHO"});
    columns.push_back({.title = "ABOUT"});
    columns.push_back({.title = "WHAT"});
    Table table(std::move(columns));
    for (const Json& entry : entries) {
        if (context.wishes().quiet) {
            print("{}\n", number_at(entry, "sequence"));
            continue;
        }
        std::vector<std::string> cells{format_time(number_at(entry, "time_ns"))};
        if (with_principal) cells.push_back(principal_of(context, entry));
        cells.push_back(subject_of(context, entry));
        cells.push_back(to_plain_text(text_at(entry, "text")));
        for (std::string& cell : cells) {
            if (cell.empty()) cell = "-";
        }
        table.add(std::move(cells));
    }
    if (context.wishes().quiet) return;
    if (table.empty()) print_error("{}\n", none);
    else write_text(stdout, table.to_text(output_width()));
}

Result<void> show_live(Context& context, const Json& entry, std::string_view kind) {
    const std::string is = text_at(entry, "kind");
    const bool is_entry =
        find_field(entry, "sequence") != nullptr && find_field(entry, "text") != nullptr;
    if (!is_entry || (kind.empty() ? is != "event" && is != "task" : is != kind)) return {};
    if (context.wishes().output == Output::json) {
        print("{}\n", to_text(entry));
    } else if (context.wishes().output == Output::yaml) {
        print("---\n");
        context.show_value(entry);
    } else {
        const std::string subject = subject_of(context, entry);
        print("{}  {}  {}\n", format_time(number_at(entry, "time_ns")),
              subject.empty() ? "-" : subject, to_plain_text(text_at(entry, "text")));
    }
    if (std::fflush(stdout) != 0) return Error(ErrorCode::io, "the output cannot be written");
    return {};
}

// Until interrupted; goes on where it was when the daemon restarts.
Result<int> follow(Context& context, int64_t last, const std::string& kind) {
    TRY_ASSIGN(client::Client * client, context.session().client());
    bool was_there = false;
    while (true) {
        auto socket =
            client->open_socket(fmt::format("/v1/watch?since={}", last), std::chrono::seconds(10));
        if (!socket.ok()) {
            const client::Failure failure = client->failure();
            const bool may_wait = was_there && (failure == client::Failure::unreachable ||
                                                failure == client::Failure::hung_up);
            if (!may_wait || !client->pause(kPause)) return socket.take_error();
            continue;
        }
        was_there = true;
        while (true) {
            auto message = (*socket)->receive(kQuietLimit);
            if (!message.ok()) {
                if (client->failure() == client::Failure::interrupted) return kDone;
                if (message.error().code() == ErrorCode::gone) return message.take_error();
                break;
            }
            const auto entry = parse_json(*message);
            if (!entry.ok()) continue;
            last = std::max(last, number_at(*entry, "sequence"));
            // Names are looked up over the same client, by a connection of its own.
            TRY(show_live(context, *entry, kind));
        }
        if (!client->pause(kPause)) return kDone;
    }
}

}  // namespace

Result<int> run_events(Context& context, const Invocation& invocation) {
    TRY_ASSIGN(const Asked asked, parse_asked(invocation));
    const std::string kind = invocation.option("--kind");
    std::string target = "/v1/events";
    if (!kind.empty()) target += "?kind=" + client::percent_encode(kind);
    int64_t last = 0;
    // Decisions and audit have commands of their own.
    const auto is_shown = [](const Json& entry) {
        const std::string is = text_at(entry, "kind");
        return is != "decision" && is != "audit";
    };
    TRY_ASSIGN(const std::deque<Json> entries,
               newest(context, target, asked, last, kind.empty() ? +is_shown : nullptr));
    const bool follows = invocation.has("--follow");
    if (!follows || !entries.empty()) show_entries(context, entries, false, "no events");
    if (!follows) return kDone;
    if (std::fflush(stdout) != 0) return Error(ErrorCode::io, "the output cannot be written");
    return follow(context, last, kind);
}

Result<int> run_audit(Context& context, const Invocation& invocation) {
    TRY_ASSIGN(const Asked asked, parse_asked(invocation));
    int64_t last = 0;
    TRY_ASSIGN(const auto entries, newest(context, "/v1/audit", asked, last));
    show_entries(context, entries, true, "no audit entries");
    return kDone;
}

Result<int> run_why(Context& context, const Invocation& invocation) {
    TRY_ASSIGN(const Asked asked, parse_asked(invocation));
    const std::string kind = invocation.argument("KIND");
    const Noun* noun = find_noun(kind);
    if (noun == nullptr || columns_of(kind).empty()) {
        return Error(
            ErrorCode::invalid_argument,
            fmt::format("\"{}\" is no kind of thing: write vm, volume, network ...", kind));
    }
    const std::string name = invocation.argument("NAME");
    const std::string target = item_target(noun->plural, name) + "/why";
    TRY_ASSIGN(const auto entries, decisions(context, target, asked.limit));
    if (context.wishes().output != Output::table || context.wishes().quiet) {
        show_entries(context, entries, false, "");
        return kDone;
    }
    if (entries.empty()) {
        print_error("nothing was decided about {} {}\n", kind, to_plain_text(name));
        return kDone;
    }
    bool is_first = true;
    for (const Json& entry : entries) {
        if (!is_first) print("\n");
        is_first = false;
        print("{}  {}\n", format_time(number_at(entry, "time_ns")),
              to_plain_text(text_at(entry, "text")));
        const Json* data = find_field(entry, "data");
        if (data != nullptr && data->is_object()) {
            write_text(stdout, describe(context, *data, 2));
        }
    }
    return kDone;
}

}  // namespace stoa::cli
