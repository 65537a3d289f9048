// SqliteStore: the store of one host, in one file. Layout: docs/format/state.md.
//
// Calls run on a thread of their own; transactions that wait for it at the same time share one
// sync of the disk. Promises: store.h. Behaviour when the process is killed: sqlite_kill_test.cc.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>

#include "controlplane/async/scope.h"
#include "controlplane/async/signal.h"
#include "controlplane/async/worker.h"
#include "controlplane/state/schema.h"
#include "controlplane/state/store.h"

namespace stoa::state {

struct SqliteOptions {
    std::string path;  // made if it does not exist; so is nothing else
    // Transactions that a watch may be behind; also how many it may begin in the past.
    int64_t changes_kept = 10'000;
    // The epoch of a new store, and after restore_epoch().
    std::function<Uuid()> new_uuid;
    // What an administrator should know of an upgrade.
    std::function<void(std::string)> tell = [](const std::string&) {};
    Schema schema = current_schema();
};

class SqliteStore final : public Store {
public:
    // Errors: as prepare_schema(); busy (another process has it).
    static Async<std::unique_ptr<SqliteStore>> open(asio::any_io_executor executor,
                                                    SqliteOptions options);
    ~SqliteStore() override;

    Async<std::optional<Entry>> get(std::string key) override;
    Async<Page> list(std::string prefix, std::string after, size_t limit) override;
    Async<Revision> txn(Txn txn) override;
    Async<std::unique_ptr<Watch>> watch(std::string prefix, Revision after) override;
    [[nodiscard]] const Uuid& epoch() const override { return epoch_; }
    AsyncVoid close() override;

    // A durable copy as of one moment, which may be put in the place of the file later; then
    // begin_epoch() before anything else.
    Async<> copy_to(std::string path);
    // Of a store that was restored: what clients know of the one before counts no more.
    Async<> begin_epoch();

private:
    struct Connection;  // what the worker's thread alone touches
    class Feed;         // a watch
    struct Waiting {
        Txn txn;
        std::optional<Result<Revision>> result;
    };

    SqliteStore(asio::any_io_executor executor, SqliteOptions options);
    AsyncVoid commit_waiting();
    void publish(const Changes& changes);

    asio::any_io_executor executor_;
    SqliteOptions options_;
    Uuid epoch_;
    std::unique_ptr<Connection> connection_;
    std::deque<Waiting*> waiting_;  // owned by the coroutines that wait
    Signal committed_;
    bool committing_ = false;
    bool closing_ = false;
    size_t calls_ = 0;
    std::list<Feed*> feeds_;  // owned by who watches
    Worker worker_;
};

}  // namespace stoa::state
