#include "controlplane/access/recovery.h"

#include <algorithm>

#include <fmt/format.h>

#include "base/describe.h"
#include "controlplane/access/access.h"
#include "controlplane/access/password.h"

namespace stoa::access {

namespace {

constexpr std::string_view kSessionPrefix = "/session/";

struct StoredHash {
    std::string hash;
    static constexpr auto fields() { return std::tuple(required("hash", &StoredHash::hash, "")); }
};

}  // namespace

Async<> recover_administrator(records::Records& records, state::Store& store, host::Clock& clock,
                              host::Random& random, std::string name, std::string password) {
    CO_TRY(model::check_name(name));
    CO_TRY(check_password(password));
    Salt salt{};
    random.fill(salt);
    CO_TRY_ASSIGN(const std::string hash, hash_password(password, salt));
    const auto found = records.find<model::User>(name);
    if (!found.ok() && found.error().code() != ErrorCode::not_found) co_return found.error();
    model::Record<model::User> after;
    if (found.ok()) {
        after = **found;
    } else {
        after.id = model::make_id(clock.wall_ns(), random.next(), random.next());
        after.name = name;
        after.created_ns = clock.wall_ns();
    }
    after.spec.disabled = false;
    if (!is_administrator(after.spec.grants)) {
        after.spec.grants.push_back({"administrator", "/"});
    }
    after.status.has_password = true;
    after.status.password_ns = clock.wall_ns();  // sessions from before are over by it
    state::Txn txn;
    if (found.ok()) {
        records::replace<model::User>(txn, **found, after);
        records::put_status<model::User>(txn, after.id, after.status);
    } else {
        records::create<model::User>(txn, after);
    }
    txn.puts.push_back({password_key(after.id), to_text(to_json(StoredHash{hash}))});
    const auto done = co_await store.txn(std::move(txn));
    if (!done.ok()) co_return done.error();
    co_return Result<void>();
}

Async<size_t> begin_restored(state::SqliteStore& store) {
    CO_TRY(co_await store.begin_epoch());
    for (;;) {
        CO_TRY_ASSIGN(const state::Page page, co_await store.list(std::string(kSessionPrefix), "",
                                                                  state::kTxnOperationsMax));
        if (page.entries.empty()) break;
        state::Txn txn;
        for (const state::Entry& entry : page.entries) txn.deletes.push_back(entry.key);
        const auto done = co_await store.txn(std::move(txn));
        if (!done.ok()) co_return done.error();
    }
    size_t tokens = 0;
    std::string after;
    for (bool more = true; more;) {
        CO_TRY_ASSIGN(const state::Page page,
                      co_await store.list("/token/secret/", after, state::kPageMax));
        more = page.more;
        tokens += page.entries.size();
        if (!page.entries.empty()) after = page.entries.back().key;
    }
    co_return tokens;
}

}  // namespace stoa::access
