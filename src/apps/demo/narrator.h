// What the demo tells: titles, what is done, what was seen, and the checks of it.
#pragma once

#include <string_view>

#include "base/result.h"

namespace stoa::apps::demo {

class Narrator {
public:
    // After SIGINT, SIGTERM, SIGHUP or SIGPIPE every check fails, so that the demo ends soon and
    // cleans up.
    static void catch_signals();

    // "== 3. text": begins a step.
    void title(std::string_view text);
    // One or several lines of explanation or of figures.
    void say(std::string_view text);
    // A command, as one would type it, and what it printed.
    void show_command(std::string_view command, std::string_view output);
    // Prints "ok: what". Errors: corrupt ("expected that `what`", with `seen`), cancelled (signal),
    // io (nothing printed is read any more).
    Result<void> check(bool good, std::string_view what, std::string_view seen = "");
    [[nodiscard]] int checks() const { return checks_; }

private:
    int steps_ = 0;
    int checks_ = 0;
};

}  // namespace stoa::apps::demo
