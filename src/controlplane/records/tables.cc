#include "controlplane/records/tables.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

namespace stoa::records {

namespace {

template <class T>
Result<void> read_json(std::string_view text, T& into) {
    TRY_ASSIGN(const Json json, parse_json(text));
    return from_json(json, into);
}

}  // namespace

std::optional<KeyParts> split_key(std::string_view key) {
    if (key.empty() || key.front() != '/') return std::nullopt;
    key.remove_prefix(1);
    const size_t first = key.find('/');
    if (first == std::string_view::npos) return std::nullopt;
    const std::string_view after = key.substr(first + 1);
    const size_t second = after.find('/');
    if (second == std::string_view::npos) return std::nullopt;
    KeyParts parts{key.substr(0, first), Part::spec, after.substr(second + 1)};
    const std::string_view word = after.substr(0, second);
    if (word == "status") parts.part = Part::status;
    else if (word == "name") parts.part = Part::name;
    else if (word != "spec") return std::nullopt;
    return parts;
}

void Tables::apply(std::string_view key, const std::string* value, state::Revision revision) {
    const std::optional<KeyParts> parts = split_key(key);
    if (!parts) return;
    const auto take = [&]<class Kind>(KindTables<Kind>& tables) {
        if (parts->kind != Kind::kName) return false;
        apply_to(tables, key, *parts, value, revision);
        return true;
    };
    std::apply([&](auto&... tables) { static_cast<void>((take(tables) || ...)); }, kinds_);
}

void Tables::set_damage(std::string_view key, const Result<void>& read) {
    if (read.ok()) {
        const auto at = damaged_.find(key);
        if (at != damaged_.end()) damaged_.erase(at);
        return;
    }
    damaged_[std::string(key)] = fmt::format("{}: {}", key, read.error().message());
}

template <class Kind>
void Tables::apply_name(KindTables<Kind>& tables, std::string_view key, const KeyParts& parts,
                        const std::string* value) {
    if (value == nullptr) {
        tables.names.erase(std::string(parts.rest));
        return set_damage(key, {});
    }
    const Result<Uuid> id = Uuid::parse(*value);
    set_damage(key, id.ok() ? Result<void>() : Result<void>(id.error()));
    tables.names[std::string(parts.rest)] = id.ok() ? *id : Uuid{};
}

template <class Kind>
Result<void> Tables::read_spec(Hidden<Kind>& slot, const std::string& value,
                               state::Revision revision) const {
    model::Stored<typename Kind::Spec> stored;
    TRY(read_json(value, stored));
    slot.record.name = std::move(stored.name);
    slot.record.labels = std::move(stored.labels);
    slot.record.created_ns = stored.created_ns;
    slot.record.spec = std::move(stored.spec);
    slot.record.revision = revision_text(epoch_, revision);
    return {};
}

template <class Kind>
void Tables::apply_to(KindTables<Kind>& tables, std::string_view key, const KeyParts& parts,
                      const std::string* value, state::Revision revision) {
    if (parts.part == Part::name) return apply_name(tables, key, parts, value);
    const Result<Uuid> id = Uuid::parse(parts.rest);
    if (!id.ok()) {
        return set_damage(key, value == nullptr ? Result<void>() : Result<void>(id.error()));
    }
    Hidden<Kind> slot;
    slot.record.id = *id;
    if (auto whole = tables.records.extract(*id)) {
        slot.record = std::move(whole.mapped());
        slot.has_spec = true;
    } else if (auto hidden = tables.hidden.extract(*id)) {
        slot = std::move(hidden.mapped());
    }
    Result<void> read;
    if (parts.part == Part::spec) {
        slot.has_spec = value != nullptr;
        if (value != nullptr) read = read_spec(slot, *value, revision);
        slot.spec_damaged = !read.ok();
    } else {
        typename Kind::Status status;
        if (value != nullptr) read = read_json(*value, status);
        if (read.ok()) slot.record.status = std::move(status);
        slot.status_damaged = !read.ok();
    }
    set_damage(key, read);
    const bool is_erased = parts.part == Part::spec && value == nullptr;
    const ChangeOf what = is_erased                  ? ChangeOf::erased
                          : parts.part == Part::spec ? ChangeOf::spec
                                                     : ChangeOf::status;
    if (slot.has_spec || is_erased) note({revision, Kind::kName, *id, what});
    const bool is_nothing = !slot.has_spec && parts.part == Part::status && value == nullptr;
    if (is_nothing) return;
    if (slot.has_spec && !slot.spec_damaged && !slot.status_damaged) {
        tables.records.emplace(*id, std::move(slot.record));
    } else {
        tables.hidden.emplace(*id, std::move(slot));
    }
}

void Tables::note(Changed change) {
    // One transaction often has both parts of a record: creation is told as one change of its spec.
    if (!changes_.empty()) {
        const Changed& last = changes_.back();
        const bool same = last.revision == change.revision && last.id == change.id;
        if (same && change.what == ChangeOf::status) return;
    }
    changes_.push_back(change);
    if (changes_.size() <= kChangesKept) return;
    // A transaction is kept whole or not at all.
    changes_from_ = changes_.front().revision;
    while (!changes_.empty() && changes_.front().revision == changes_from_) changes_.pop_front();
}

void Tables::forget_changes(state::Revision now) {
    changes_.clear();
    changes_from_ = now;
}

std::vector<std::string> Tables::orphans() const {
    std::vector<std::string> keys;
    const auto look = [&keys]<class Kind>(const KindTables<Kind>& tables) {
        for (const auto& [id, hidden] : tables.hidden) {
            if (!hidden.has_spec) keys.push_back(model::status_key(Kind::kName, id));
        }
    };
    std::apply([&](const auto&... tables) { (look(tables), ...); }, kinds_);
    return keys;
}

}  // namespace stoa::records
