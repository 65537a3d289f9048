// `stoa completion`: scripts for shells, and what they ask for at each Tab. What can be said comes
// from the table of verbs, names from the daemon.
#include <algorithm>
#include <span>

#include "apps/stoa/commands.h"
#include "apps/stoa/remotes.h"

namespace stoa::cli {

namespace {

constexpr std::string_view kBash = R"(# bash completion of stoa: source <(stoa completion bash)
_stoa() {
    local line
    COMPREPLY=()
    while IFS= read -r line; do
        COMPREPLY+=("$line")
    done < <("${COMP_WORDS[0]}" completion words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -o default -F _stoa stoa
)";

constexpr std::string_view kZsh = R"(#compdef stoa
# zsh completion of stoa: source <(stoa completion zsh)
_stoa() {
    local -a found
    found=("${(@f)$("${words[1]}" completion words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then compadd -a found; else _files; fi
}
compdef _stoa stoa
)";

constexpr std::string_view kFish = R"(# fish completion of stoa: stoa completion fish | source
function __stoa_words
    set -l typed (commandline -opc) (commandline -ct)
    $typed[1] completion words -- $typed[2..-1] 2>/dev/null
end
complete -c stoa -a '(__stoa_words)'
)";

// Names that the daemon knows, quickly or not at all.
std::vector<std::string> names_of(Context& context, std::string_view noun_name) {
    std::vector<std::string> names;
    if (noun_name == "remote") {
        const auto remotes = load_remotes();
        if (!remotes.ok()) return names;
        for (const Remote& remote : remotes->remotes) names.push_back(remote.name);
        return names;
    }
    const Noun* noun = find_noun(noun_name);
    if (noun == nullptr) return names;
    for (const Json& record : context.records(noun->plural)) {
        names.push_back(context.full_name(noun->name, record));
    }
    return names;
}

const Option* option_named(const Verb* verb, std::string_view name) {
    const auto in = [&](const std::vector<Option>& options) -> const Option* {
        const auto found = std::ranges::find(options, name, &Option::name);
        return found == options.end() ? nullptr : &*found;
    };
    const Option* own = verb == nullptr ? nullptr : in(verb->options);
    return own != nullptr ? own : in(global_options());
}

std::vector<std::string> values_of(Context& context, const Option& option) {
    if (!option.noun.empty()) return names_of(context, option.noun);
    if (option.name == "--output") return {"table", "json", "yaml"};
    std::vector<std::string> values;
    std::string_view rest = option.value;
    if (rest.find('|') == std::string_view::npos || rest.find('[') == 0) return values;
    while (true) {
        const size_t end = rest.find('|');
        values.emplace_back(rest.substr(0, end));
        if (end == std::string_view::npos) return values;
        rest.remove_prefix(end + 1);
    }
}

// What was typed before the word that is completed.
struct Typed {
    const Noun* noun = nullptr;
    const Verb* verb = nullptr;
    size_t arguments = 0;
    const Option* open = nullptr;  // waits for its value
};

Typed walk(std::span<const std::string> words) {
    Typed typed;
    for (const std::string& word : words) {
        if (typed.open != nullptr) {
            typed.open = nullptr;
        } else if (word.starts_with("-")) {
            const std::string name = word == "-r" ? "--remote" : word == "-o" ? "--output" : word;
            const Option* option = option_named(typed.verb, name);
            if (option != nullptr && !option->value.empty()) typed.open = option;
        } else if (typed.verb != nullptr) {
            ++typed.arguments;
        } else if (typed.noun != nullptr) {
            typed.verb = find_verb(typed.noun->name, word);
        } else {
            typed.verb = find_verb("", word);
            typed.noun = find_noun(word);
        }
    }
    return typed;
}

std::vector<std::string> candidates(Context& context, const Typed& typed, bool wants_option) {
    std::vector<std::string> all;
    if (typed.open != nullptr) return values_of(context, *typed.open);
    if (wants_option) {
        if (typed.verb != nullptr) {
            for (const Option& option : typed.verb->options) all.emplace_back(option.name);
        }
        for (const Option& option : global_options()) all.emplace_back(option.name);
    } else if (typed.verb != nullptr) {
        const auto& arguments = typed.verb->arguments;
        if (typed.verb->name == "why" && typed.arguments == 0) {
            for (const Noun& noun : nouns()) all.emplace_back(noun.name);
        }
        if (arguments.empty()) return all;
        const bool is_last = typed.arguments >= arguments.size();
        if (is_last && !arguments.back().is_many) return all;
        const Argument& argument = is_last ? arguments.back() : arguments[typed.arguments];
        if (!argument.noun.empty()) return names_of(context, argument.noun);
    } else {
        for (const Verb& verb : verbs()) {
            const bool fits =
                typed.noun == nullptr ? verb.noun.empty() : verb.noun == typed.noun->name;
            if (fits) all.emplace_back(verb.name);
        }
        if (typed.noun == nullptr) {
            for (const Noun& noun : nouns()) all.emplace_back(noun.name);
        }
    }
    return all;
}

}  // namespace

Result<int> run_completion(Context& context, const Invocation& invocation) {
    const std::string shell = invocation.argument("SHELL");
    if (shell == "bash") write_text(stdout, kBash);
    else if (shell == "zsh") write_text(stdout, kZsh);
    else if (shell == "fish") write_text(stdout, kFish);
    else if (shell != "words") {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("\"{}\" is none of bash, zsh, fish", shell));
    }
    if (shell != "words") return kDone;
    const auto& words = invocation.all("WORD");
    const std::string last = words.empty() ? "" : words.back();
    const Typed typed = walk(std::span(words).first(words.empty() ? 0 : words.size() - 1));
    std::vector<std::string> all = candidates(context, typed, last.starts_with("-"));
    std::ranges::sort(all);
    for (const std::string& word : all) {
        if (word.starts_with(last)) print("{}\n", word);
    }
    return kDone;
}

}  // namespace stoa::cli
