#include "controlplane/api/kinds.h"

#include <algorithm>

namespace stoa::api {

std::string reference_of(std::string_view path_segment) {
    std::string reference(path_segment);
    std::ranges::replace(reference, '~', '/');
    return reference;
}

std::optional<Target> parse_target(std::string_view text) {
    const size_t slash = text.find('/');
    if (slash == std::string_view::npos) return std::nullopt;
    const Result<Uuid> id = Uuid::parse(text.substr(slash + 1));
    if (!id.ok()) return std::nullopt;
    return Target{.kind = std::string(text.substr(0, slash)), .id = *id};
}

std::optional<Json> record_of(const records::Records& records, const Target& target) {
    std::optional<Json> json;
    with_kind(target.kind, [&]<class Kind>() {
        if (const auto* record = records.get<Kind>(target.id)) json = to_json(*record);
    });
    return json;
}

std::optional<std::string> revision_of(const records::Records& records, const Target& target) {
    std::optional<std::string> revision;
    with_kind(target.kind, [&]<class Kind>() {
        if (const auto* record = records.get<Kind>(target.id)) revision = record->revision;
    });
    return revision;
}

}  // namespace stoa::api
