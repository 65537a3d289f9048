#include "apps/stoa/program.h"

#include <algorithm>
#include <csignal>

#include "apps/stoa/commands.h"
#include "apps/stoa/context.h"
#include "apps/stoa/help.h"
#include "apps/stoa/parse.h"
#include "apps/stoa/terminal.h"
#include "base/utf8.h"

namespace stoa::cli {

namespace {

constexpr size_t kHelpWidthMax = 100;

// Messages may quote what others wrote.
std::string safe_lines(std::string_view text) {
    std::string safe;
    while (true) {
        const size_t end = text.find('\n');
        safe += to_plain_text(text.substr(0, end));
        if (end == std::string_view::npos) return safe;
        safe += '\n';
        text.remove_prefix(end + 1);
    }
}

int fail(const Error& error, int exit_code) {
    print_error("stoa: {}\n", safe_lines(error.message()));
    return exit_code;
}

void show_help(const Parsed& parsed) {
    const size_t width = output_width() == 0 ? 80 : std::min(output_width(), kHelpWidthMax);
    const Noun* noun = find_noun(parsed.noun);
    if (parsed.invocation.verb != nullptr) {
        write_text(stdout, verb_help(*parsed.invocation.verb, width));
    } else if (noun != nullptr) {
        write_text(stdout, noun_help(*noun, width));
    } else {
        write_text(stdout, program_help(width));
    }
}

int run(const Invocation& invocation) {
    auto wishes = make_wishes(invocation);
    if (!wishes.ok()) return fail(wishes.error(), kRefused);
    SessionOptions options{.remote = invocation.option("--remote"),
                           .socket = invocation.option("--socket"),
                           .root = invocation.option("--root"),
                           .limit = wishes->timeout};
    Context context(*std::move(wishes), std::move(options));
    const auto done = invocation.verb->handler(context, invocation);
    if (done.ok()) return *done;
    const int exit_code = context.session().exit_code(done.error());
    if (exit_code == kInterrupted && done.error().code() == ErrorCode::cancelled) return exit_code;
    return fail(done.error(), exit_code);
}

}  // namespace

int run_program(const std::vector<std::string>& words) {
    // Who does not read on gets no more; that is said at the end.
    std::signal(SIGPIPE, SIG_IGN);
    const auto parsed = parse_words(words);
    int exit_code = kDone;
    if (!parsed.ok()) exit_code = fail(parsed.error(), kRefused);
    else if (parsed->wish == Wish::version) print("stoa {}\n", STOA_VERSION);
    else if (parsed->wish == Wish::help) show_help(*parsed);
    else exit_code = run(parsed->invocation);
    if (!finish_output("stoa") && exit_code == kDone) return kFailed;
    return exit_code;
}

}  // namespace stoa::cli
