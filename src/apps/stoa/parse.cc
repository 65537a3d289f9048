#include "apps/stoa/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <span>

namespace stoa::cli {

namespace {

Error wrong(std::string text) { return {ErrorCode::invalid_argument, std::move(text)}; }

std::string suggestion(std::string_view word, const std::vector<std::string_view>& known) {
    const std::string_view near = nearest(word, known);
    return near.empty() ? std::string() : fmt::format("; did you mean {}?", near);
}

std::string title_of(const Verb& verb) {
    return verb.noun.empty() ? std::string(verb.name) : fmt::format("{} {}", verb.noun, verb.name);
}

std::string_view short_name(char letter) {
    switch (letter) {
        case 'o': return "--output";
        case 'q': return "--quiet";
        case 'r': return "--remote";
        case 'y': return "--yes";
        case 'f': return "--file";
        case 'h': return "--help";
        default: return {};
    }
}

class Parser {
public:
    explicit Parser(const std::vector<std::string>& words) : words_(words) {}

    Result<Parsed> run() {
        for (; at_ < words_.size(); ++at_) {
            const std::string& word = words_[at_];
            if (word == "--") {
                for (++at_; at_ < words_.size(); ++at_) TRY(take_word(words_[at_]));
                break;
            }
            if (word.starts_with("--")) {
                TRY(take_option(word));
            } else if (word.size() > 1 && word[0] == '-') {
                TRY(take_short(word));
            } else {
                TRY(take_word(word));
            }
        }
        if (wants_version_) parsed_.wish = Wish::version;
        if (wants_help_ || (verb() == nullptr && !wants_version_)) parsed_.wish = Wish::help;
        if (parsed_.wish == Wish::run) TRY(check_arguments());
        return std::move(parsed_);
    }

private:
    [[nodiscard]] const Verb* verb() const { return parsed_.invocation.verb; }

    Result<void> take_word(const std::string& word) {
        if (verb() == nullptr) return take_name(word);
        plain_.push_back(word);
        return {};
    }

    Result<void> take_name(const std::string& word) {
        if (parsed_.noun.empty()) {
            parsed_.invocation.verb = find_verb("", word);
            if (verb() != nullptr) return {};
            if (find_noun(word) != nullptr) {
                parsed_.noun = word;
                return {};
            }
            std::vector<std::string_view> known;
            for (const Noun& noun : nouns()) known.push_back(noun.name);
            for (const Verb& one : verbs()) {
                if (one.noun.empty()) known.push_back(one.name);
            }
            return wrong(
                fmt::format("there is no command \"{}\"{}", word, suggestion(word, known)));
        }
        parsed_.invocation.verb = find_verb(parsed_.noun, word);
        if (verb() != nullptr) return {};
        std::vector<std::string_view> known;
        std::string all;
        for (const Verb& one : verbs()) {
            if (one.noun != parsed_.noun) continue;
            known.push_back(one.name);
            all += fmt::format("{}{}", all.empty() ? "" : ", ", one.name);
        }
        std::string near = suggestion(word, known);
        if (near.empty()) near = fmt::format("; it has {}", all);
        return wrong(fmt::format("\"{}\" has no verb \"{}\"{}", parsed_.noun, word, near));
    }

    [[nodiscard]] const Option* find_option(std::string_view name) const {
        for (const auto& options :
             {std::span<const Option>(verb() != nullptr ? std::span(verb()->options)
                                                        : std::span<const Option>()),
              std::span<const Option>(global_options())}) {
            const auto found = std::ranges::find(options, name, &Option::name);
            if (found != options.end()) return &*found;
        }
        return nullptr;
    }

    Result<void> take_option(const std::string& word) {
        const size_t equals = word.find('=');
        const std::string name = word.substr(0, equals);
        const bool has_value = equals != std::string::npos;
        if (name == "--help" || name == "--version") {
            (name == "--help" ? wants_help_ : wants_version_) = true;
            return {};
        }
        const Option* option = find_option(name);
        if (option == nullptr) {
            std::vector<std::string_view> known;
            for (const Option& one : global_options()) known.push_back(one.name);
            if (verb() != nullptr) {
                for (const Option& one : verb()->options) known.push_back(one.name);
            }
            const std::string where =
                verb() != nullptr ? fmt::format("\"{}\" has", title_of(*verb())) : "there is";
            return wrong(fmt::format("{} no option {}{}", where, name, suggestion(name, known)));
        }
        auto& values = parsed_.invocation.options[option->name];
        if (option->value.empty()) {
            if (has_value) return wrong(fmt::format("option {} takes no value", name));
            values.emplace_back();
            return {};
        }
        if (has_value) {
            values.push_back(word.substr(equals + 1));
            return {};
        }
        if (at_ + 1 == words_.size()) {
            return wrong(fmt::format("option {} needs a value: {}", name, option->value));
        }
        values.push_back(words_[++at_]);
        return {};
    }

    // "-q", "-o json", "-ojson", "-qy".
    Result<void> take_short(const std::string& word) {
        for (size_t i = 1; i < word.size(); ++i) {
            const std::string_view name = short_name(word[i]);
            if (name == "--help") {
                wants_help_ = true;
                continue;
            }
            const Option* option = name.empty() ? nullptr : find_option(name);
            if (option == nullptr) return wrong(fmt::format("there is no option -{}", word[i]));
            auto& values = parsed_.invocation.options[option->name];
            if (option->value.empty()) {
                values.emplace_back();
                continue;
            }
            if (i + 1 < word.size()) values.push_back(word.substr(i + 1));
            else if (at_ + 1 < words_.size()) values.push_back(words_[++at_]);
            else return wrong(fmt::format("option -{} needs a value: {}", word[i], option->value));
            break;
        }
        return {};
    }

    // Plain words to arguments, in their order.
    Result<void> check_arguments() {
        size_t next = 0;
        for (const Argument& argument : verb()->arguments) {
            if (next == plain_.size()) {
                if (argument.is_optional) continue;
                return wrong(fmt::format("\"{}\" needs {}: see stoa {} --help", title_of(*verb()),
                                         argument.name, title_of(*verb())));
            }
            auto& values = parsed_.invocation.arguments[argument.name];
            const size_t count = argument.is_many ? plain_.size() - next : 1;
            for (size_t i = 0; i < count; ++i) values.push_back(plain_[next++]);
        }
        if (next < plain_.size()) {
            return wrong(fmt::format("\"{}\" is one word too many: see stoa {} --help",
                                     plain_[next], title_of(*verb())));
        }
        return {};
    }

    const std::vector<std::string>& words_;
    size_t at_ = 0;
    Parsed parsed_;
    std::vector<std::string> plain_;
    bool wants_help_ = false;
    bool wants_version_ = false;
};

// Levenshtein.
size_t distance(std::string_view a, std::string_view b) {
    std::vector<size_t> row(b.size() + 1);
    std::iota(row.begin(), row.end(), size_t{0});
    for (size_t i = 1; i <= a.size(); ++i) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.size(); ++j) {
            const size_t above = row[j];
            const size_t changed = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            row[j] = std::min({changed, above + 1, row[j - 1] + 1});
            diagonal = above;
        }
    }
    return row.back();
}

}  // namespace

std::string_view nearest(std::string_view word, const std::vector<std::string_view>& known) {
    std::string_view best;
    size_t best_distance = std::min<size_t>(3, 1 + word.size() / 3);
    for (const std::string_view one : known) {
        const size_t far = distance(word, one);
        if (far >= best_distance) continue;
        best = one;
        best_distance = far;
    }
    return best;
}

std::string Invocation::option(std::string_view name) const {
    const auto found = options.find(name);
    return found == options.end() ? std::string() : found->second.back();
}

std::string Invocation::argument(std::string_view name) const {
    const auto found = arguments.find(name);
    return found == arguments.end() ? std::string() : found->second.front();
}

const std::vector<std::string>& Invocation::all(std::string_view argument_name) const {
    static const std::vector<std::string> kNone;
    const auto found = arguments.find(argument_name);
    return found == arguments.end() ? kNone : found->second;
}

Result<Parsed> parse_words(const std::vector<std::string>& words) { return Parser(words).run(); }

}  // namespace stoa::cli
