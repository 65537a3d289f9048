#include "dataplane/pool/recovery.h"

#include <algorithm>

#include <fmt/format.h>

#include "dataplane/io/system_error.h"
#include "dataplane/pool/checkpoint.h"
#include "dataplane/pool/history.h"
#include "dataplane/pool/replay.h"

namespace stoa::pool {

namespace {

std::array<JournalPlace, 2> journal_places(const Core& core) {
    std::array<JournalPlace, 2> places;
    for (size_t copy = 0; copy < 2; ++copy) {
        const size_t device = core.superblock.placement[copy];
        places[copy] = {device, core.devices.list[device].layout.journal[copy]};
    }
    return places;
}

// Blocks read beside each other, to see whether what an unproven commit names was written.
class DataCheck {
public:
    explicit DataCheck(Core& core) : core_(core), reads_(core.executor, kReadsAtOnce) {}

    io::Task<Result<bool>> verifies(ConstBytes payload) {
        io::TaskGroup group(core_.executor);
        while (!payload.empty() && good_) {
            size_t used = 0;
            Result<Record> record = decode_record(payload, used);
            if (!record.ok()) {
                co_await group.join();
                co_return record.take_error();
            }
            payload = payload.subspan(used);
            const auto* map = std::get_if<MapRecord>(&*record);
            if (map == nullptr) continue;
            for (const Entry& entry : map->now) {
                if (entry.kind() != EntryKind::data) continue;
                if (!core_.regions.is_plausible(entry.address(), RegionClass::data)) good_ = false;
                if (!good_) break;
                co_await reads_.acquire();
                group.spawn(check(entry));
            }
        }
        co_await group.join();
        co_return good_;
    }

private:
    static constexpr uint64_t kReadsAtOnce = 64;

    io::Task<void> check(Entry entry) {
        AlignedBuffer block(kBlockBytes);
        const Result<void> read = co_await core_.blocks.read(entry, block.bytes(), false);
        // What lies on a missing device cannot be asked; the rest was flushed with it.
        if (!read.ok() && !core_.regions.is_away(entry.address())) good_ = false;
        reads_.release();
    }

    Core& core_;
    io::Semaphore reads_;
    bool good_ = true;
};

struct Scan {
    uint64_t cut_block = 0;
    uint64_t last_commit = 0;
    uint64_t last_sequence = 0;
    uint64_t highest_incarnation = 0;
    std::optional<std::string> damage;
};

// Pass 1: the cut, and the allocator's changes up to it.
io::Task<Result<Scan>> scan_journal(Core& core, SpaceReplay& space) {
    const Superblock& sb = core.superblock;
    JournalReader reader(core.devices, core.checksums, sb, journal_places(core),
                         core.label.journal_blocks);
    Scan scan{sb.journal_start, sb.commit, sb.sequence, 0, std::nullopt};
    // A commit counts once its successor or the end of the scan has shown that it stands.
    std::optional<ScannedCommit> last;
    for (;;) {
        CO_TRY_ASSIGN(std::optional<ScannedCommit> commit, co_await reader.next());
        if (last && commit) {
            CO_TRY(space.collect(core, last->payload));
            scan = {last->next_block, last->number, last->last_sequence, 0, std::nullopt};
        }
        if (!commit) break;
        last = std::move(commit);
    }
    if (last) {
        bool stands = last->number <= reader.proven();
        if (!stands) {
            // Region assignments in it must be known before its blocks can be looked at.
            CO_TRY(space.collect_assignments(core, last->payload));
            DataCheck check(core);
            if (MUTANT(26)) {
                stands = true;  // the checksum is skipped in replay
            } else {
                CO_TRY_ASSIGN(stands, co_await check.verifies(last->payload));
            }
            if (!stands) {
                space.undo_assignments();
                core.event(fmt::format("commit {} was not durable and is dropped", last->number));
            }
        }
        if (stands) {
            CO_TRY(space.collect(core, last->payload));
            scan = {last->next_block, last->number, last->last_sequence, 0, std::nullopt};
        }
    }
    CO_TRY_ASSIGN(scan.damage, co_await reader.find_damage());
    scan.highest_incarnation = reader.highest_incarnation();
    co_return scan;
}

// The new incarnation is durable before the first block is written or the first read answered.
io::Task<Result<void>> begin_incarnation(Core& core, const Scan& scan, bool keep_acknowledged) {
    Superblock next = core.superblock;
    next.flags = 0;
    // Above everything in the ring, also what an override leaves behind.
    next.incarnation = std::max(next.incarnation, scan.highest_incarnation) + 1;
    const Cut cut{scan.cut_block, next.incarnation, scan.last_sequence};
    // Blocks that were lost since an earlier cut pull this one back.
    std::erase_if(next.cuts,
                  [&cut](const Cut& earlier) { return earlier.journal_block > cut.journal_block; });
    if (!next.cuts.empty() && next.cuts.back().journal_block == cut.journal_block) {
        next.cuts.back() = cut;
    } else if (next.cuts.size() < kCutsMax) {
        next.cuts.push_back(cut);
    } else {
        co_return Error(ErrorCode::corrupt,
                        fmt::format("{} recoveries in a row were interrupted", kCutsMax));
    }
    note_missing_devices(core.devices.list, core.executor, next);
    if (MUTANT(27)) next.incarnation = core.superblock.incarnation;
    if (!keep_acknowledged) next.acknowledged_incarnation = next.incarnation;
    co_return co_await write_superblock(core, next);
}

// Records of the dead process that no commit holds: applied, then committed from here, so that
// the ring keeps them until they are durable.
io::Task<Result<void>> take_over(Core& core, const RecordLog::Leftover& leftover, Scan& scan) {
    std::vector<std::byte> payload;
    uint64_t first = 0;
    uint64_t sequence = leftover.first_sequence;
    std::vector<ConstBytes> needed;
    for (const auto& record : leftover.records) {
        if (sequence++ > scan.last_sequence) needed.emplace_back(record);
    }
    const size_t bytes_max =
        (core.journal.ring_blocks() / 8) * kJournalPayloadBytes - kCommitEndBytes;
    for (size_t i = 0; i < needed.size();) {
        payload.clear();
        first = scan.last_sequence + 1;
        uint64_t last = scan.last_sequence;
        while (i < needed.size() &&
               (payload.empty() || payload.size() + needed[i].size() <= bytes_max)) {
            payload.insert(payload.end(), needed[i].begin(), needed[i].end());
            ++last;
            ++i;
        }
        SpaceReplay space;
        CO_TRY(space.collect(core, payload));
        CO_TRY(co_await space.apply(core));
        TreeReplay trees(core);
        CO_TRY(co_await trees.apply(payload));
        core.regions.forget_replay();
        if (core.options.read_only) {
            scan.last_sequence = last;
            continue;
        }
        CommitEnd end;
        end.first_sequence = first;
        end.last_sequence = last;
        end.wall_ns = core.executor.wall_ns();
        if (JournalWriter::blocks_for(payload.size()) > core.journal.free_blocks()) {
            co_return Error(ErrorCode::no_space, "the journal cannot take the acknowledged writes");
        }
        int error = co_await core.journal.write_commit(payload, end, core.superblock.generation,
                                                       core.durable_commit);
        if (error == 0) error = co_await core.devices.flush_touched();
        if (error != 0) {
            co_return io::failed_io("acknowledged writes could not be committed", error);
        }
        core.durable_commit = core.journal.last_commit();
        scan.last_sequence = last;
    }
    co_return Result<void>{};
}

}  // namespace

io::Task<Result<void>> recover(Core& core) {
    core.journal.configure(journal_places(core), core.label.journal_blocks);
    SpaceReplay space;
    CO_TRY_ASSIGN(Scan scan, co_await scan_journal(core, space));
    if (scan.damage && !core.options.accept_damaged && !core.options.read_only) {
        core.options.read_only = true;
        core.read_only_reason =
            "damaged: " + *scan.damage + "; open with the override to go on without it";
        core.event(core.read_only_reason);
    }
    const Superblock from = core.superblock;
    RecordLog::Leftover leftover = core.log.leftover(core.label.pool, from.incarnation);
    if (!leftover.present && from.acknowledged_incarnation != from.incarnation) {
        leftover = core.log.leftover(core.label.pool, from.acknowledged_incarnation);
    }
    const bool takes_over = leftover.present && !leftover.records.empty() &&
                            leftover.first_sequence <= scan.last_sequence + 1 && !MUTANT(28);
    if (leftover.present && !leftover.records.empty() && !takes_over) {
        core.event("acknowledged writes of the last process do not follow the journal: ignored");
    }
    const bool nothing_new = scan.last_commit == from.commit && !takes_over;
    if (!core.options.read_only) {
        // What the dead process wrote may still be in the devices' caches only: it was read back
        // above, and must be durable before the cut says that it stands.
        for (PoolDevice& device : core.devices.list) {
            device.touched = device.device != nullptr && !MUTANT(47);
        }
        core.blocks.set_writable(true);
        core.owner = core.random_uuid();
        if (takes_over)
            core.superblock.acknowledged_incarnation =
                core.log.leftover(core.label.pool, from.incarnation).present
                    ? from.incarnation
                    : from.acknowledged_incarnation;
        CO_TRY(co_await begin_incarnation(core, scan, takes_over));
    }
    core.journal.start(core.superblock.incarnation, scan.cut_block, from.journal_start,
                       scan.last_commit);
    core.durable_commit = scan.last_commit;
    core.proven_commit = scan.last_commit;
    CO_TRY(co_await space.apply(core));
    if (scan.last_commit > from.commit) {
        CO_TRY(co_await replay_trees(core, from, journal_places(core), scan.last_commit));
    }
    core.regions.forget_replay();
    if (takes_over) CO_TRY(co_await take_over(core, leftover, scan));
    core.durable_sequence = scan.last_sequence;
    core.wanted_sequence = scan.last_sequence;
    if (core.options.read_only) co_return Result<void>{};
    core.log.start(core.label.pool, core.superblock.incarnation, scan.last_sequence + 1);
    core.appended_sequence = scan.last_sequence;
    core.committed_position = core.log.head();
    core.appended_position = core.log.head();
    core.superblock.acknowledged_incarnation = core.superblock.incarnation;
    if (!nothing_new) CO_TRY(co_await write_checkpoint(core));
    co_return Result<void>{};
}

}  // namespace stoa::pool
