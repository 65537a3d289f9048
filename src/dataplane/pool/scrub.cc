#include "dataplane/pool/scrub.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "dataplane/pool/damage.h"
#include "dataplane/pool/map_change.h"
#include "dataplane/pool/structure.h"

namespace stoa::pool {

namespace {

class Scrubber {
public:
    Scrubber(Core& core, const ScrubOptions& options)
        : core_(core), options_(options), started_ns_(core.executor.now_ns()) {
        for (const auto& [id, object] : core.objects.all()) {
            if (object->record.is_tree()) total_bytes_ += object->record.mapped * kBlockBytes;
        }
    }

    io::Task<Result<ScrubReport>> run() {
        for (const ObjectId id : core_.objects.ids()) {
            const Object* object = core_.objects.find(id);
            if (object == nullptr || !object->record.is_tree() || is_gone(core_, *object)) continue;
            CO_TRY(co_await scrub_tree(id));
            if (stopped_) break;
            CO_TRY(co_await recheck_damage(id));
        }
        co_return report_;
    }

private:
    io::Task<Result<void>> scrub_tree(ObjectId id) {
        BlockIndex cursor = 0;
        while (cursor < kBlocksPerTree && !stopped_) {
            if (core_.closing) co_return Error(ErrorCode::cancelled, "the pool is closing");
            CO_TRY_ASSIGN(cursor, co_await scrub_piece(id, cursor));
            // Only now: who waits for room must not keep blocks from being reused.
            for (const BlockIndex block : std::exchange(bad_, {})) CO_TRY(co_await note(id, block));
        }
        co_return Result<void>{};
    }

    // What one entry or leaf at `cursor` covers; the result is the block behind it. What the parent
    // holds identically was or will be checked there.
    io::Task<Result<BlockIndex>> scrub_piece(ObjectId id, BlockIndex cursor) {
        const ReadGuard guard(core_);
        Object* object = core_.objects.find(id);
        if (object == nullptr || is_gone(core_, *object)) co_return kBlocksPerTree;
        const Object* parent = core_.objects.find(object->record.parent);
        const bool parent_checked = parent != nullptr && !is_gone(core_, *parent);
        Result<Found> found = co_await look_up(core_, *object, cursor);
        if (!found.ok()) {
            // The node is lost: everything below it is.
            ++report_.blocks_damaged;
            bad_.push_back(cursor);
            co_return (cursor / kFanout + 1) * kFanout;
        }
        const BlockIndex end = found->end(cursor);
        if (found->leaf == nullptr) co_return end;
        std::array<Entry, kFanout> entries;
        std::copy_n(found->leaf->entries, kFanout, entries.begin());
        if (parent_checked) {
            const Result<Found> theirs = co_await look_up(core_, *parent, cursor);
            for (size_t i = 0; theirs.ok() && i < kFanout; ++i) {
                if (theirs->entry(cursor / kFanout * kFanout + i) == entries[i]) {
                    entries[i] = Entry{};
                }
            }
        }
        CO_TRY(co_await scrub_leaf(cursor / kFanout * kFanout, entries));
        co_return end;
    }

    io::Task<Result<void>> note(ObjectId id, BlockIndex block) {
        constexpr size_t kRecordBytes = 600;
        if (core_.writable()) CO_TRY(co_await core_.wait_for_room(kRecordBytes));
        Object* object = core_.objects.find(id);
        if (object != nullptr) note_damage(core_, *object, block);
        co_return Result<void>{};
    }

    // What is on the list of damage and reads right (again: its device was away) comes off it.
    io::Task<Result<void>> recheck_damage(ObjectId id) {
        const Object* object = core_.objects.find(id);
        if (object == nullptr || object->damage_count == 0) co_return Result<void>{};
        for (const DamagedBlocks& range : damaged_blocks(core_, id)) {
            BlockIndex good_from = range.first;
            for (BlockIndex block = range.first; block < range.first + range.count; ++block) {
                if (core_.closing) co_return Error(ErrorCode::cancelled, "the pool is closing");
                if (co_await reads_right(id, block)) continue;
                CO_TRY(co_await take_off_list(id, good_from, block));
                good_from = block + 1;
            }
            CO_TRY(co_await take_off_list(id, good_from, range.first + range.count));
        }
        co_return Result<void>{};
    }

    io::Task<bool> reads_right(ObjectId id, BlockIndex block) {
        const ReadGuard guard(core_);
        const Object* object = core_.objects.find(id);
        if (object == nullptr || is_gone(core_, *object)) co_return false;
        const Result<Found> found = co_await look_up(core_, *object, block);
        if (!found.ok()) co_return false;
        const Entry entry = found->entry(block);
        if (entry.kind() == EntryKind::damaged) co_return false;
        if (entry.kind() != EntryKind::data) co_return true;
        const Result<uint64_t> repaired = co_await core_.blocks.verify_copies(entry);
        co_return repaired.ok();
    }

    io::Task<Result<void>> take_off_list(ObjectId id, BlockIndex first, BlockIndex end) {
        const Object* object = core_.objects.find(id);
        if (object == nullptr || first >= end) co_return Result<void>{};
        co_await clear_damage(core_, *object, first, end - first);
        co_return Result<void>{};
    }

    io::Task<Result<void>> scrub_leaf(BlockIndex first, const std::array<Entry, kFanout>& entries) {
        for (size_t i = 0; i < kFanout; ++i) {
            if (entries[i].kind() != EntryKind::data) continue;
            const Result<uint64_t> repaired = co_await core_.blocks.verify_copies(entries[i]);
            ++report_.blocks_checked;
            if (!repaired.ok()) {
                ++report_.blocks_damaged;
                bad_.push_back(first + i);
            } else {
                report_.blocks_repaired += *repaired;
            }
        }
        const uint64_t done = report_.blocks_checked * kBlockBytes;
        if (options_.progress && !options_.progress(done, std::max(done, total_bytes_))) {
            stopped_ = true;
        }
        if (options_.bytes_per_second > 0) {
            const uint64_t due = started_ns_ + done * 1'000 / options_.bytes_per_second * 1'000'000;
            if (due > core_.executor.now_ns()) co_await core_.executor.sleep_until(due);
        } else {
            co_await core_.executor.yield();
        }
        co_return Result<void>{};
    }

    Core& core_;
    const ScrubOptions& options_;
    uint64_t started_ns_;
    uint64_t total_bytes_ = 0;
    ScrubReport report_;
    std::vector<BlockIndex> bad_;  // found, not noted yet
    bool stopped_ = false;
};

}  // namespace

io::Task<Result<ScrubReport>> scrub_pool(Core& core, ScrubOptions options) {
    Scrubber scrubber(core, options);
    co_return co_await scrubber.run();
}

}  // namespace stoa::pool
