// A change of anything: its plan, or its doing and the waiting for its end.
#pragma once

#include <string>

#include "apps/stoa/context.h"
#include "client/client.h"

namespace stoa::cli {

struct Change {
    client::Method method = client::Method::post;
    std::string target;  // with its query, but for what --plan adds
    Json body = nullptr;
    std::string if_match;
    std::string title;  // "vm web1"
    std::string done;   // "started"
};

// What is left when the daemon has taken it.
struct Submitted {
    std::string task;    // empty: it is done already
    std::string target;  // "vm/ID"
    Json answer;         // the record, or what was answered
};

// --plan: shows the plan and returns none.
Result<std::optional<Submitted>> submit(Context& context, const Change& change);
// Waits, if that is wished, and says what became of it.
Result<void> finish(Context& context, const Change& change, const Submitted& submitted);
// Both.
Result<void> make_change(Context& context, const Change& change);

void show_plan(const Context& context, const Json& plan, const std::string& title);

}  // namespace stoa::cli
