#include "apps/stoa/help.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "apps/stoa/commands.h"
#include "apps/stoa/terminal.h"
#include "apps/stoa/text.h"

namespace stoa::cli {

namespace {

using Row = std::pair<std::string, std::string>;

constexpr size_t kHelpColumnMax = 30;
constexpr size_t kWidthMax = 100;  // longer lines are hard to read

constexpr std::array<std::pair<std::string_view, std::string_view>, 10> kExitCodes{
    {{"0", "done"},
     {"1", "failed"},
     {"2", "refused: wrong words, a bad request, or something this host cannot do"},
     {"3", "no daemon answers, or it went away before it answered"},
     {"4", "not found"},
     {"5", "in use, or it was changed meanwhile, or the name is taken"},
     {"6", "denied: not logged in, or not permitted"},
     {"7", "not over in time"},
     {"130", "interrupted by Ctrl-C"},
     {"other", "of `vm exec`: that of the program in the guest; 128 + N: signal N ended it"}}};

constexpr std::array<std::pair<std::string_view, std::string_view>, 9> kVariables{
    {{"STOA_REMOTE", "name of the remote to ask, as -r"},
     {"STOA_SOCKET", "the daemon's socket, as --socket"},
     {"STOA_ROOT", "directory of the instance to ask, as --root"},
     {"STOA_TOKEN", "token for the remote, in place of the one that is kept"},
     {"STOA_CONFIG", "directory of remotes.json; else ~/.config/stoa"},
     {"STOA_ESCAPE", "the key that leaves a console, such as ^A; else ^]"},
     {"COLUMNS", "width of tables on a terminal"},
     {"VISUAL, EDITOR", "what `edit` opens; else vi"},
     {"XDG_RUNTIME_DIR", "where an ordinary user's daemon has its socket"}}};

std::string rows_text(const std::vector<Row>& rows, size_t width_max) {
    size_t column = 0;
    for (const Row& row : rows) column = std::max(column, width_of(row.first));
    column = std::min(column, kHelpColumnMax) + 4;
    std::string text;
    for (const auto& [left, right] : rows) {
        std::string line = "  " + left;
        if (width_of(line) + 2 > column && !right.empty()) {
            text += line + '\n';
            line.clear();
        }
        if (!right.empty()) {
            line.append(column - std::min(column, width_of(line)), ' ');
            line += wrap(right, column, width_max);
        }
        text += line + '\n';
    }
    return text;
}

std::string option_title(const Option& option) {
    return option.value.empty() ? std::string(option.name)
                                : fmt::format("{} {}", option.name, option.value);
}

std::vector<Row> option_rows(const std::vector<Option>& options) {
    std::vector<Row> rows;
    for (const Option& option : options) rows.emplace_back(option_title(option), option.help);
    return rows;
}

std::string title_of(const Verb& verb) {
    return verb.noun.empty() ? std::string(verb.name) : fmt::format("{} {}", verb.noun, verb.name);
}

void add_verb(const Verb& verb, std::string& text) {
    text +=
        fmt::format("### stoa {}\n\n{}\n\n`{}`\n", title_of(verb), verb.summary, usage_of(verb));
    if (!verb.arguments.empty() || !verb.options.empty()) text += '\n';
    for (const Argument& argument : verb.arguments) {
        text += fmt::format("- `{}`: {}\n", argument.name, argument.help);
    }
    for (const Option& option : verb.options) {
        text += fmt::format("- `{}`{}{}\n", option_title(option), option.help.empty() ? "" : ": ",
                            option.help);
    }
    text += "\n```\n";
    for (const std::string_view example : verb.examples) text += fmt::format("{}\n", example);
    text += "```\n\n";
}

template <class Rows>
std::string markdown_table(std::string_view left, std::string_view right, const Rows& rows) {
    std::string text = fmt::format("| {} | {} |\n|---|---|\n", left, right);
    for (const auto& [name, help] : rows) text += fmt::format("| `{}` | {} |\n", name, help);
    return text + '\n';
}

}  // namespace

std::string usage_of(const Verb& verb) {
    std::string text = fmt::format("stoa {}", title_of(verb));
    // What comes behind "--" may look like options.
    const bool is_command =
        std::ranges::find(verb.arguments, "COMMAND", &Argument::name) != verb.arguments.end() &&
        verb.noun == "vm";
    for (const Argument& argument : verb.arguments) {
        if (is_command && argument.is_many) text += " [OPTION]... --";
        std::string word(argument.name);
        if (argument.is_many) word += "...";
        text += argument.is_optional ? fmt::format(" [{}]", word) : " " + word;
    }
    if (!verb.options.empty() && !is_command) text += " [OPTION]...";
    return text;
}

std::string program_help(size_t width_max) {
    std::string text =
        "stoa: virtual machines, their storage and networks\n\n"
        "  stoa KIND VERB [NAME] [OPTION]...\n\nKinds\n";
    std::vector<Row> kinds;
    for (const Noun& noun : nouns()) {
        std::string all;
        for (const Verb& verb : verbs()) {
            if (verb.noun == noun.name)
                all += fmt::format("{}{}", all.empty() ? "" : " ", verb.name);
        }
        kinds.emplace_back(noun.name, all);
    }
    text += rows_text(kinds, width_max);
    text += "\nCommands\n";
    std::vector<Row> alone;
    for (const Verb& verb : verbs()) {
        if (verb.noun.empty()) alone.emplace_back(verb.name, verb.summary);
    }
    text += rows_text(alone, width_max);
    text += "\nFor every command\n" + rows_text(option_rows(global_options()), width_max);
    return text + "\nMore of one: stoa help KIND, stoa help KIND VERB.\n";
}

std::string noun_help(const Noun& noun, size_t width_max) {
    std::string text = fmt::format("stoa {} VERB: {}\n\n", noun.name, noun.summary);
    std::vector<Row> rows;
    for (const Verb& verb : verbs()) {
        if (verb.noun == noun.name) rows.emplace_back(verb.name, verb.summary);
    }
    text += rows_text(rows, width_max);
    return text + fmt::format("\nMore of one: stoa help {} VERB.\n", noun.name);
}

std::string verb_help(const Verb& verb, size_t width_max) {
    std::string text = fmt::format("{}\n\n{}\n", usage_of(verb), wrap(verb.summary, 0, width_max));
    std::vector<Row> rows;
    for (const Argument& argument : verb.arguments) {
        rows.emplace_back(argument.name, argument.help);
    }
    for (Row& row : option_rows(verb.options)) rows.push_back(std::move(row));
    if (!rows.empty()) text += '\n' + rows_text(rows, width_max);
    text += verb.examples.size() == 1 ? "\nExample\n" : "\nExamples\n";
    for (const std::string_view example : verb.examples) text += fmt::format("  {}\n", example);
    return text + "\nOptions of every command: stoa help.\n";
}

std::string markdown() {
    std::string text =
        "# stoa, the command line\n\n"
        "This page is made of the program's own table by `stoa help --markdown`; a test compares "
        "the two.\n\n"
        "`stoa KIND VERB [NAME] [OPTION]...`\n\n"
        "Names are those that `list` shows, or ids. A volume is `POOL/NAME`, a snapshot `VM/NAME` "
        "or `POOL/VOLUME/NAME`. Sizes are bytes or `512M`, `10G` (powers of 1024); times are "
        "seconds or `30s`, `5m`, `2h`, `7d`.\n\n"
        "Tables are for people: they are cut to the width of the terminal. Programs take "
        "`-o json`, `-o yaml` or `-q`. A change that takes long is a task; `stoa` waits for it, "
        "and "
        "shows on a terminal how far it is. Ctrl-C ends the waiting, not the task. If the daemon "
        "is "
        "restarted meanwhile, `stoa` waits for it and goes on.\n\n"
        "## Options of every command\n\n";
    std::vector<Row> global;
    for (const Option& option : global_options()) {
        global.emplace_back(option_title(option), option.help);
    }
    text += markdown_table("option", "what it does", global);
    text += "## Exit codes\n\n" + markdown_table("code", "meaning", kExitCodes);
    text += "## Environment\n\n" + markdown_table("variable", "what it says", kVariables);
    for (const Noun& noun : nouns()) {
        text += fmt::format("## {}: {}\n\n", noun.name, noun.summary);
        for (const Verb& verb : verbs()) {
            if (verb.noun == noun.name) add_verb(verb, text);
        }
    }
    text += "## Commands that stand alone\n\n";
    for (const Verb& verb : verbs()) {
        if (verb.noun.empty()) add_verb(verb, text);
    }
    text.pop_back();
    return text;
}

Result<int> run_help(Context& /*context*/, const Invocation& invocation) {
    if (invocation.has("--markdown")) {
        write_text(stdout, markdown());
        return kDone;
    }
    const size_t width = output_width() == 0 ? 80 : std::min(output_width(), kWidthMax);
    const auto& words = invocation.all("COMMAND");
    if (words.empty()) {
        write_text(stdout, program_help(width));
        return kDone;
    }
    const Verb* verb = words.size() > 1 ? find_verb(words[0], words[1]) : find_verb("", words[0]);
    const Noun* noun = find_noun(words[0]);
    if (verb != nullptr) {
        write_text(stdout, verb_help(*verb, width));
    } else if (noun != nullptr && words.size() == 1) {
        write_text(stdout, noun_help(*noun, width));
    } else {
        return Error(
            ErrorCode::invalid_argument,
            fmt::format("there is no command \"{}\": see stoa help", fmt::join(words, " ")));
    }
    return kDone;
}

}  // namespace stoa::cli
