#include "apps/demo/narrator.h"

#include <fmt/format.h>
#include <signal.h>

#include <cstdio>
#include <string>

#include "base/output.h"

namespace stoa::apps::demo {

namespace {

volatile sig_atomic_t caught_signal = 0;

void remember(int number) { caught_signal = number; }

// A reader that went away is no reason to stop before everything is cleaned up.
void print(const std::string& text) {
    write_text(stdout, text);
    std::fflush(stdout);
}

void print_indented(std::string_view text) {
    std::string lines;
    while (!text.empty()) {
        const size_t end = text.find('\n');
        lines += fmt::format("   {}\n", text.substr(0, end));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    print(lines);
}

}  // namespace

void Narrator::catch_signals() {
    struct sigaction action{};
    action.sa_handler = remember;
    action.sa_flags = SA_RESTART;
    for (const int number : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) {
        sigaction(number, &action, nullptr);
    }
}

void Narrator::title(std::string_view text) { print(fmt::format("\n== {}. {}\n", ++steps_, text)); }

void Narrator::say(std::string_view text) { print_indented(text); }

void Narrator::show_command(std::string_view command, std::string_view output) {
    print_indented(fmt::format("$ {}\n{}", command, output));
}

Result<void> Narrator::check(bool good, std::string_view what, std::string_view seen) {
    if (caught_signal != 0) {
        const int number = caught_signal;
        return Error(ErrorCode::cancelled, fmt::format("stopped by signal {}", number));
    }
    if (std::ferror(stdout) != 0) return Error(ErrorCode::io, "the output cannot be written");
    if (!good) {
        return Error(ErrorCode::corrupt,
                     seen.empty() ? fmt::format("expected that {}; it is not so", what)
                                  : fmt::format("expected that {}; seen: {}", what, seen));
    }
    ++checks_;
    print(fmt::format("   ok: {}\n", what));
    return {};
}

}  // namespace stoa::apps::demo
