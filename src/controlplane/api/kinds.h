// The kinds of records by their names: "vm" and its collection "vms".
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/describe.h"
#include "controlplane/records/records.h"

namespace stoa::api {

// Calls `visit.template operator()<Kind>()` for the kind of this name. False: there is none.
template <class Visit>
bool with_kind(std::string_view name, const Visit& visit) {
    return [&]<class... Kinds>(std::type_identity<std::tuple<Kinds...>>) {
        return ((Kinds::kName == name ? (visit.template operator()<Kinds>(), true) : false) || ...);
    }(std::type_identity<records::Kinds>());
}

// Calls it for each kind.
template <class Visit>
void for_each_kind(const Visit& visit) {
    [&]<class... Kinds>(std::type_identity<std::tuple<Kinds...>>) {
        (visit.template operator()<Kinds>(), ...);
    }(std::type_identity<records::Kinds>());
}

template <class Kind>
std::string collection_of() {
    return std::string(Kind::kName) + "s";
}

// How a path names a record: an id, a name, or parts of one with '~' for '/'.
[[nodiscard]] std::string reference_of(std::string_view path_segment);

// "KIND/ID", as targets, locks and subjects are written.
struct Target {
    std::string kind;
    Uuid id;
};
[[nodiscard]] std::optional<Target> parse_target(std::string_view text);
// The record as the API shows it; nothing if there is none (any more).
[[nodiscard]] std::optional<Json> record_of(const records::Records& records, const Target& target);
[[nodiscard]] std::optional<std::string> revision_of(const records::Records& records,
                                                     const Target& target);

}  // namespace stoa::api
