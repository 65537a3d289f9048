// Reconciliation: compares the records with what stoa-blockd has, and says in the records what is.
//
// blockd is the truth for existence, size and lineage; records say what is wanted; both are joined
// by uuid. What is gone becomes `missing`, what is back `ready`; a volume whose size differs has
// its record follow; names, protection and tags in the pool follow the record. Things of a task
// that is not over are left to it. What no record knows is reported, never removed.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "controlplane/async/async.h"
#include "controlplane/records/records.h"
#include "controlplane/storage/blockd.h"

namespace stoa::storage {

// Something in a pool that has no record.
struct Unknown {
    enum class What : uint8_t { pool, volume, snapshot };
    What what = What::volume;
    Uuid pool;
    Uuid id;
    std::string name;  // in the pool
    bool operator==(const Unknown&) const = default;
};

struct ReconcileReport {
    std::vector<Unknown> unknown;
    // For the journal: one sentence for each thing that changed ("volume fast/db is missing").
    std::vector<std::string> changes;
    bool is_whole = true;  // false: a pool is still being opened; look again
};

// Everything once. Errors: timeout (blockd does not answer; nothing was changed), as
// Records::commit.
Async<ReconcileReport> reconcile(records::Records& records, Blockd& blockd);

// Makes records of all in the pool that has none: names are those in the pool (made to fit, and
// unique), owners come from the tags. Snapshots "vm.NAME" of volumes of one VM become one of the
// VM's, if the VM is there. Gives how many were made. May be done again. Errors: as reconcile.
Async<size_t> import_pool(records::Records& records, Blockd& blockd, Uuid pool, Uuid host);

// Reconciles whenever blockd (re)connects, or events were lost, and says what it found; runs until
// it is cancelled or the client is closed. To be spawned.
AsyncVoid keep_reconciled(records::Records& records, Blockd& blockd,
                          std::function<void(const ReconcileReport&)> tell,
                          std::function<void(const rpc::Event&)> heard);

}  // namespace stoa::storage
