// The parts of a transaction (records.h), for each kind.
#include <charconv>

#include <fmt/format.h>

#include "controlplane/records/kinds.h"
#include "controlplane/records/records.h"

namespace stoa::records {

namespace {

template <class Kind>
std::string stored_text(const model::Record<Kind>& record) {
    return to_text(to_json(model::Stored<typename Kind::Spec>{record.name, record.labels,
                                                              record.created_ns, record.spec}));
}

template <class Kind>
std::string name_key_of(const model::Record<Kind>& record) {
    return model::name_key(Kind::kName, model::unique_name<Kind>(record.spec, record.name));
}

}  // namespace

template <class Kind>
void create(state::Txn& txn, const model::Record<Kind>& record) {
    const std::string spec = model::spec_key(Kind::kName, record.id);
    const std::string name = name_key_of(record);
    txn.compares.push_back({spec, std::nullopt});
    txn.compares.push_back({name, std::nullopt});
    txn.puts.push_back({spec, stored_text(record)});
    txn.puts.push_back({name, record.id.to_string()});
    put_status<Kind>(txn, record.id, record.status);
}

template <class Kind>
void replace(state::Txn& txn, const model::Record<Kind>& before, const model::Record<Kind>& after) {
    expect(txn, before);
    txn.puts.push_back({model::spec_key(Kind::kName, before.id), stored_text(after)});
    const std::string old_name = name_key_of(before);
    const std::string new_name = name_key_of(after);
    if (old_name == new_name) return;
    txn.compares.push_back({new_name, std::nullopt});
    txn.puts.push_back({new_name, before.id.to_string()});
    txn.deletes.push_back(old_name);
}

template <class Kind>
void put_status(state::Txn& txn, const Uuid& id, const typename Kind::Status& status) {
    txn.puts.push_back({model::status_key(Kind::kName, id), to_text(to_json(status))});
}

template <class Kind>
void erase(state::Txn& txn, const model::Record<Kind>& record) {
    expect(txn, record);
    txn.deletes.push_back(model::spec_key(Kind::kName, record.id));
    txn.deletes.push_back(model::status_key(Kind::kName, record.id));
    txn.deletes.push_back(name_key_of(record));
}

template <class Kind>
void expect(state::Txn& txn, const model::Record<Kind>& record) {
    txn.compares.push_back(
        {model::spec_key(Kind::kName, record.id), parse_revision(record.revision)});
}

// The last 8 digits are random in every version of UUID that an epoch may have.
std::string revision_text(const Uuid& epoch, state::Revision revision) {
    return fmt::format("{}.{}", epoch.to_string().substr(28), revision.number);
}

state::Revision parse_revision(std::string_view text) {
    const size_t dot = text.find('.');
    int64_t number = -1;
    if (dot == std::string_view::npos) return {number};
    const char* const end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data() + dot + 1, end, number);
    if (error != std::errc() || stop != end) return {-1};
    return {number};
}

#define STOA_CHANGES_OF(Kind)                                                      \
    template void create<Kind>(state::Txn&, const model::Record<Kind>&);           \
    template void replace<Kind>(state::Txn&, const model::Record<Kind>&,           \
                                const model::Record<Kind>&);                       \
    template void put_status<Kind>(state::Txn&, const Uuid&, const Kind::Status&); \
    template void erase<Kind>(state::Txn&, const model::Record<Kind>&);            \
    template void expect<Kind>(state::Txn&, const model::Record<Kind>&);
STOA_EACH_KIND(STOA_CHANGES_OF)
#undef STOA_CHANGES_OF

}  // namespace stoa::records
