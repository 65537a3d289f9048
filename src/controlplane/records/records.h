// Records: the store's records in memory, typed, as of the last change of the store.
//
// Reads come from here and never wait; what was read is valid until the next co_await. Changes are
// transactions of the store, put together with the functions below; when commit() has answered they
// are durable, and seen here. One thread. Keys and names: model/record.h.
//
// A record of which any part cannot be read is damaged: it is in no table, find() says `corrupt`
// and which key it is, damaged() lists it, its name stays taken, and nothing here changes it. All
// else works. It is back when something writes its key again.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "controlplane/async/async.h"
#include "controlplane/async/signal.h"
#include "controlplane/model/access.h"
#include "controlplane/model/host.h"
#include "controlplane/model/network.h"
#include "controlplane/model/record.h"
#include "controlplane/model/storage.h"
#include "controlplane/model/task.h"
#include "controlplane/model/vm.h"
#include "controlplane/state/store.h"

namespace stoa::records {

using Kinds =
    std::tuple<model::Host, model::Pool, model::Volume, model::Snapshot, model::Image, model::Vm,
               model::Network, model::User, model::Role, model::Token, model::Task>;

template <class Kind>
using Table = std::map<Uuid, model::Record<Kind>>;

// Changes that changes_since() remembers.
constexpr size_t kChangesKept = 8192;

enum class ChangeOf : uint8_t { spec, status, erased };

struct Changed {
    state::Revision revision;  // of the store
    std::string_view kind;  // of the program
    Uuid id;
    ChangeOf what = ChangeOf::spec;
};

struct Damaged {
    std::string key;
    std::string message;  // names the key and what is wrong
};

class Records {
public:
    // Reads all, then follows the store's changes. `store` outlives it. Statuses that were written
    // after their record was erased are removed.
    // Errors: as Store::list.
    static Async<std::unique_ptr<Records>> open(asio::any_io_executor executor,
                                                state::Store& store);
    ~Records();  // CHECKs that close() finished.
    // Before the store's. Who waits in commit() gets `cancelled`.
    AsyncVoid close();

    template <class Kind>
    [[nodiscard]] const Table<Kind>& all() const;
    // By id, or by name: NAME; POOL/VOLUME; VM/SNAPSHOT; POOL/VOLUME/SNAPSHOT.
    // Errors: not_found ("vm \"web1\" does not exist"), corrupt (it is damaged).
    template <class Kind>
    [[nodiscard]] Result<const model::Record<Kind>*> find(std::string_view id_or_name) const;
    template <class Kind>
    [[nodiscard]] const model::Record<Kind>* get(const Uuid& id) const;  // nullptr: none
    // As find() takes it and people write it: "web1", "fast/db", "web1/monday". What its scope is
    // called is the scope's id when that does not exist any more.
    template <class Kind>
    [[nodiscard]] std::string full_name(const model::Record<Kind>& record) const;

    // Errors: as Store::txn; conflict and already_exists (a name that is taken) name the record.
    // After `io` and `cancelled` it may have been done.
    Async<state::Revision> commit(state::Txn txn);

    // Wakes after every change of any key, and when it closes; whoever waits looks then at what he
    // waits for.
    [[nodiscard]] Signal& changed();
    // The store's, up to which all changes are seen here.
    [[nodiscard]] state::Revision revision() const;
    // Of all kinds, in their order. Errors: gone (too long ago, or the store was listed again:
    // compare everything).
    [[nodiscard]] Result<std::vector<Changed>> changes_since(state::Revision after) const;
    [[nodiscard]] const Uuid& epoch() const;  // the store's

    [[nodiscard]] std::vector<Damaged> damaged() const;

private:
    struct State;
    explicit Records(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

// Parts of a transaction. Each guards what it replaces: a record that was changed since it was
// read ends the transaction with `conflict`, a name that is taken with `already_exists`.

template <class Kind>
void create(state::Txn& txn, const model::Record<Kind>& record);
// `before` as read; name, labels and spec of `after` are written.
template <class Kind>
void replace(state::Txn& txn, const model::Record<Kind>& before, const model::Record<Kind>& after);
// The status is written by its owner alone, so nothing guards it.
template <class Kind>
void put_status(state::Txn& txn, const Uuid& id, const typename Kind::Status& status);
template <class Kind>
void erase(state::Txn& txn, const model::Record<Kind>& record);
// Changes nothing; the transaction fails with `conflict` if the spec was changed since it was read.
template <class Kind>
void expect(state::Txn& txn, const model::Record<Kind>& record);

// Record::revision: the store's epoch and the revision of the spec, so that a revision from before
// a restored copy equals none of after.
[[nodiscard]] std::string revision_text(const Uuid& epoch, state::Revision revision);
// Number -1, which no key has, if it is no such text.
[[nodiscard]] state::Revision parse_revision(std::string_view text);

}  // namespace stoa::records
