// The way back in: what an administrator of the host does when nobody can log in, a certificate is
// over, or an older state was put back. Run while stoad is stopped, on the store's file; each is
// done as a whole or not at all.
#pragma once

#include <string>

#include "controlplane/async/async.h"
#include "controlplane/host/clock.h"
#include "controlplane/host/random.h"
#include "controlplane/records/records.h"
#include "controlplane/state/sqlite_store.h"

namespace stoa::access {

// Lost password: `name` (made if there is no such user) is enabled, an administrator of everything
// and has this password; its sessions are over. Errors: invalid_argument, as Records::commit.
Async<> recover_administrator(records::Records& records, state::Store& store, host::Clock& clock,
                              host::Random& random, std::string name, std::string password);

// Older state: what clients and watchers know of the one before counts no more, and nobody is
// logged in (sessions that had been ended would be back). Tokens that were deleted since are back:
// the result says how many tokens there are. Errors: as SqliteStore.
Async<size_t> begin_restored(state::SqliteStore& store);

}  // namespace stoa::access
