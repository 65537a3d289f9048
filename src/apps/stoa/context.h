// What every command has: the session, what was wished for all commands, and ways to say things.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "apps/stoa/session.h"
#include "apps/stoa/verbs.h"
#include "base/json.h"
#include "base/output.h"
#include "base/result.h"

namespace stoa::cli {

enum class Output : uint8_t { table, json, yaml };

struct Wishes {
    Output output = Output::table;
    bool quiet = false;   // ids only
    bool plan = false;    // show, do not do
    bool wait = true;
    bool yes = false;     // do not ask
    std::optional<std::chrono::seconds> timeout;
    std::vector<std::pair<std::string, std::string>> filters;
};

// The global options. Errors: invalid_argument.
Result<Wishes> make_wishes(const Invocation& invocation);

class Context {
public:
    Context(Wishes wishes, SessionOptions options)
        : wishes_(std::move(wishes)), session_(std::move(options)) {}

    [[nodiscard]] const Wishes& wishes() const { return wishes_; }
    Session& session() { return session_; }

    // A sentence about what was done; nothing if only ids or JSON are wanted.
    template <class... Args>
    void say(fmt::format_string<Args...> text, Args&&... args) const {
        if (wishes_.quiet || wishes_.output != Output::table) return;
        stoa::print(text, std::forward<Args>(args)...);
    }
    // JSON or YAML, as wished.
    void show_value(const Json& value) const;

    // The name that the user knows for an id of a collection, "POOL/NAME" for a volume; the id if
    // there is none. Each collection is asked for once.
    std::string name_of(std::string_view plural, std::string_view id);
    // "web1", "fast/data", "web1/monday".
    std::string full_name(std::string_view noun, const Json& record);
    // All records of a collection, kept. Empty if they cannot be had.
    const JsonArray& records(std::string_view plural);

    // Asks before something that loses data. Errors: invalid_argument (nobody can be asked),
    // cancelled (the answer was no).
    Result<void> confirm(std::string_view question) const;

private:
    Wishes wishes_;
    Session session_;
    std::map<std::string, JsonArray, std::less<>> records_;
};

}  // namespace stoa::cli
