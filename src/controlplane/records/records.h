// Records: the store's records in memory, typed, as of the last change of the store.
//
// Reads come from here and never wait; what was read is valid until the next co_await. Changes are
// transactions of the store, put together with the functions below; when commit() has answered they
// are durable, and seen here. One thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "controlplane/async/async.h"
#include "controlplane/async/scope.h"
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

template <class Kind>
using Table = std::map<Uuid, model::Record<Kind>>;

class Records {
public:
    // Reads all, then follows the store's changes. `store` outlives it.
    // Errors: corrupt (a value that no version of this program wrote: names the key), io.
    static Async<std::unique_ptr<Records>> open(asio::any_io_executor executor,
                                                state::Store& store);
    ~Records();  // CHECKs that close() finished.
    AsyncVoid close();

    template <class Kind>
    [[nodiscard]] const Table<Kind>& all() const;
    // By id, or by name: NAME; POOL/NAME of a volume.
    // Errors: not_found ("vm \"web1\" does not exist").
    template <class Kind>
    [[nodiscard]] Result<const model::Record<Kind>*> find(std::string_view id_or_name) const;
    template <class Kind>
    [[nodiscard]] const model::Record<Kind>* get(const Uuid& id) const;  // nullptr: none

    // Errors: as Store::txn; conflict and already_exists (a name that is taken) name the record.
    Async<state::Revision> commit(state::Txn txn);

    // Wakes after every change; whoever waits looks then at what he waits for.
    [[nodiscard]] Signal& changed();

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

}  // namespace stoa::records
