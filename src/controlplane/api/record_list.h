// One page of the records of a kind: filters, and a place in their order that stays valid whatever
// is made and removed meanwhile. The order is that of their ids, which is that of their making.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/describe.h"
#include "controlplane/http/route.h"
#include "controlplane/records/records.h"

namespace stoa::api {

struct ListWanted {
    size_t limit = 100;
    std::optional<Uuid> after;
    bool newest_first = false;
    std::string name;   // its beginning
    std::string state;  // a word
    // Key, and the value if one is asked for.
    std::vector<std::pair<std::string, std::optional<std::string>>> labels;

    [[nodiscard]] bool is_filtered() const {
        return !name.empty() || !state.empty() || !labels.empty();
    }
};

// The parameters of the query, for the table.
[[nodiscard]] std::vector<http::Parameter> list_parameters();
// Errors: invalid_argument.
[[nodiscard]] Result<ListWanted> list_wanted(const http::Request& request);
// {"items", "next", "total"}.
[[nodiscard]] Json list_answer(JsonArray items, const std::optional<Uuid>& next, size_t total);
[[nodiscard]] Json list_schema(Json item);
// Of entries of the journal, which are not counted.
[[nodiscard]] Json entries_schema();

// "running"; empty if the kind has no states.
template <class Kind>
std::string state_of(const model::Record<Kind>& record) {
    if constexpr (requires { enum_names(record.status.state); }) {
        return std::string(
            enum_names(record.status.state).at(static_cast<size_t>(record.status.state)));
    } else if constexpr (requires { record.status.is_up; }) {
        return record.status.is_up ? "up" : "down";
    } else {
        return {};
    }
}

template <class Kind>
bool fits(const records::Records& records, const model::Record<Kind>& record,
          const ListWanted& wanted) {
    const auto has_label = [&](const auto& label) {
        const auto found = record.labels.find(label.first);
        return found != record.labels.end() && (!label.second || found->second == *label.second);
    };
    if (!std::ranges::all_of(wanted.labels, has_label)) return false;
    if (!wanted.state.empty() && state_of(record) != wanted.state) return false;
    if (wanted.name.empty()) return true;
    if (wanted.name.find('/') == std::string::npos) return record.name.starts_with(wanted.name);
    return records.full_name(record).starts_with(wanted.name);
}

// The record as the API shows it; `live`: as in Context, or none.
template <class Kind>
Json shown(const model::Record<Kind>& record, const std::function<Json(const Uuid&)>& live) {
    Json json = to_json(record);
    if (!live) return json;
    Json now = live(record.id);
    if (!now.is_null()) json.as_object()["live"] = std::move(now);
    return json;
}

// `may_see`: none if all may be seen.
template <class Kind>
Json list_records(const records::Records& records, const ListWanted& wanted,
                  const std::function<bool(const Uuid&)>& may_see,
                  const std::function<Json(const Uuid&)>& live) {
    const auto& table = records.all<Kind>();
    const bool is_plain = !wanted.is_filtered() && !may_see;
    JsonArray items;
    std::optional<Uuid> last;
    bool more = false;
    size_t total = is_plain ? table.size() : 0;
    // False: nothing more is to be learnt.
    const auto take = [&](const model::Record<Kind>& record) {
        if (!is_plain) {
            if (!fits(records, record, wanted) || (may_see && !may_see(record.id))) return true;
            ++total;
        }
        const bool is_before = wanted.after && (wanted.newest_first ? record.id >= *wanted.after
                                                                    : record.id <= *wanted.after);
        if (is_before) return true;
        if (items.size() == wanted.limit) {
            more = true;
            return !is_plain;
        }
        last = record.id;
        items.push_back(shown(record, live));
        return true;
    };
    if (wanted.newest_first) {
        auto at = is_plain && wanted.after
                      ? std::make_reverse_iterator(table.lower_bound(*wanted.after))
                      : table.rbegin();
        while (at != table.rend() && take(at->second)) ++at;
    } else {
        auto at = is_plain && wanted.after ? table.upper_bound(*wanted.after) : table.begin();
        while (at != table.end() && take(at->second)) ++at;
    }
    if (!more) last.reset();
    return list_answer(std::move(items), last, total);
}

}  // namespace stoa::api
