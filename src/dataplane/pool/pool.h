// Pool: devices in, thin volumes with O(1) snapshots and clones out.
//
// On disk: docs/format/pool.md. Promises and the tests that show them: docs/promises.md.
// Behaviour under power loss, process death and device faults: tests/sim/.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "base/uuid.h"
#include "dataplane/block/volume.h"
#include "dataplane/io/device.h"
#include "dataplane/io/executor.h"
#include "dataplane/io/foreign_data.h"
#include "dataplane/io/shared_memory.h"
#include "dataplane/io/task.h"
#include "dataplane/pool/limits.h"

namespace stoa::pool {

struct CreateOptions {
    std::string name;                // 1 .. 31 bytes of UTF-8, no control characters
    Uuid uuid;                       // nil: random
    uint32_t region_blocks = 0;      // 0: chosen by size; else a power of two, 64 .. 32768
    uint64_t journal_blocks = 0;     // of each copy; 0: chosen by size; else at least 16
    uint64_t capacity_max_bytes = 0; // the pool can grow to this; 0: eight times its size
    uint64_t reserve_blocks = 0;     // 0: min(max(2 %, 64 MiB), 128 GiB), less in tiny pools
    bool force = false;              // overwrite the data of others
    // Knows the data of others, to refuse it, or to wipe it with `force`; nullptr: only some
    // signatures at the start of a device are known, and none is wiped.
    io::ForeignData* foreign = nullptr;
};

// Knobs that make rare things common in tests. Production leaves them alone.
struct TestKnobs {
    uint64_t checkpoint_every_records = 0;  // 0: only by fill
    uint64_t idle_checkpoint_ns = 5'000'000'000;
    uint64_t proof_delay_ns = 10'000'000;
    uint64_t commit_bytes_max = 0;          // 0: by the rule of the design
    uint32_t early_append_after = 8;        // flushes in a row that found one record
    bool background = true;                 // reclaim and hydration run by themselves
    size_t replay_changes_max = 0;          // gathered at once by a recovery; 0: by the cache
};

// Finds the read-only source of a volume whose blocks are not all here yet; nullptr: not
// available now (reads of absent blocks then fail, everything else works). The source must
// outlive the pool.
using OriginResolver = std::function<block::Volume*(const Uuid& origin)>;

// What befell the pool; the text names the object, for the operator.
using EventSink = std::function<void(const std::string& text)>;

struct OpenOptions {
    uint64_t cache_bytes = uint64_t{256} << 20;   // nodes, bitmaps and pending records; >= 1 MiB
    uint64_t bounce_bytes = uint64_t{64} << 20;   // private copies of writes in flight
    io::SharedMemory* acknowledged = nullptr;     // survives the process; outlives the pool
    OriginResolver origins;
    EventSink events;
    bool read_only = false;
    bool accept_damaged = false;  // open although newer state may exist: loses what is newer
    // Open although devices of the pool are missing: what only they hold reads as an error until
    // they return, everything else works. Those that are missing are marked; when one is given
    // again, it is resynchronized before open() resolves, and needs no flag.
    bool accept_missing_devices = false;
    TestKnobs knobs;
};

struct VolumeSpec {
    std::string name;
    Uuid uuid;  // nil: random; an existing one with equal spec answers its id again
    uint64_t size_bytes = 0;  // multiple of 512, 512 .. 16 TiB
    std::vector<std::byte> tags;  // at most 192 bytes, opaque
    Uuid origin;  // not nil: absent blocks come from there
};

struct SnapshotSpec {
    Uuid volume;
    std::string name;
    Uuid uuid;  // nil: random
};

struct VolumeInfo {
    Uuid uuid;
    std::string name;
    uint64_t size_bytes = 0;
    uint64_t mapped_bytes = 0;  // referenced: what the volume reaches, shared or not
    uint64_t created_ns = 0;
    Uuid parent;  // snapshot it was made from, nil if none
    Uuid origin;
    bool hydrated = true;
    bool is_protected = false;
    bool deleting = false;
    uint32_t snapshot_count = 0;
    std::vector<std::byte> tags;
};

struct SnapshotInfo {
    Uuid uuid;
    Uuid volume;  // nil: the volume is gone, clones keep the snapshot
    Uuid parent;
    std::string name;
    uint64_t size_bytes = 0;
    uint64_t mapped_bytes = 0;
    uint64_t created_ns = 0;
    uint64_t epoch = 0;
    Uuid origin;
    bool hydrated = true;
    bool is_protected = false;
    bool deleting = false;
    std::vector<Uuid> clones;  // volumes whose parent it is, its own volume left out
};

struct DamageRange {
    Uuid object;  // volume or snapshot
    uint64_t offset_bytes = 0;
    uint64_t length_bytes = 0;
};

// In blocks of 4096 bytes. total = system + data + nodes + quarantine + bad + free + away; the
// reserve and unfilled reservations are parts of free that only their owners may take. Missing
// devices count with what they hold.
struct SpaceInfo {
    uint64_t total = 0;
    uint64_t system = 0;  // labels, rings, tables, bitmaps, remainders
    uint64_t data = 0;
    uint64_t nodes = 0;  // map nodes and object blocks, both copies
    uint64_t quarantine = 0;  // freed, not yet reusable
    uint64_t bad = 0;
    uint64_t free = 0;
    uint64_t away = 0;  // free, on devices that are missing
    uint64_t reserve = 0;
    bool settling = false;  // a background reclaim is pending
};

struct PoolInfo {
    Uuid uuid;
    std::string name;
    bool read_only = false;
    std::string read_only_reason;
    uint64_t generation = 0;
    uint64_t incarnation = 0;
    uint32_t region_blocks = 0;
    SpaceInfo space;
    struct DeviceInfo {
        Uuid uuid;
        std::string name;
        uint64_t size_bytes = 0;
        bool missing = false;  // or given, but not resynchronized (the pool is read-only)
        bool host_full = false;  // writes wait until the file system below it has space
    };
    std::vector<DeviceInfo> devices;
};

struct Counters {
    uint64_t commits = 0;
    uint64_t checkpoints = 0;
    uint64_t checkpoint_ns = 0;  // all of them together
    uint64_t journal_bytes = 0;  // size of the ring
    uint64_t journal_used_bytes = 0;  // of it, now
    uint64_t device_flushes = 0;
    uint64_t node_hits = 0;
    uint64_t node_misses = 0;
    uint64_t node_writes = 0;
    uint64_t held_writes = 0;  // that had to wait
    uint64_t held_now = 0;  // that wait for space
    uint64_t checksum_repairs = 0;
    uint64_t checksum_errors = 0;
};

struct DiffRange {
    uint64_t offset_bytes = 0;
    uint64_t length_bytes = 0;
    block::ExtentKind kind = block::ExtentKind::data;  // in the newer one
};

struct DiffPage {
    std::vector<DiffRange> ranges;
    uint64_t next_offset_bytes = 0;  // where to go on
    bool finished = false;
};

// How far long work is; called now and then. false: stop (with `cancelled`).
using Progress = std::function<bool(uint64_t done_bytes, uint64_t total_bytes)>;

struct ScrubOptions {
    uint64_t bytes_per_second = 0;  // 0: no limit
    Progress progress;
};

struct HydrateOptions {
    Progress progress;
    // An origin that does not answer, and a pool without space, are waited for.
    bool patient = false;
};

struct ScrubReport {
    uint64_t blocks_checked = 0;
    uint64_t blocks_repaired = 0;
    uint64_t blocks_damaged = 0;
};

// Where one block of a volume lies, for `stoa-pool explain`.
struct BlockExplanation {
    block::ExtentKind kind = block::ExtentKind::absent;
    uint64_t address = 0;
    uint64_t birth = 0;
    uint32_t crc = 0;
    std::string device;
    uint64_t device_offset_bytes = 0;
    bool checksum_ok = false;
    std::vector<Uuid> shared_with;
};

// Lives on one executor; all calls come from its thread. Does not move. Every task below must
// have ended before close() is awaited, but for those of attached volumes, which close() cancels.
class Pool {
public:
    // Writes a new, empty pool on `devices` (1 .. 32). They stay the caller's.
    // Whatever can be found out is found out of all devices before one of them is changed.
    // Errors: already_exists (data of others, without force), invalid_argument, no_space
    // (too small: the message says how much is needed), io.
    static io::Task<Result<void>> create(io::Executor& executor, std::vector<io::Device*> devices,
                                         CreateOptions options);

    // Opens, recovers if the last run ended without close(), and starts background work.
    // If some objects of the pool cannot be read, those that can are there, read-only.
    // `devices` outlive the pool, in any order. Errors: not_found (no pool on them), corrupt (no
    // superblock verifies; or damaged, without accept_damaged), unsupported (format flags),
    // busy, io (also: the journal needs a missing device to be replayed), invalid_argument
    // (foreign, duplicated, shrunk, older or missing device, or one that was written without the
    // others while these were written without it: named).
    static io::Task<Result<std::unique_ptr<Pool>>> open(io::Executor& executor,
                                                        std::vector<io::Device*> devices,
                                                        OpenOptions options);

    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;
    ~Pool();  // CHECKs that close() finished

    // Drops held writes, ends requests in flight, writes a checkpoint. Call once, always.
    // An error means that the next open recovers from the journal; nothing acknowledged is lost.
    io::Task<Result<void>> close();

    [[nodiscard]] PoolInfo info() const;
    [[nodiscard]] Counters counters() const;

    // ---- devices
    // Takes notice that device `index` has grown.
    io::Task<Result<void>> grow_device(size_t index);
    // `foreign`: as in CreateOptions.
    io::Task<Result<void>> add_device(io::Device& device, bool force,
                                      io::ForeignData* foreign = nullptr);

    // ---- volumes. All changes are durable when their task resolves.
    io::Task<Result<Uuid>> create_volume(VolumeSpec spec);
    // Refused (in_use, naming who) while protected or attached. Snapshots of a deleted volume
    // are deleted with it, those with clones stay hidden until the clones go.
    io::Task<Result<void>> delete_volume(Uuid volume);
    io::Task<Result<void>> rename_volume(Uuid volume, std::string name);
    // Shrinking loses what lies beyond and needs `allow_shrink`.
    io::Task<Result<void>> resize_volume(Uuid volume, uint64_t size_bytes, bool allow_shrink);
    io::Task<Result<void>> protect(Uuid volume_or_snapshot, bool on);
    io::Task<Result<void>> set_tags(Uuid volume, std::vector<std::byte> tags);
    [[nodiscard]] std::vector<VolumeInfo> volumes() const;
    [[nodiscard]] Result<VolumeInfo> volume(Uuid volume) const;
    [[nodiscard]] Result<Uuid> find_volume(const std::string& name) const;

    // ---- snapshots: one instant for all of `specs` (1 .. 256).
    io::Task<Result<std::vector<Uuid>>> snapshot(std::vector<SnapshotSpec> specs);
    io::Task<Result<void>> delete_snapshot(Uuid snapshot);
    // A new volume with the snapshot's content. spec.size_bytes 0: the snapshot's size.
    io::Task<Result<Uuid>> clone(Uuid snapshot, VolumeSpec spec);
    // The volume gets the snapshot's content and size; newer snapshots stay.
    io::Task<Result<void>> rollback(Uuid volume, Uuid snapshot);
    // Copies what the clone shares with its parent, then lets go of the parent. Long; resumes by
    // itself after a crash. Refused while the volume has snapshots of its own, and (busy) while the
    // reclaim of its deleted parent does not go on; else it waits for that. Stopped by `progress`
    // it does not resume.
    io::Task<Result<void>> flatten(Uuid volume, Progress progress = {});
    [[nodiscard]] std::vector<SnapshotInfo> snapshots(std::optional<Uuid> volume) const;
    [[nodiscard]] Result<SnapshotInfo> snapshot_info(Uuid snapshot) const;

    // ---- use
    // Serves a volume (or a snapshot, read-only). Closing: close_handle(), which waits for what
    // is in flight; a request of a closed handle never changes the map afterwards.
    io::Task<Result<block::Volume*>> attach(Uuid volume_or_snapshot, bool read_only);
    // One more handle of the same attachment, for one of its users: detached first, it drops what
    // that user's writes wait for, and no other's.
    block::Volume* share(block::Volume* handle);
    io::Task<void> detach(block::Volume* handle);

    // ---- knowledge
    // Ranges that may differ between two trees (snapshots or volumes) of one volume's family,
    // from `offset_bytes` on, at most `ranges_max`. Covers every true difference.
    // Errors: needs_full (no common ancestry), not_found, corrupt, io.
    io::Task<Result<DiffPage>> diff(Uuid from, Uuid to, uint64_t offset_bytes, size_t ranges_max);
    // Bytes that deleting the snapshot or volume would free now. Exact while !space.settling.
    io::Task<Result<uint64_t>> exclusive_bytes(Uuid volume_or_snapshot);
    io::Task<Result<ScrubReport>> scrub(ScrubOptions options);
    [[nodiscard]] std::vector<DamageRange> damage() const;
    io::Task<Result<BlockExplanation>> explain(Uuid volume_or_snapshot, uint64_t offset_bytes);

    // ---- background work
    // Waits until reclaim and hydration have nothing left to do (hydration only of available
    // origins). Errors: what stopped them.
    io::Task<Result<void>> settle();
    // Copies every absent block of the volume and of its relatives with the same origin (snapshots,
    // clones of them, what it was cloned from) from the origin, once for all that share it; then
    // none of them asks the origin, what is made of them neither. Long; after a crash it goes on by
    // itself while the origin is available. What is fetched is no difference between two trees.
    // Errors: io (the origin), no_space, busy (a relative is being hydrated or flattened, or its
    // deletion cannot go on), corrupt, cancelled. Called again it goes on; stopped by `progress` it
    // goes on only if called again.
    io::Task<Result<void>> hydrate(Uuid volume, HydrateOptions options = {});
    io::Task<Result<void>> checkpoint();

private:
    class Impl;
    explicit Pool(std::unique_ptr<Impl> impl);
    std::unique_ptr<Impl> impl_;
};

}  // namespace stoa::pool
