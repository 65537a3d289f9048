// Core: the state that the operations of one open pool share. No operation lives here: each has
// its own file, which takes a Core&.
//
// One executor owns everything; between two suspensions a task sees and leaves it consistent.
// Order of a change: apply to memory and append its record to the log in the same breath
// (no suspension between), then wait for the commit that covers the record if it must be durable.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/mutant.h"
#include "base/result.h"
#include "dataplane/io/sync.h"
#include "dataplane/pool/block_io.h"
#include "dataplane/pool/bounce.h"
#include "dataplane/pool/devices.h"
#include "dataplane/pool/format.h"
#include "dataplane/pool/journal.h"
#include "dataplane/pool/node_cache.h"
#include "dataplane/pool/objects.h"
#include "dataplane/pool/pool.h"
#include "dataplane/pool/record_log.h"
#include "dataplane/pool/records.h"
#include "dataplane/pool/regions.h"
#include "dataplane/pool/tree.h"

namespace stoa::pool {

class VolumeHandle;

struct RoomOptions {
    bool even_when_closing = false;
    bool makes_nodes = false;  // changes of maps; snapshots and names copy none
    const bool* give_up = nullptr;  // while the host of a device is full
};

struct Core {
    Core(io::Executor& runs_on, OpenOptions with, const Label& pool_label,
         std::vector<PoolDevice> pool_devices, const Superblock& found);
    Core(const Core&) = delete;
    Core& operator=(const Core&) = delete;
    ~Core();

    io::Executor& executor;
    OpenOptions options;
    Label label;
    Checksums checksums;
    Devices devices;
    Regions regions;
    BlockIo blocks;
    NodeCache cache;
    Objects objects;
    ObjectId reclaiming = 0;
    Lineage lineage;
    TreeWriter writer;
    RecordLog log;
    JournalWriter journal;
    BouncePool bounce;

    Superblock superblock;   // the newest durable one
    uint64_t newest_generation = 0;  // found on the devices, usable or not
    // Of superblocks of that one's generation that were found beside it: openings that were cut
    // short, each before its superblock was on all devices.
    std::vector<Uuid> cut_short_owners;
    Object object_tree;  // its root is the object tree as of that superblock
    TreeWriter object_writer;
    Epoch epoch = 1;  // births from now on
    ObjectId next_object = 1;
    Uuid owner;

    // ---- commits (commit.cc)
    uint64_t durable_sequence = 0;  // records up to here are in a durable commit
    uint64_t wanted_sequence = 0;  // somebody waits for this one
    uint64_t committed_position = 0;  // in the log
    // In the journal, flushed or not: at most one commit beyond the durable one.
    uint64_t appended_sequence = 0;
    uint64_t appended_position = 0;
    uint64_t appended_proven = 0;  // what the last appended commit says
    uint32_t lone_records = 0;  // how many times in a row a flush found one new record
    uint64_t durable_commit = 0;
    uint64_t proven_commit = 0;  // as written to the device
    uint64_t data_since_commit = 0;  // bytes
    io::Condition commit_wanted;
    io::Condition commit_done;
    io::Mutex commit_lock;  // one commit in flight
    std::vector<std::byte> commit_payload;  // its records; kept, since fresh memory is slow

    // ---- checkpoints (checkpoint.cc)
    bool checkpoint_wanted = false;
    io::Mutex checkpoint_lock;  // one checkpoint, or other superblock write, at a time
    uint64_t checkpoints_done = 0;
    uint64_t freezes = 1;  // numbers the checkpoints' freezes
    uint64_t durable_freeze = 1;  // of the newest durable checkpoint
    uint64_t records_since_checkpoint = 0;
    uint64_t dirty_limit = 0;  // nodes
    uint32_t held = 0;  // writers that wait for space
    io::Condition held_changed;  // it became more than none
    io::Condition checkpoint_signal;
    io::Condition room;  // log, journal, cache or space became free
    ReaderEras readers;
    io::Condition readers_left;
    std::vector<CheckedSlot> tables;  // region table blocks as of the superblock

    // ---- life
    bool closing = false;
    bool background_stopped = false;
    std::optional<Error> failure;  // read-only since
    std::string read_only_reason;
    bool objects_lost = false;  // parents and volumes of others may be among them; read-only
    io::TaskGroup workers;  // reclaim, proofs, idleness: stopped first
    io::TaskGroup background;  // commits and checkpoints, which the workers need
    io::Mutex structure_lock;  // one structural change at a time
    io::Condition work;  // background work made progress (settle() waits)
    io::Condition reclaim_signal;  // something for the reclaimer
    std::optional<Error> background_error;
    uint32_t holds = 0;  // of all objects
    bool mark_clean = false;  // the next checkpoint is the last one
    std::vector<std::unique_ptr<VolumeHandle>> handles;
    Counters counters;

    [[nodiscard]] bool writable() const { return !options.read_only && !failure; }
    [[nodiscard]] Error read_only_error() const;
    [[nodiscard]] Error closing_error() const;
    void event(const std::string& text) const {
        if (options.events) options.events(text);
    }
    // The pool accepts no changes any more; everybody who waits is told.
    void fail(Error reason);
    void wake_all();
    // Who waits for room or a commit looks again whether to give up.
    void wake_writers();
    // A request ends early only if what it waits for may never come: its host is full.
    [[nodiscard]] bool gives_up(const bool* wanted) const {
        return wanted != nullptr && *wanted && devices.host_full();
    }
    // Until something may have changed; counted among those that are held.
    io::Task<void> wait_held();
    // Appends an encoded record; needs log.fits().
    void append(ConstBytes record);
    // Waits until a record of `bytes` may be applied: room in the log and in the journal and, if it
    // makes dirty nodes, in the cache. Errors: read_only, cancelled (closing), invalid_argument
    // (more than the journal or the log takes at once).
    io::Task<Result<void>> wait_for_room(size_t bytes, RoomOptions wanted = {});
    // How long a writer waits although there is room, so that it never comes to a stop.
    [[nodiscard]] uint64_t slow_down_ns(bool makes_nodes) const;
    // The same without waiting: may a record of `bytes` be applied now?
    [[nodiscard]] bool has_room(size_t bytes);
    // Whoever flushed after each record will do so again: a new one is appended before its flush
    // comes.
    [[nodiscard]] bool appends_early() const {
        return lone_records >= options.knobs.early_append_after &&
               appended_sequence == durable_sequence;
    }
    // Journal blocks in use, with those that what is not committed yet will take.
    [[nodiscard]] uint64_t ring_blocks_wanted() const;
    void want_checkpoint();
    [[nodiscard]] Uuid random_uuid() {
        const uint64_t high = executor.random();
        return Uuid::from_random(high, executor.random());
    }
};

// Keeps blocks that a read may want from being reused (regions.h, ReaderEras).
class ReadGuard {
public:
    explicit ReadGuard(Core& core) : core_(core), era_(core.readers.enter()) {}
    ReadGuard(const ReadGuard&) = delete;
    ReadGuard& operator=(const ReadGuard&) = delete;
    ~ReadGuard() {
        core_.readers.leave(era_);
        if (core_.readers_left.has_waiters()) core_.readers_left.notify_all();
    }

private:
    Core& core_;
    uint64_t era_;
};

// Keeps a node in memory.
class PinGuard {
public:
    explicit PinGuard(Node* node) : node_(node) {
        if (node_ != nullptr) ++node_->pins;
    }
    PinGuard(PinGuard&& other) noexcept : node_(std::exchange(other.node_, nullptr)) {}
    PinGuard(const PinGuard&) = delete;
    PinGuard& operator=(const PinGuard&) = delete;
    PinGuard& operator=(PinGuard&& other) noexcept {
        std::swap(node_, other.node_);
        return *this;
    }
    ~PinGuard() {
        if (node_ != nullptr) --node_->pins;
    }

private:
    Node* node_;
};

}  // namespace stoa::pool
