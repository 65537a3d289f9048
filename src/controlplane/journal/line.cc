#include "controlplane/journal/line.h"

#include <algorithm>
#include <charconv>
#include <span>

#include <fmt/format.h>

#include "base/crc32c.h"
#include "base/utf8.h"

namespace stoa::journal {

namespace {

constexpr size_t kChecksumDigits = 8;

struct Rest {
    std::string text;
    std::string principal;
    Json data;
    static constexpr auto fields() {
        return std::tuple(required("text", &Rest::text, ""),
                          optional("principal", &Rest::principal, ""),
                          optional("data", &Rest::data, ""));
    }
};

uint32_t checksum(std::string_view text) {
    return crc32c(std::as_bytes(std::span(text.data(), text.size())));
}

std::string_view take_word(std::string_view& from) {
    const size_t space = from.find(' ');
    if (space == std::string_view::npos) return {};
    const std::string_view word = from.substr(0, space);
    from.remove_prefix(space + 1);
    return word;
}

template <class T>
bool take_number(std::string_view& from, T& into, int base = 10) {
    const std::string_view word = take_word(from);
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), into, base);
    return !word.empty() && error == std::errc() && end == word.data() + word.size();
}

bool take_kind(std::string_view& from, Kind& into) {
    const std::string_view word = take_word(from);
    const auto names = enum_names(Kind{});
    for (size_t i = 0; i < names.size(); ++i) {
        if (names.at(i) != word) continue;
        into = static_cast<Kind>(i);
        return true;
    }
    return false;
}

// Deep values could be written, but not read again behind the levels around them.
constexpr size_t kDataDepthMax = kJsonDepthMax - 4;

bool is_deep(const Json& value, size_t left) {
    if (!value.is_object() && !value.is_array()) return false;
    if (left == 0) return true;
    if (const JsonArray* array = value.if_array()) {
        return std::ranges::any_of(*array,
                                   [left](const Json& each) { return is_deep(each, left - 1); });
    }
    return std::ranges::any_of(
        value.get_object(), [left](const auto& each) { return is_deep(each.value(), left - 1); });
}

std::string cut(const std::string& text, size_t bytes_max) {
    return std::string(utf8_prefix(to_utf8(text), bytes_max));
}

}  // namespace

void trim(Entry& entry) {
    entry.subject.resize(std::min(entry.subject.size(), kSubjectBytesMax));
    for (char& c : entry.subject) {
        if (c <= ' ' || c > '~') c = '_';
    }
    if (entry.subject == "-") entry.subject = "_";
    entry.text = cut(entry.text, kTextBytesMax);
    entry.principal = cut(entry.principal, kSubjectBytesMax);
    if (entry.data.is_null()) return;
    const bool deep = is_deep(entry.data, kDataDepthMax);
    const size_t bytes = deep ? 0 : to_text(entry.data).size();
    if (deep || bytes > kDataBytesMax) entry.data = JsonObject{{"left_out_bytes", bytes}};
}

std::string to_line(const Entry& entry) {
    JsonObject rest{{"text", entry.text}};
    if (!entry.principal.empty()) rest["principal"] = entry.principal;
    if (!entry.data.is_null()) rest["data"] = entry.data;
    const std::string line =
        fmt::format("{} {} {} {} {}", entry.sequence, entry.time_ns,
                    enum_names(entry.kind).at(static_cast<size_t>(entry.kind)),
                    entry.subject.empty() ? "-" : entry.subject, to_text(rest));
    return fmt::format("{:08x} {}\n", checksum(line), line);
}

std::optional<LineHead> read_head(std::string_view line) {
    LineHead head;
    uint32_t expected = 0;
    if (line.size() <= kChecksumDigits || line[kChecksumDigits] != ' ' ||
        !take_number(line, expected, 16) || checksum(line) != expected) {
        return std::nullopt;
    }
    if (!take_number(line, head.sequence) || !take_number(line, head.time_ns) ||
        !take_kind(line, head.kind)) {
        return std::nullopt;
    }
    head.subject = take_word(line);
    if (head.subject.empty()) return std::nullopt;
    if (head.subject == "-") head.subject = {};
    head.rest = line;
    return head;
}

std::optional<Entry> read_line(std::string_view line) {
    const std::optional<LineHead> head = read_head(line);
    if (!head) return std::nullopt;
    const Result<Json> json = parse_json(head->rest);
    Rest rest;
    if (!json.ok() || !from_json(*json, rest).ok()) return std::nullopt;
    return Entry{head->sequence,       head->time_ns,
                 head->kind,           std::string(head->subject),
                 std::move(rest.text), std::move(rest.principal),
                 std::move(rest.data)};
}

}  // namespace stoa::journal
