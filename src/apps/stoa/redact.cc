#include "apps/stoa/redact.h"

#include <algorithm>
#include <array>
#include <cctype>

namespace stoa::cli {

namespace {

constexpr std::string_view kRemoved = "(removed)";
constexpr std::array<std::string_view, 8> kSecretWords{"password",   "passwd",   "passphrase",
                                                       "secret",     "token",    "private_key",
                                                       "credential", "user_data"};

std::string lower(std::string_view text) {
    std::string small(text);
    std::ranges::transform(small, small.begin(),
                           [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return small;
}

bool is_secret(std::string_view name) {
    const std::string small = lower(name);
    // "has_password" and "password_ns" tell about one.
    if (small.starts_with("has_") || small.ends_with("_ns")) return false;
    return std::ranges::any_of(
        kSecretWords, [&](std::string_view word) { return small.find(word) != std::string::npos; });
}

bool is_word(char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.';
}

}  // namespace

// "some.password=abc def" becomes "some.password=(removed) def"; so does "Bearer abc".
std::string redacted_text(std::string_view text) {
    std::string result;
    size_t at = 0;
    while (at < text.size()) {
        size_t end = at;
        while (end < text.size() && is_word(text[end])) ++end;
        const std::string_view word = text.substr(at, end - at);
        result += word;
        at = end;
        const bool is_pair = at < text.size() && (text[at] == '=' || text[at] == ':');
        const bool is_bearer = lower(word) == "bearer" && at < text.size() && text[at] == ' ';
        if ((is_pair && is_secret(word)) || is_bearer) {
            result += text[at++];
            while (at < text.size() && text[at] == ' ') result += text[at++];
            const bool is_quoted = at < text.size() && (text[at] == '"' || text[at] == '\'');
            const char quote = is_quoted ? text[at++] : ' ';
            const size_t stop = std::min(text.find(quote, at), text.size());
            result += kRemoved;
            at = is_quoted ? std::min(stop + 1, text.size()) : stop;
        } else if (at < text.size()) {
            result += text[at++];
        }
    }
    return result;
}

Json redacted(const Json& value) {
    if (const JsonObject* object = value.if_object()) {
        JsonObject result;
        for (const auto& member : *object) {
            const bool is_value = member.value().is_string() || member.value().is_object() ||
                                  member.value().is_array();
            result[member.key()] =
                is_value && is_secret(member.key()) ? Json(kRemoved) : redacted(member.value());
        }
        return result;
    }
    if (const JsonArray* array = value.if_array()) {
        JsonArray result;
        for (const Json& item : *array) result.push_back(redacted(item));
        return result;
    }
    if (value.is_string()) return Json(redacted_text(value.get_string()));
    return value;
}

}  // namespace stoa::cli
