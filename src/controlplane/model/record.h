// A record: one managed thing. What is wanted (spec) and what is (status) are kept apart: the API
// writes specs, guarded by their revision; the host that owns the thing writes its status.
//
// Keys in the store (docs/format/state.md):
//     /KIND/spec/ID      {"name", "labels", "created_ns", "spec"}
//     /KIND/status/ID    the status
//     /KIND/name/NAME    ID: one thing a name; changed in the transaction that changes the name
//
// A name is one of its kind, but for kinds with a scope: a volume's is unique in its pool, a
// snapshot's in the VM or (of no VM) the first volume it is of. Their NAME is "SCOPE-ID/NAME", and
// people write POOL/VOLUME, VM/SNAPSHOT and POOL/VOLUME/SNAPSHOT; instead of each '/' a '~' (in the
// paths of the API) or '@' will do.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <tuple>

#include "base/describe.h"
#include "base/result.h"
#include "base/uuid.h"

namespace stoa::model {

using Labels = std::map<std::string, std::string>;

constexpr size_t kNameBytesMax = 63;
constexpr size_t kLabelsMax = 64;
constexpr size_t kLabelBytesMax = 253;

// A name is a DNS label: a-z, 0-9 and '-', not at its ends, up to 63. Errors: invalid_argument.
[[nodiscard]] Result<void> check_name(std::string_view name);
// Of what a kind with scopes is asked for by.
struct ScopedName {
    std::string_view scope;  // empty: none was given
    std::string_view name;
};
// At the last '/', '~' or '@'.
[[nodiscard]] ScopedName split_name(std::string_view text);

// "key" or "domain/key": letters, digits, '-', '_', '.'. Values are printable UTF-8 of one line.
[[nodiscard]] Result<void> check_labels(const Labels& labels);

// UUIDv7 (RFC 9562, 5.7): in the order of their making. Times in ns since 1970.
[[nodiscard]] Uuid make_id(int64_t now_ns, uint64_t random_high, uint64_t random_low);

// What stands under /KIND/spec/ID.
template <class Spec>
struct Stored {
    std::string name;
    Labels labels;
    int64_t created_ns = 0;
    Spec spec;
    static constexpr auto fields() {
        return std::tuple(
            required("name", &Stored::name, ""), optional("labels", &Stored::labels, ""),
            required("created_ns", &Stored::created_ns, ""), required("spec", &Stored::spec, ""));
    }
};

// What the API shows.
template <class Kind>
struct Record {
    using Spec = typename Kind::Spec;
    using Status = typename Kind::Status;

    std::string kind{Kind::kName};
    Uuid id;
    std::string name;
    Labels labels;
    int64_t created_ns = 0;
    std::string revision;  // opaque; of the spec
    Spec spec;
    Status status;
    static constexpr auto fields() {
        return std::tuple(
            required("kind", &Record::kind, ""), required("id", &Record::id, "UUIDv7"),
            required("name", &Record::name, "a DNS label, one of its kind (and scope)"),
            required("labels", &Record::labels, "for filters"),
            required("created_ns", &Record::created_ns, "ns since 1970"),
            required("revision", &Record::revision, "for If-Match; changes with the spec"),
            required("spec", &Record::spec, "what is wanted"),
            required("status", &Record::status, "what is"));
    }
};

// A kind whose names are unique only within something else, whose id scope() gives.
template <class Kind>
concept Scoped = requires(const typename Kind::Spec& spec) { Kind::scope(spec); };

// "NAME" or "SCOPE-ID/NAME".
template <class Kind>
[[nodiscard]] std::string unique_name(const typename Kind::Spec& spec, std::string_view name) {
    if constexpr (Scoped<Kind>) {
        return Kind::scope(spec).to_string() + '/' + std::string(name);
    } else {
        return std::string(name);
    }
}

[[nodiscard]] std::string spec_prefix(std::string_view kind);  // "/vm/spec/"
[[nodiscard]] std::string status_prefix(std::string_view kind);  // "/vm/status/"
[[nodiscard]] std::string spec_key(std::string_view kind, const Uuid& id);
[[nodiscard]] std::string status_key(std::string_view kind, const Uuid& id);
// `name` is a unique_name().
[[nodiscard]] std::string name_key(std::string_view kind, std::string_view name);

}  // namespace stoa::model
