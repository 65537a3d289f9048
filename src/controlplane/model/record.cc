#include "controlplane/model/record.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/utf8.h"

namespace stoa::model {

namespace {

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }

Result<void> check_label_key(std::string_view key) {
    const auto fits = [](char c) {
        return is_lower(c) || is_upper(c) || is_digit(c) || c == '-' || c == '_' || c == '.';
    };
    const size_t slash = key.find('/');
    const std::string_view domain = slash == std::string_view::npos ? "" : key.substr(0, slash);
    const std::string_view word = slash == std::string_view::npos ? key : key.substr(slash + 1);
    const bool bad_domain =
        slash != std::string_view::npos && (domain.empty() || !std::ranges::all_of(domain, fits));
    if (key.size() > kLabelBytesMax || word.empty() || bad_domain ||
        !std::ranges::all_of(word, fits)) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("label \"{}\": a key is \"word\" or \"domain/word\" of letters, "
                                 "digits, '-', '_' and '.', up to {} bytes",
                                 to_plain_text(key), kLabelBytesMax));
    }
    return {};
}

}  // namespace

Result<void> check_name(std::string_view name) {
    const auto fits = [](char c) { return is_lower(c) || is_digit(c) || c == '-'; };
    if (name.empty() || name.size() > kNameBytesMax || name.front() == '-' || name.back() == '-' ||
        !std::ranges::all_of(name, fits)) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("name \"{}\": must be 1 to {} of a-z, 0-9 and '-', neither "
                                 "beginning nor ending with '-'",
                                 to_plain_text(name), kNameBytesMax));
    }
    // Else it could not be told from an id.
    if (Uuid::parse(name).ok()) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("name \"{}\": must not look like an id", name));
    }
    return {};
}

ScopedName split_name(std::string_view text) {
    const size_t at = text.find_last_of("/~@");
    if (at == std::string_view::npos) return {"", text};
    return {text.substr(0, at), text.substr(at + 1)};
}

Result<void> check_labels(const Labels& labels) {
    if (labels.size() > kLabelsMax) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("{} labels: at most {}", labels.size(), kLabelsMax));
    }
    for (const auto& [key, value] : labels) {
        TRY(check_label_key(key));
        if (value.size() > kLabelBytesMax || to_plain_text(value) != value) {
            return Error(ErrorCode::invalid_argument,
                         fmt::format("label \"{}\": its value must be one line of at most {} "
                                     "bytes of UTF-8",
                                     key, kLabelBytesMax));
        }
    }
    return {};
}

Uuid make_id(int64_t now_ns, uint64_t random_high, uint64_t random_low) {
    Uuid id = Uuid::from_random(random_high, random_low);
    const auto milliseconds = static_cast<uint64_t>(now_ns / 1'000'000);
    for (size_t i = 0; i < 6; ++i) {
        id.bytes[i] = static_cast<std::byte>(milliseconds >> (8 * (5 - i)));
    }
    id.bytes[6] = (id.bytes[6] & std::byte{0x0f}) | std::byte{0x70};
    return id;
}

std::string spec_prefix(std::string_view kind) { return fmt::format("/{}/spec/", kind); }
std::string status_prefix(std::string_view kind) { return fmt::format("/{}/status/", kind); }
std::string spec_key(std::string_view kind, const Uuid& id) {
    return spec_prefix(kind) + id.to_string();
}
std::string status_key(std::string_view kind, const Uuid& id) {
    return status_prefix(kind) + id.to_string();
}
std::string name_key(std::string_view kind, std::string_view name) {
    return fmt::format("/{}/name/{}", kind, name);
}

}  // namespace stoa::model
