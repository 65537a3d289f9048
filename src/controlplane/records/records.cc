#include "controlplane/records/records.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/utf8.h"
#include "controlplane/async/scope.h"
#include "controlplane/records/kinds.h"
#include "controlplane/records/tables.h"

namespace stoa::records {

namespace {

// Before a store that failed is asked again.
constexpr std::chrono::milliseconds kAgainAfter{500};

Error closing_error() { return {ErrorCode::cancelled, "the records are being closed"}; }

// How many orphans go in one transaction.
constexpr size_t kSweepMax = state::kTxnOperationsMax / 2;

}  // namespace

struct Records::State {
    State(asio::any_io_executor its_executor, state::Store& its_store)
        : executor(std::move(its_executor)), store(its_store),
          tables(std::make_unique<Tables>(store.epoch())), changed(executor), followers(executor) {}

    // All of the store, and the watch that goes on from there.
    Async<> load();
    // What the store told, into `into`; up to where it is then seen.
    static void take(const state::Changes& changes, Tables& into);
    AsyncVoid follow();
    Async<> sweep_orphans();
    // Why a transaction was refused, in people's names.
    Async<state::Revision> explain(Error refused, std::vector<state::Compare> compares);

    template <class Kind>
    [[nodiscard]] Result<const model::Record<Kind>*> by_id(const Uuid& id,
                                                           std::string_view text) const;
    // The id of the scope that `text` names; nil if there is none.
    template <class Kind>
    [[nodiscard]] Uuid scope_of(std::string_view text) const;
    template <class Kind>
    [[nodiscard]] Uuid id_of(std::string_view text) const;
    template <class Kind>
    [[nodiscard]] std::string scope_name(const Uuid& scope) const;
    template <class Kind>
    [[nodiscard]] std::string called(std::string_view id_or_name) const;
    [[nodiscard]] std::string called(const KeyParts& parts) const;

    asio::any_io_executor executor;
    state::Store& store;
    std::unique_ptr<Tables> tables;
    std::unique_ptr<state::Watch> watch;
    state::Revision seen;
    Signal changed;
    Scope followers;
    bool closing = false;
    bool closed = false;
    size_t commits = 0;
};

// ---- the store's changes

Async<> Records::State::load() {
    for (;;) {
        auto fresh = std::make_unique<Tables>(store.epoch());
        std::optional<state::Revision> first;
        state::Revision last;
        std::string after;
        for (bool more = true; more;) {
            auto page = co_await store.list("/", after, state::kPageMax);
            if (!page.ok()) co_return page.take_error();
            if (!first) first = page->revision;
            last = page->revision;
            for (const state::Entry& entry : page->entries) {
                fresh->apply(entry.key, &entry.value, entry.revision);
            }
            more = page->more;
            if (more) after = page->entries.back().key;
        }
        // What changed while the pages were read comes again from the watch.
        watch.reset();
        auto watching = co_await store.watch("/", *first);
        if (!watching.ok() && watching.error().code() == ErrorCode::gone) continue;
        if (!watching.ok()) co_return watching.take_error();
        watch = *std::move(watching);
        state::Revision now = *first;
        while (now < last) {
            auto changes = co_await watch->next();
            if (!changes.ok()) break;
            take(*changes, *fresh);
            now = changes->revision;
        }
        if (now < last) {
            if (closing) co_return closing_error();
            continue;
        }
        fresh->forget_changes(now);
        tables = std::move(fresh);
        seen = now;
        changed.notify_all();
        co_return Result<void>();
    }
}

void Records::State::take(const state::Changes& changes, Tables& into) {
    for (const state::Change& change : changes.changes) {
        into.apply(change.key, change.value ? &*change.value : nullptr, changes.revision);
    }
}

AsyncVoid Records::State::follow() {
    asio::steady_timer pause(executor);
    while (!closing) {
        auto changes = co_await watch->next();
        if (changes.ok()) {
            take(*changes, *tables);
            seen = changes->revision;
            changed.notify_all();
            continue;
        }
        // Until a new list is there the old one is shown.
        while (!closing) {
            if (changes.error().code() != ErrorCode::gone) {
                pause.expires_after(kAgainAfter);
                co_await pause.async_wait(kAwait);
                if (closing) break;
            }
            const Result<void> loaded = co_await load();
            if (loaded.ok()) break;
            changes = loaded.error();
        }
    }
}

Async<> Records::State::sweep_orphans() {
    const std::vector<std::string> keys = tables->orphans();
    for (size_t start = 0; start < keys.size(); start += kSweepMax) {
        state::Txn txn;
        for (size_t i = start; i < std::min(keys.size(), start + kSweepMax); ++i) {
            const std::optional<KeyParts> parts = split_key(keys[i]);
            const Result<Uuid> id = Uuid::parse(parts->rest);
            CHECK(id.ok());
            txn.compares.push_back({model::spec_key(parts->kind, *id), std::nullopt});
            txn.deletes.push_back(keys[i]);
        }
        const auto done = co_await store.txn(std::move(txn));
        // A disk that is full is said to those who want to change something.
        if (!done.ok()) break;
    }
    co_return Result<void>();
}

// ---- names

template <class Kind>
Uuid Records::State::scope_of(std::string_view text) const {
    const Result<Uuid> id = Uuid::parse(text);
    if (id.ok()) return *id;
    if constexpr (std::same_as<Kind, model::Volume>) {
        return id_of<model::Pool>(text);
    } else {
        // A volume's own snapshots have two words before their name.
        const bool is_volume = !model::split_name(text).scope.empty();
        return is_volume ? id_of<model::Volume>(text) : id_of<model::Vm>(text);
    }
}

template <class Kind>
Uuid Records::State::id_of(std::string_view text) const {
    std::string name(text);
    if constexpr (model::Scoped<Kind>) {
        const auto [scope, last] = model::split_name(text);
        const Uuid within = scope_of<Kind>(scope);
        if (within.is_nil()) return {};
        name = fmt::format("{}/{}", within.to_string(), last);
    }
    const auto& names = tables->of<Kind>().names;
    const auto at = names.find(name);
    return at == names.end() ? Uuid{} : at->second;
}

template <class Kind>
std::string Records::State::scope_name(const Uuid& scope) const {
    const auto name_in =
        [&]<class Other>(const Table<Other>& records) -> std::optional<std::string> {
        const auto at = records.find(scope);
        if (at == records.end()) return std::nullopt;
        if constexpr (std::same_as<Other, model::Volume>) {
            return scope_name<model::Volume>(at->second.spec.pool) + '/' + at->second.name;
        } else {
            return at->second.name;
        }
    };
    std::optional<std::string> name;
    if constexpr (std::same_as<Kind, model::Volume>) {
        name = name_in(tables->of<model::Pool>().records);
    } else {
        name = name_in(tables->of<model::Vm>().records);
        if (!name) name = name_in(tables->of<model::Volume>().records);
    }
    return name.value_or(scope.to_string());
}

template <class Kind>
std::string Records::State::called(std::string_view id_or_name) const {
    const Result<Uuid> id = Uuid::parse(id_or_name);
    if (!id.ok()) {
        if constexpr (model::Scoped<Kind>) {
            // A key's name: the id of its scope before it.
            const auto [scope, name] = model::split_name(id_or_name);
            const Result<Uuid> scope_id = Uuid::parse(scope);
            if (scope_id.ok()) return fmt::format("{}/{}", scope_name<Kind>(*scope_id), name);
        }
        return to_plain_text(id_or_name);
    }
    const auto& kind = tables->of<Kind>();
    const auto at = kind.records.find(*id);
    if (at == kind.records.end()) return id->to_string();
    if constexpr (model::Scoped<Kind>) {
        return fmt::format("{}/{}", scope_name<Kind>(Kind::scope(at->second.spec)),
                           at->second.name);
    } else {
        return at->second.name;
    }
}

std::string Records::State::called(const KeyParts& parts) const {
    std::string name;
    const auto look = [&]<class Kind>(const Kind* /*kind*/) {
        if (parts.kind != Kind::kName) return false;
        name = fmt::format("{} \"{}\"", Kind::kName, called<Kind>(parts.rest));
        return true;
    };
    const auto look_all = [&]<class... Kind>(const std::tuple<Kind...>* /*kinds*/) {
        static_cast<void>((look(static_cast<const Kind*>(nullptr)) || ...));
    };
    look_all(static_cast<const Kinds*>(nullptr));
    return name;
}

template <class Kind>
Result<const model::Record<Kind>*> Records::State::by_id(const Uuid& id,
                                                         std::string_view text) const {
    const auto& kind = tables->of<Kind>();
    const auto at = kind.records.find(id);
    if (at != kind.records.end()) return &at->second;
    const auto hidden = kind.hidden.find(id);
    if (hidden == kind.hidden.end() || !hidden->second.has_spec) {
        return Error(ErrorCode::not_found,
                     fmt::format("{} \"{}\" does not exist", Kind::kName, to_plain_text(text)));
    }
    const auto why = [&](bool is_damaged, const std::string& key) {
        const auto found = tables->damaged().find(key);
        return is_damaged && found != tables->damaged().end() ? found->second : std::string();
    };
    std::string message = why(hidden->second.spec_damaged, model::spec_key(Kind::kName, id));
    if (message.empty()) {
        message = why(hidden->second.status_damaged, model::status_key(Kind::kName, id));
    }
    return Error(ErrorCode::corrupt, fmt::format("{} \"{}\" has a damaged record: {}", Kind::kName,
                                                 to_plain_text(text), message));
}

// ---- commit

Async<state::Revision> Records::State::explain(Error refused,
                                               std::vector<state::Compare> compares) {
    for (const state::Compare& compare : compares) {
        const auto entry = co_await store.get(compare.key);
        if (!entry.ok()) break;
        const bool holds =
            compare.revision ? *entry && (*entry)->revision == *compare.revision : !*entry;
        if (holds) continue;
        const std::optional<KeyParts> parts = split_key(compare.key);
        const std::string name = parts ? called(*parts) : "";
        if (name.empty()) break;
        if (!compare.revision) {
            co_return Error(ErrorCode::already_exists, fmt::format("{} exists already", name));
        }
        co_return Error(ErrorCode::conflict,
                        *entry
                            ? fmt::format("{} was changed meanwhile: look again and repeat", name)
                            : fmt::format("{} was deleted meanwhile", name));
    }
    co_return refused;
}

Async<state::Revision> Records::commit(state::Txn txn) {
    State& state = *state_;
    if (state.closing) co_return closing_error();
    ++state.commits;
    std::vector<state::Compare> compares = txn.compares;
    auto done = co_await state.store.txn(std::move(txn));
    if (!done.ok() && done.error().code() == ErrorCode::conflict) {
        done = co_await state.explain(done.take_error(), std::move(compares));
    }
    while (done.ok() && state.seen < *done && !state.closing) co_await state.changed.wait();
    if (done.ok() && state.seen < *done) done = closing_error();
    --state.commits;
    state.changed.notify_all();
    co_return done;
}

// ---- what users see

Records::Records(std::unique_ptr<State> state) : state_(std::move(state)) {}

Records::~Records() { CHECK(state_->closed); }

Async<std::unique_ptr<Records>> Records::open(asio::any_io_executor executor, state::Store& store) {
    std::unique_ptr<Records> records(
        new Records(std::make_unique<State>(std::move(executor), store)));
    State& state = *records->state_;
    Result<void> loaded = co_await state.load();
    if (loaded.ok()) loaded = co_await state.sweep_orphans();
    if (!loaded.ok()) {
        state.closed = true;
        co_return loaded.take_error();
    }
    state.followers.spawn(state.follow());
    co_return records;
}

AsyncVoid Records::close() {
    State& state = *state_;
    CHECK(!state.closing);
    state.closing = true;
    state.changed.notify_all();
    while (state.commits > 0) co_await state.changed.wait();
    co_await state.followers.close();
    state.watch.reset();
    state.closed = true;
}

template <class Kind>
const Table<Kind>& Records::all() const {
    return state_->tables->of<Kind>().records;
}

template <class Kind>
Result<const model::Record<Kind>*> Records::find(std::string_view id_or_name) const {
    const Result<Uuid> id = Uuid::parse(id_or_name);
    return state_->by_id<Kind>(id.ok() ? *id : state_->id_of<Kind>(id_or_name), id_or_name);
}

template <class Kind>
const model::Record<Kind>* Records::get(const Uuid& id) const {
    const auto& records = state_->tables->of<Kind>().records;
    const auto at = records.find(id);
    return at == records.end() ? nullptr : &at->second;
}

template <class Kind>
std::string Records::full_name(const model::Record<Kind>& record) const {
    if constexpr (model::Scoped<Kind>) {
        return fmt::format("{}/{}", state_->scope_name<Kind>(Kind::scope(record.spec)),
                           record.name);
    } else {
        return record.name;
    }
}

Signal& Records::changed() { return state_->changed; }
state::Revision Records::revision() const { return state_->seen; }
const Uuid& Records::epoch() const { return state_->store.epoch(); }

Result<std::vector<Changed>> Records::changes_since(state::Revision after) const {
    const Tables& tables = *state_->tables;
    if (after < tables.changes_from() || after > state_->seen) {
        return Error(ErrorCode::gone,
                     fmt::format("changes after revision {} are not known", after.number));
    }
    const auto from = std::ranges::upper_bound(tables.changes(), after, {}, &Changed::revision);
    return std::vector<Changed>(from, tables.changes().end());
}

std::vector<Damaged> Records::damaged() const {
    std::vector<Damaged> all;
    for (const auto& [key, message] : state_->tables->damaged()) all.push_back({key, message});
    return all;
}

#define STOA_READS_OF(Kind)                                                                  \
    template const Table<Kind>& Records::all<Kind>() const;                                  \
    template Result<const model::Record<Kind>*> Records::find<Kind>(std::string_view) const; \
    template const model::Record<Kind>* Records::get<Kind>(const Uuid&) const;               \
    template std::string Records::full_name<Kind>(const model::Record<Kind>&) const;
STOA_EACH_KIND(STOA_READS_OF)
#undef STOA_READS_OF

}  // namespace stoa::records
