#include "dataplane/pool/commit.h"

#include <algorithm>

#include <fmt/format.h>

#include "dataplane/io/system_error.h"

namespace stoa::pool {

namespace {

size_t commit_bytes_max(const Core& core) {
    size_t bytes = core.journal.ring_blocks() / 8 * kJournalPayloadBytes;
    bytes = std::min<size_t>(bytes, std::max<uint64_t>(core.options.cache_bytes / 8, 1 << 16));
    if (core.options.knobs.commit_bytes_max != 0) {
        bytes = std::min<size_t>(bytes, core.options.knobs.commit_bytes_max);
    }
    return std::max<size_t>(bytes, kJournalPayloadBytes) - kCommitEndBytes;
}

// One commit of the records that are in no commit yet, as many as fit, to the journal. The one
// before is durable: recovery takes a commit for durable as soon as its successor exists.
io::Task<Result<void>> append_commit(Core& core, const std::function<void()>& at_boundary,
                                     bool& reached_head) {
    // After a failed commit its records must not follow it in another: both may be on the devices.
    if (core.failure && !MUTANT(49)) co_return core.read_only_error();
    uint64_t position = core.appended_position;
    std::vector<std::byte>& payload = core.commit_payload;
    payload.clear();
    payload.reserve(std::min<uint64_t>(commit_bytes_max(core), core.log.head() - position) +
                    kCommitEndBytes);
    CommitEnd end;
    end.first_sequence = core.appended_sequence + 1;
    const uint64_t records = core.log.copy_out(position, commit_bytes_max(core), payload);
    end.last_sequence = core.appended_sequence + records;
    end.wall_ns = core.executor.wall_ns();
    reached_head = position == core.log.head();
    core.data_since_commit = 0;
    if (reached_head && at_boundary) at_boundary();
    if (records == 0) co_return Result<void>{};
    // A large record may need more than an eighth; the ring always has room for one commit, since
    // writers stop at three quarters.
    if (JournalWriter::blocks_for(payload.size()) > core.journal.free_blocks()) {
        co_return Error(ErrorCode::no_space, fmt::format("the journal has no room for a commit of "
                                                         "{} bytes",
                                                         payload.size()));
    }
    if (MUTANT(46)) {  // a flush during this commit finds nothing to wait for
        core.durable_sequence = end.last_sequence;
        core.commit_done.notify_all();
    }
    int error = 0;
    if (MUTANT(12)) error = co_await core.devices.flush_touched();  // before, instead of after
    core.appended_proven = core.durable_commit;
    error = co_await core.journal.write_commit(payload, end, core.superblock.generation,
                                               core.durable_commit);
    if (error != 0) co_return Error(ErrorCode::io, "a commit could not be written", error);
    core.appended_sequence = end.last_sequence;
    core.appended_position = position;
    ++core.counters.commits;
    if (MUTANT(52)) core.durable_sequence = end.last_sequence;  // written is not yet durable
    co_return Result<void>{};
}

// One flush makes durable what was appended.
io::Task<Result<void>> flush_appended(Core& core) {
    if (core.failure && !MUTANT(49)) co_return core.read_only_error();
    if (core.appended_position == core.committed_position) co_return Result<void>{};
    const int error = MUTANT(12) ? 0 : co_await core.devices.flush_touched();
    if (error != 0) {
        co_return io::failed_io("a commit could not be made durable", error);
    }
    core.proven_commit = core.appended_proven;
    core.durable_commit = core.journal.last_commit();
    core.durable_sequence = core.appended_sequence;
    core.committed_position = core.appended_position;
    core.log.trim(core.committed_position);
    core.commit_done.notify_all();
    core.room.notify_all();
    co_return Result<void>{};
}

io::Task<Result<void>> commit_once(Core& core, const std::function<void()>& at_boundary,
                                   bool& reached_head) {
    CO_TRY(co_await flush_appended(core));
    CO_TRY(co_await append_commit(core, at_boundary, reached_head));
    co_return co_await flush_appended(core);
}

// What the flush waits for may be in the journal already.
io::Task<Result<void>> commit_for_flush(Core& core) {
    const uint64_t before = core.durable_sequence;
    bool reached_head = false;
    if (core.appended_sequence > before) CO_TRY(co_await flush_appended(core));
    else CO_TRY(co_await commit_once(core, {}, reached_head));
    const bool alone =
        core.durable_sequence == before + 1 && core.wanted_sequence <= core.durable_sequence;
    core.lone_records = alone ? core.lone_records + 1 : 0;
    co_return Result<void>{};
}

}  // namespace

io::Task<Result<void>> commit_all(Core& core, const std::function<void()>& at_boundary) {
    for (bool reached_head = false; !reached_head;) {
        Result<void> result = co_await commit_once(core, at_boundary, reached_head);
        if (!result.ok()) {
            core.fail(result.error());
            co_return result;
        }
    }
    co_return Result<void>{};
}

io::Task<Result<void>> make_durable(Core& core, const bool* give_up) {
    const uint64_t sequence = core.log.last_sequence();
    if (MUTANT(13)) co_return Result<void>{};  // acknowledge before the append
    while (core.durable_sequence < sequence) {
        if (!core.writable()) co_return core.read_only_error();
        if (core.gives_up(give_up)) {
            co_return Error(ErrorCode::cancelled,
                            fmt::format("a flush waited for space below pool {} and is dropped",
                                        core.label.name));
        }
        if (core.wanted_sequence < sequence) {
            core.wanted_sequence = sequence;
            core.commit_wanted.notify_all();
        }
        co_await core.commit_done.wait();
    }
    co_return Result<void>{};
}

io::Task<void> run_committer(Core& core) {
    while (core.writable()) {
        const bool some_wait = core.wanted_sequence > core.durable_sequence;
        const bool much = core.log.head() - core.appended_position > commit_bytes_max(core) / 2 ||
                          core.data_since_commit > (uint64_t{64} << 20) ||
                          core.log.head() - core.log.tail() > core.log.capacity() / 2;
        const bool early =
            core.appends_early() && core.log.last_sequence() > core.appended_sequence;
        if (some_wait || much || early) {
            io::Mutex::Guard guard = co_await core.commit_lock.lock();
            bool reached_head = false;
            Result<void> result;
            if (much) result = co_await commit_once(core, {}, reached_head);
            else if (some_wait) result = co_await commit_for_flush(core);
            else result = co_await append_commit(core, {}, reached_head);
            if (!result.ok()) core.fail(result.error());
            continue;
        }
        if (core.closing && core.background_stopped) co_return;
        co_await core.commit_wanted.wait();
    }
}

io::Task<void> run_prover(Core& core) {
    while (core.writable() && !core.closing) {
        if (core.durable_commit <= core.proven_commit) {
            co_await core.commit_done.wait();
            continue;
        }
        const uint64_t seen = core.durable_commit;
        co_await core.executor.sleep_ns(core.options.knobs.proof_delay_ns);
        if (core.durable_commit != seen || !core.writable()) continue;
        // Appended early, and no flush came: only what is durable can be proven.
        if (core.appended_sequence > core.durable_sequence) {
            core.wanted_sequence = std::max(core.wanted_sequence, core.appended_sequence);
            core.commit_wanted.notify_all();
            co_await core.commit_done.wait();
            continue;
        }
        io::Mutex::Guard guard = co_await core.commit_lock.lock();
        if (core.durable_commit != seen || core.journal.last_commit() != seen) continue;
        if (core.failure) co_return;
        if (core.journal.free_blocks() == 0) continue;
        const int error = co_await core.journal.write_proof(seen, core.superblock.generation);
        if (error != 0) {
            core.fail(io::failed_io("a journal note could not be written", error));
            co_return;
        }
        core.proven_commit = seen;
    }
}

io::Task<void> run_idle_watch(Core& core) {
    // Sleeps cannot be interrupted: short ones, so that close() does not wait.
    constexpr uint64_t kSliceNs = 50'000'000;
    while (core.writable() && !core.closing) {
        if (core.records_since_checkpoint == 0) {
            co_await core.commit_done.wait();
            continue;
        }
        const uint64_t seen = core.log.last_sequence();
        const uint64_t due = core.executor.now_ns() + core.options.knobs.idle_checkpoint_ns;
        while (core.executor.now_ns() < due && core.log.last_sequence() == seen &&
               core.writable() && !core.closing) {
            co_await core.executor.sleep_ns(
                std::min(kSliceNs, core.options.knobs.idle_checkpoint_ns));
        }
        const bool quiet = core.log.last_sequence() == seen;
        if (quiet && core.writable() && !core.closing && core.records_since_checkpoint > 0) {
            core.want_checkpoint();
            co_await core.checkpoint_signal.wait();
        }
    }
}

}  // namespace stoa::pool
