#include "apps/stoa/yaml.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <string_view>

#include "base/utf8.h"

namespace stoa::cli {

namespace {

// What YAML 1.1 or 1.2 readers take for something else than text.
constexpr std::array<std::string_view, 15> kWords{"null", "~",    "true",  "false", "yes",
                                                  "no",   "on",   "off",   "y",     "n",
                                                  ".inf", ".nan", "-.inf", "<<",    "="};

bool is_plain(std::string_view text) {
    if (text.empty()) return false;
    std::string lower(text);
    std::ranges::transform(lower, lower.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    if (std::ranges::find(kWords, lower) != kWords.end()) return false;
    const auto first = static_cast<unsigned char>(text[0]);
    // A number, a date, or an indicator; "/" and "_" begin neither.
    if (std::isalpha(first) == 0 && first != '/' && first != '_') return false;
    const auto is_safe = [](unsigned char c) {
        return std::isalnum(c) != 0 ||
               std::string_view(" _-./@+,()=").contains(static_cast<char>(c));
    };
    return std::ranges::all_of(text, is_safe) && !text.ends_with(' ');
}

std::string scalar(const Json& value) {
    // YAML 1.1 readers take "8.125E2" for text.
    if (value.is_double()) return fmt::format("{}", value.get_double());
    if (!value.is_string()) return to_text(value);
    const std::string_view text = value.get_string();
    if (is_plain(text)) return std::string(text);
    // A JSON string is a YAML one, once what YAML does not allow to be printed is escaped; that
    // concerns U+007F to U+009F, which JSON leaves as they are.
    const std::string quoted = to_text(value);
    std::string escaped;
    for (size_t at = 0; at < quoted.size(); ++at) {
        const unsigned byte = static_cast<unsigned char>(quoted[at]);
        const unsigned next =
            at + 1 < quoted.size() ? static_cast<unsigned char>(quoted[at + 1]) : 0U;
        static constexpr std::string_view kDigits = "0123456789ABCDEF";
        if (byte == 0x7F) {
            escaped += "\\x7F";
        } else if (byte == 0xC2 && next < 0xA0) {
            escaped += "\\x";
            escaped += kDigits[next >> 4U];
            escaped += kDigits[next & 15U];
            ++at;
        } else {
            escaped += static_cast<char>(byte);
        }
    }
    return escaped;
}

bool is_block(const Json& value) {
    if (const JsonObject* object = value.if_object()) return !object->empty();
    if (const JsonArray* array = value.if_array()) return !array->empty();
    return false;
}

// Lines of a block; the first one without indentation if `continues` one.
void write(const Json& value, size_t indent, bool continues, std::string& into) {
    bool is_first = continues;
    const auto begin_line = [&] {
        if (!is_first) into.append(indent, ' ');
        is_first = false;
    };
    if (const JsonObject* object = value.if_object(); object != nullptr && !object->empty()) {
        for (const auto& member : *object) {
            begin_line();
            into += scalar(Json(member.key()));
            into += ':';
            if (is_block(member.value())) {
                into += '\n';
                write(member.value(), indent + 2, false, into);
            } else {
                into += ' ' + scalar(member.value()) + '\n';
            }
        }
        return;
    }
    if (const JsonArray* array = value.if_array(); array != nullptr && !array->empty()) {
        for (const Json& item : *array) {
            begin_line();
            into += "- ";
            if (is_block(item)) write(item, indent + 2, true, into);
            else into += scalar(item) + '\n';
        }
        return;
    }
    begin_line();
    into += scalar(value) + '\n';
}

}  // namespace

std::string to_yaml(const Json& value) {
    std::string text;
    write(value, 0, false, text);
    return text;
}

}  // namespace stoa::cli
