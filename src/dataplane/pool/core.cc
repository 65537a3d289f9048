#include "dataplane/pool/core.h"

#include <algorithm>

#include <fmt/format.h>

#include "dataplane/pool/volume_handle.h"

namespace stoa::pool {

namespace {

constexpr size_t kPrivateLogBytes = size_t{8} << 20;
constexpr uint64_t kCacheBytesMin = uint64_t{1} << 20;

size_t nodes_for(uint64_t cache_bytes) {
    // Three quarters for nodes; the rest for bitmaps and the lists of changes.
    const uint64_t bytes = std::max(cache_bytes, kCacheBytesMin) / 4 * 3;
    return bytes / (kBlockBytes + sizeof(Node) + 16);
}

}  // namespace

Core::Core(io::Executor& runs_on, OpenOptions with, const Label& pool_label,
           std::vector<PoolDevice> pool_devices, const Superblock& found)
    : executor(runs_on), options(std::move(with)), label(pool_label), checksums(pool_label.pool),
      devices(runs_on), regions(runs_on, devices, checksums, pool_label.region_blocks,
                                pool_label.regions_max, found.reserve_blocks),
      blocks(devices, regions, checksums),
      cache(runs_on, blocks, regions, epoch, nodes_for(options.cache_bytes)),
      lineage(objects, reclaiming), writer(cache, regions, lineage),
      log(options.acknowledged, kPrivateLogBytes, checksums), journal(runs_on, devices, checksums),
      bounce(runs_on, options.bounce_bytes), superblock(found),
      object_writer(cache, regions, lineage), epoch(found.epoch), next_object(found.next_object),
      commit_wanted(runs_on), commit_done(runs_on), commit_lock(runs_on), checkpoint_lock(runs_on),
      held_changed(runs_on), checkpoint_signal(runs_on), room(runs_on), readers_left(runs_on),
      workers(runs_on), background(runs_on), structure_lock(runs_on), work(runs_on),
      reclaim_signal(runs_on) {
    devices.list = std::move(pool_devices);
    devices.list.reserve(kDevicesMax);  // a device is added while others are written
    regions.set_blocks(blocks);
    devices.on_host_full([this](const PoolDevice& device, bool full) {
        event(fmt::format("{} device {} of pool {} {}",
                          full ? "the file system below" : "no write to", device.device->name(),
                          label.name,
                          full ? "is full: writes wait until it has space" : "waits any more"));
        wake_writers();
    });
    object_tree.record.kind = ObjectKind::volume;
    object_tree.record.root = found.object_root;
    dirty_limit = std::max<uint64_t>(cache.nodes_max() / 2, 16);
}

Core::~Core() = default;

Error Core::read_only_error() const {
    return {ErrorCode::read_only,
            fmt::format("pool {} is read-only: {}", label.name,
                        read_only_reason.empty() ? "it was opened so" : read_only_reason)};
}

Error Core::closing_error() const {
    return {ErrorCode::cancelled, fmt::format("pool {} is closing", label.name)};
}

void Core::fail(Error reason) {
    if (failure) return;
    read_only_reason = reason.message();
    failure = std::move(reason);
    blocks.set_writable(false);
    event("pool " + label.name + " is read-only now: " + read_only_reason);
    wake_all();
}

void Core::wake_writers() {
    room.notify_all();
    commit_done.notify_all();
}

void Core::wake_all() {
    commit_wanted.notify_all();
    held_changed.notify_all();
    commit_done.notify_all();
    checkpoint_signal.notify_all();
    room.notify_all();
    readers_left.notify_all();
    work.notify_all();
    reclaim_signal.notify_all();
}

io::Task<void> Core::wait_held() {
    if (++held == 1) held_changed.notify_all();
    co_await room.wait();
    --held;
}

void Core::append(ConstBytes record) {
    log.append(record);
    if (appends_early()) commit_wanted.notify_all();
    ++records_since_checkpoint;
    if (options.knobs.checkpoint_every_records != 0 &&
        records_since_checkpoint >= options.knobs.checkpoint_every_records) {
        want_checkpoint();
    }
    // Space that only a checkpoint can give back is wanted, or becomes much.
    const uint64_t quarantined = regions.quarantine();
    if (quarantined > 0 && (held > 0 || quarantined > regions.data_available() / 4))
        want_checkpoint();
    // The lists of changed blocks have a sixteenth of the cache, until a checkpoint takes them.
    if (regions.pending_bytes() > options.cache_bytes / 16) want_checkpoint();
}

void Core::want_checkpoint() {
    if (checkpoint_wanted) return;
    checkpoint_wanted = true;
    checkpoint_signal.notify_all();
}

uint64_t Core::ring_blocks_wanted() const {
    return journal.ring_blocks() - journal.free_blocks() +
           (log.head() - appended_position) / kJournalPayloadBytes;
}

bool Core::has_room(size_t bytes) {
    if (ring_blocks_wanted() > journal.ring_blocks() / 8 * 3) want_checkpoint();
    return writable() && log.fits(bytes) && ring_blocks_wanted() <= journal.ring_blocks() / 8 * 6;
}

uint64_t Core::slow_down_ns(bool makes_nodes) const {
    const uint64_t ring = journal.ring_blocks();
    const uint64_t soft = ring / 8 * 4;
    const uint64_t used = ring_blocks_wanted();
    uint64_t wait = 0;
    if (used > soft && checkpoint_wanted) wait = (used - soft) * 200'000 / ring;
    // Dirty nodes end at twice the limit; the wait grows with the square of what is above it.
    const uint64_t dirty = cache.dirty_count();
    if (makes_nodes && dirty > dirty_limit) {
        const uint64_t above = (dirty - dirty_limit) * 1'000 / dirty_limit;
        wait = std::max(wait, above * above);
    }
    return wait;
}

io::Task<Result<void>> Core::wait_for_room(size_t bytes, RoomOptions wanted) {
    // A small part of the log is kept for region assignments, which cannot wait.
    constexpr size_t kKept = 4096;
    bool slowed = false;
    for (;;) {
        if (!writable()) co_return read_only_error();
        if (closing && !wanted.even_when_closing) {
            co_return closing_error();
        }
        if (gives_up(wanted.give_up)) {
            co_return Error(
                ErrorCode::cancelled,
                fmt::format("a request waited for space below pool {} and is dropped", label.name));
        }
        if (RecordLog::kFrameBytes + bytes + kKept > log.capacity()) {
            co_return Error(ErrorCode::invalid_argument,
                            fmt::format("a change of {} bytes is too large for the log of "
                                        "acknowledged writes of pool {}, which has {}; make it in "
                                        "smaller parts",
                                        bytes, label.name, log.capacity()));
        }
        const uint64_t used = ring_blocks_wanted();
        const uint64_t ring = journal.ring_blocks();
        const uint64_t needed = bytes / kJournalPayloadBytes;
        if (needed > ring / 8 * 4) {
            co_return Error(ErrorCode::invalid_argument,
                            fmt::format("a change of {} bytes is too large for the journal of pool "
                                        "{}, which takes {} at once; make it in smaller parts",
                                        bytes, label.name, ring / 8 * 4 * kJournalPayloadBytes));
        }
        const bool log_full = !log.fits(bytes + kKept);
        const bool ring_full = used + needed > ring / 8 * 6;
        const bool cache_full = wanted.makes_nodes && cache.dirty_count() >= 2 * dirty_limit;
        if (used > ring / 8 * 3 || ring_full || cache.dirty_count() >= dirty_limit)
            want_checkpoint();
        if (log_full) {
            wanted_sequence = log.last_sequence();
            commit_wanted.notify_all();
        }
        if (!log_full && !ring_full && !cache_full) {
            const uint64_t wait = slowed ? 0 : slow_down_ns(wanted.makes_nodes);
            if (wait > 0) {
                slowed = true;
                co_await executor.sleep_ns(wait);
                continue;
            }
            co_return Result<void>{};
        }
        co_await room.wait();
    }
}

}  // namespace stoa::pool
