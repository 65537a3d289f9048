// The store: small watched records, the memory of the control plane.
//
// Keys are paths of ASCII words ("/vm/spec/0192…"); values are opaque bytes, JSON by use. There are
// no queries and no callbacks, so that SQLite on one host and etcd on several keep the same
// promises: conformance.h runs the same tests against both.
//
// Promises:
//   - A transaction is done as a whole or not at all, and when it has answered it is durable.
//   - Each one that changed anything has a revision of its own, greater than those before it.
//   - A watch shows every change of its keys once, transactions in their order and undivided.
//   - A store that was restored from a copy has another epoch: nothing that was learnt from the one
//     before counts in it.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/uuid.h"
#include "controlplane/async/async.h"

namespace stoa::state {

constexpr size_t kTxnOperationsMax = 128;  // compares, puts and deletes each, as etcd counts them
constexpr size_t kValueBytesMax = size_t{256} << 10;
constexpr size_t kKeyBytesMax = 512;
constexpr size_t kPageMax = 1000;

// To clients an opaque word: equal or not, and "watch from here".
struct Revision {
    int64_t number = 0;
    auto operator<=>(const Revision&) const = default;
};

struct Entry {
    std::string key;
    std::string value;
    Revision revision;  // of the transaction that put it
    bool operator==(const Entry&) const = default;
};

// The key has this revision; without one: it does not exist.
struct Compare {
    std::string key;
    std::optional<Revision> revision;
};

struct Put {
    std::string key;
    std::string value;
};

// Each key occurs once among puts and deletes. Deleting what does not exist is no error.
struct Txn {
    std::vector<Compare> compares;
    std::vector<Put> puts;
    std::vector<std::string> deletes;
};

// In the order of their keys. `more`: ask again after the last key.
struct Page {
    std::vector<Entry> entries;
    Revision revision;  // of the store when it was read
    bool more = false;
};

struct Change {
    std::string key;
    std::optional<std::string> value;  // nullopt: deleted
    bool operator==(const Change&) const = default;
};

// The changes of one transaction, as far as they are watched.
struct Changes {
    Revision revision;
    std::vector<Change> changes;
    bool operator==(const Changes&) const = default;
};

// Destroy it before its store. One waiter at a time.
class Watch {
public:
    Watch() = default;
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    virtual ~Watch() = default;

    // The next transaction that changed a watched key.
    // Errors: gone (who watches is so far behind that changes are forgotten; list again), cancelled
    // (also when the store closes), io.
    virtual Async<Changes> next() = 0;
};

class Store {
public:
    Store() = default;
    Store(const Store&) = delete;
    Store& operator=(const Store&) = delete;
    virtual ~Store() = default;

    // Errors of all: invalid_argument (a limit above), io, corrupt, cancelled (closing).

    virtual Async<std::optional<Entry>> get(std::string key) = 0;
    // Keys that begin with `prefix`, after the key `after` if that is not empty.
    // `limit` is 1 to kPageMax.
    virtual Async<Page> list(std::string prefix, std::string after, size_t limit) = 0;
    // Errors: conflict (a comparison failed; nothing was done), no_space (nothing was done; the
    // store goes on reading), io (it may have been done).
    virtual Async<Revision> txn(Txn txn) = 0;
    // Changes of keys that begin with `prefix`, of transactions after revision `after`.
    // Errors: gone (that is too long ago).
    virtual Async<std::unique_ptr<Watch>> watch(std::string prefix, Revision after) = 0;

    // Which store it is, among all copies of it.
    [[nodiscard]] virtual const Uuid& epoch() const = 0;
    // Ends watches, waits for what runs. Call once.
    virtual AsyncVoid close() = 0;
};

// Of a transaction, before anything is done. Errors: invalid_argument.
[[nodiscard]] Result<void> check(const Txn& txn);
[[nodiscard]] Result<void> check_key(const std::string& key);

}  // namespace stoa::state
