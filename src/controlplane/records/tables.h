// Tables: what Records holds, and how the store's keys become it. Knows no store and never waits.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "controlplane/records/records.h"

namespace stoa::records {

// A record that is not whole: its spec or status is damaged, or it has a status alone.
template <class Kind>
struct Hidden {
    model::Record<Kind> record;
    bool has_spec = false;
    bool spec_damaged = false;
    bool status_damaged = false;
};

template <class Kind>
struct KindTables {
    Table<Kind> records;
    std::map<Uuid, Hidden<Kind>> hidden;
    std::unordered_map<std::string, Uuid> names;  // by unique_name()
};

template <class All>
struct TablesOf;
template <class... Kind>
struct TablesOf<std::tuple<Kind...>> {
    using type = std::tuple<KindTables<Kind>...>;
};

enum class Part : uint8_t { spec, status, name };

// "/KIND/PART/REST".
struct KeyParts {
    std::string_view kind;
    Part part = Part::spec;
    std::string_view rest;
};
[[nodiscard]] std::optional<KeyParts> split_key(std::string_view key);

class Tables {
public:
    explicit Tables(const Uuid& epoch) : epoch_(epoch) {}

    // A key got a value (nullptr: was deleted) in the transaction of that revision. What is of no
    // kind is passed over.
    void apply(std::string_view key, const std::string* value, state::Revision revision);

    template <class Kind>
    [[nodiscard]] const KindTables<Kind>& of() const {
        return std::get<KindTables<Kind>>(kinds_);
    }
    [[nodiscard]] const std::map<std::string, std::string, std::less<>>& damaged() const {
        return damaged_;
    }
    // Keys of statuses without a record.
    [[nodiscard]] std::vector<std::string> orphans() const;

    [[nodiscard]] const std::deque<Changed>& changes() const { return changes_; }
    // Changes after this revision are all in changes().
    [[nodiscard]] state::Revision changes_from() const { return changes_from_; }
    void forget_changes(state::Revision now);

private:
    template <class Kind>
    void apply_to(KindTables<Kind>& tables, std::string_view key, const KeyParts& parts,
                  const std::string* value, state::Revision revision);
    template <class Kind>
    void apply_name(KindTables<Kind>& tables, std::string_view key, const KeyParts& parts,
                    const std::string* value);
    template <class Kind>
    Result<void> read_spec(Hidden<Kind>& slot, const std::string& value,
                           state::Revision revision) const;
    void set_damage(std::string_view key, const Result<void>& read);
    void note(Changed change);

    Uuid epoch_;
    TablesOf<Kinds>::type kinds_;
    std::map<std::string, std::string, std::less<>> damaged_;
    std::deque<Changed> changes_;
    state::Revision changes_from_;
};

}  // namespace stoa::records
