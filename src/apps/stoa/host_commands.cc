// `stoa host show` and `stoa host check`.
#include <algorithm>

#include "apps/stoa/body.h"
#include "apps/stoa/commands.h"
#include "apps/stoa/generic.h"
#include "apps/stoa/show.h"
#include "apps/stoa/terminal.h"
#include "apps/stoa/text.h"
#include "base/utf8.h"

namespace stoa::cli {

namespace {

// The host that is named, or the one whose daemon answers.
Result<std::string> host_of(Context& context, const Invocation& invocation) {
    const std::string name = invocation.argument("NAME");
    if (!name.empty()) return name;
    TRY_ASSIGN(const Json info, context.session().get("/v1/info"));
    for (const char* field : {"host", "host_id"}) {
        const std::string id = text_at(info, field);
        if (!id.empty()) return id;
    }
    return Error(ErrorCode::unsupported, "the daemon does not say which host it is on; name it");
}

}  // namespace

Result<int> run_host_show(Context& context, const Invocation& invocation) {
    TRY_ASSIGN(const std::string host, host_of(context, invocation));
    TRY_ASSIGN(const Json record, context.session().get(item_target("hosts", host)));
    show_records(context, "host", JsonArray{record});
    return kDone;
}

Result<int> run_host_check(Context& context, const Invocation& invocation) {
    TRY_ASSIGN(const std::string host, host_of(context, invocation));
    TRY_ASSIGN(const JsonArray items,
               context.session().list(item_target("hosts", host) + "/check"));
    const auto bad = std::ranges::count_if(
        items, [](const Json& item) { return text_at(item, "state") == "missing"; });
    const auto poor = std::ranges::count_if(
        items, [](const Json& item) { return text_at(item, "state") == "warning"; });
    const int exit_code = bad > 0 ? kFailed : kDone;
    if (context.wishes().output != Output::table) {
        context.show_value(items);
        return exit_code;
    }
    for (const Json& item : items) {
        const std::string state = text_at(item, "state");
        const bool is_ok = state == "ok";
        if (context.wishes().quiet) {
            if (!is_ok) print("{}\n", to_plain_text(text_at(item, "name")));
            continue;
        }
        const size_t width = output_width() == 0 ? 100 : output_width();
        print("{:<8} {:<12} {}\n", to_plain_text(state), to_plain_text(text_at(item, "name")),
              wrap(to_plain_text(text_at(item, "text")), 22, width));
        const std::string hint = to_plain_text(text_at(item, "hint"));
        if (!hint.empty() && !is_ok) print("{:22}{}\n", "", wrap(hint, 22, width));
    }
    if (context.wishes().quiet) return exit_code;
    if (bad == 0 && poor == 0) print("nothing is missing\n");
    else print("{} missing, {}\n", bad, count_of(static_cast<uint64_t>(poor), "warning"));
    return exit_code;
}

}  // namespace stoa::cli
