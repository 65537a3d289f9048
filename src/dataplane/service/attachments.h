// Attachments: volumes and snapshots that are served, each on a socket of its own.
//
// They are remembered: after a crash or an upgrade the daemon makes them again by itself.
// A volume has at most one read-write attachment. One with a higher epoch cuts it off: when it is
// acknowledged, no request of the older one reaches the volume any more.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/io/reactor.h"
#include "dataplane/serve/nbd/server.h"
#include "dataplane/service/events.h"
#include "dataplane/service/pool_export.h"
#include "dataplane/service/pools.h"
#include "dataplane/service/state.h"
#include "dataplane/service/tls_guard.h"
#include "rpc/blockd.h"

namespace stoa::service {

class Attachments {
public:
    Attachments(io::Reactor& reactor, StateFile& state, Events& events, Pools& pools,
                nbd::BufferLimits limits = {});
    Attachments(const Attachments&) = delete;
    Attachments& operator=(const Attachments&) = delete;
    ~Attachments();

    // Begins to serve those that are remembered as their pools open; tries again those whose
    // socket could not be made.
    void start();
    // The pool is open now.
    void pool_opened(const Uuid& pool);
    // Stops serving all; they stay remembered. Does not wait for held writes. `meanwhile` begins
    // when no client can be answered any more and what they had asked for still runs.
    io::Task<void> stop(io::Task<void> meanwhile);

    // Asked again with the same UUID and content it answers what it answered.
    // Errors: in_use (who is attached, or was with a higher epoch), already_exists (the UUID, with
    // another content), invalid_argument, not_found, busy (the pool is not open), and those of
    // StateFile::save() and io::Listener.
    io::Task<Result<rpc::AttachmentStatus>> create(rpc::AttachmentCreate request);
    // Errors: not_found, and those of StateFile::save(); it is served on.
    io::Task<Result<void>> remove(Uuid uuid);
    // Reads the files of its certificate again, for connections made from now on.
    // Errors: not_found, invalid_argument (it has none, or what is in a file), io.
    Result<void> reload_tls(const Uuid& uuid);
    [[nodiscard]] Result<rpc::AttachmentStatus> status(const Uuid& uuid) const;
    [[nodiscard]] std::vector<rpc::AttachmentStatus> list() const;
    // The volume was deleted: its epochs mean nothing any more.
    io::Task<void> volume_deleted(Uuid pool, Uuid volume);
    // Those of a pool, or of one object of it, for messages: "attachment X on unix:/a".
    [[nodiscard]] std::vector<std::string> users_of(const Uuid& pool) const;
    // While it is held none is made or removed.
    [[nodiscard]] io::Task<io::Mutex::Guard> hold() { co_return co_await changing_.lock(); }

    template <class Visit>
    void visit(Visit&& each) const {
        for (const auto& [uuid, item] : items_) {
            if (item->server != nullptr) each(item->record, *item->server);
        }
    }

private:
    struct Item {
        explicit Item(AttachmentRecord of, std::string why = {})
            : record(std::move(of)), error(std::move(why)) {}
        AttachmentRecord record;
        std::string error;  // why it does not serve
        std::optional<PoolUse> pool;  // while it serves
        block::Volume* handle = nullptr;
        std::unique_ptr<PoolExport> exported;
        std::unique_ptr<TlsGuard> tls;  // nullptr: none
        std::unique_ptr<io::Listener> listener;  // until it is served
        std::unique_ptr<nbd::Server> server;
    };

    // What may fail, before anybody is cut off for it: certificate and socket.
    // `takes_over`: the socket at its path is one of ours that was killed.
    Result<void> prepare(Item& item, bool takes_over);
    io::Task<Result<void>> activate(Item& item);
    io::Task<void> deactivate(Item& item);
    // Serves what can be served by now; of one pool, or of all.
    io::Task<void> serve_waiting(std::optional<Uuid> pool);
    // Tries again, as long as anybody waits.
    void ensure_retrying();
    io::Task<void> retry();
    // Errors: in_use.
    [[nodiscard]] Result<void> check_room(const AttachmentRecord& record) const;
    // The highest with which its volume was attached for writing.
    [[nodiscard]] uint64_t highest_epoch(const AttachmentRecord& record) const;
    // Remembered with the next StateFile::save().
    void set_highest_epoch(const AttachmentRecord& record, uint64_t epoch);
    // Forgets and cuts those that it is newer than. Errors: those of StateFile::save(); nothing has
    // changed.
    io::Task<Result<void>> make_room(const AttachmentRecord& record);
    Result<AttachmentRecord> record_of(const rpc::AttachmentCreate& request) const;
    [[nodiscard]] rpc::AttachmentStatus status_of(const Item& item) const;

    io::Reactor& reactor_;
    StateFile& state_;
    Events& events_;
    Pools& pools_;
    nbd::Buffers buffers_;
    std::map<Uuid, std::unique_ptr<Item>> items_;
    io::Mutex changing_;  // creations and removals, one after the other
    io::TaskGroup retrying_;
    bool is_retrying_ = false;
    bool stopping_ = false;
};

}  // namespace stoa::service
