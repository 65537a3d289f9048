#include "dataplane/pool/scrub.h"

#include <algorithm>

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
        }
        co_return report_;
    }

private:
    // What the parent holds identically was or will be checked there.
    io::Task<Result<void>> scrub_tree(ObjectId id) {
        BlockIndex cursor = 0;
        while (cursor < kBlocksPerTree && !stopped_) {
            const ReadGuard guard(core_);
            // Looked up anew after each suspension: it may be deleted meanwhile.
            Object* object = core_.objects.find(id);
            if (object == nullptr || is_gone(core_, *object)) break;
            if (core_.closing) co_return Error(ErrorCode::cancelled, "the pool is closing");
            const Found found = find_leaf(core_.cache, object->record.root, cursor);
            if (found.missing.any()) {
                const Result<Node*> loaded =
                    co_await core_.cache.load(found.missing.entry, found.missing.level);
                if (!loaded.ok()) cursor = note_lost(id, cursor, found.missing.level);
                continue;
            }
            const BlockIndex end = found.end(cursor);
            if (found.leaf == nullptr) {
                cursor = end;
                continue;
            }
            std::array<Entry, kFanout> entries;
            std::copy_n(found.leaf->entries, kFanout, entries.begin());
            const Missing missing = leave_to_parent(*object, cursor, entries);
            if (missing.any()) {
                const Result<Node*> loaded =
                    co_await core_.cache.load(missing.entry, missing.level);
                if (loaded.ok()) continue;
            }
            CO_TRY(co_await scrub_leaf(id, cursor / kFanout * kFanout, entries));
            cursor = end;
        }
        co_return Result<void>{};
    }

    // The node of `level` at `block` is lost, and everything below it. Where to go on.
    BlockIndex note_lost(ObjectId id, BlockIndex block, int level) {
        const uint64_t span = entry_blocks(level + 1);
        const BlockIndex end = (block / span + 1) * span;
        ++report_.blocks_damaged;
        Object* object = core_.objects.find(id);
        if (object != nullptr && block < object->record.size_blocks()) {
            note_damage(core_, *object, block, std::min(end, object->record.size_blocks()) - block);
        }
        return end;
    }

    // Takes out what the parent of `object` holds as well, unless something must be loaded first.
    Missing leave_to_parent(const Object& object, BlockIndex block,
                            std::array<Entry, kFanout>& entries) {
        const Object* parent = core_.objects.find(object.record.parent);
        if (parent == nullptr || is_gone(core_, *parent)) return {};
        const Found theirs = find_leaf(core_.cache, parent->record.root, block);
        if (theirs.missing.any()) return theirs.missing;
        const BlockIndex first = block / kFanout * kFanout;
        for (size_t i = 0; i < kFanout; ++i) {
            if (theirs.entry(first + i) == entries[i]) entries[i] = Entry{};
        }
        return {};
    }

    io::Task<Result<void>> scrub_leaf(ObjectId id, BlockIndex first,
                                      const std::array<Entry, kFanout>& entries) {
        for (size_t i = 0; i < kFanout; ++i) {
            if (entries[i].kind() != EntryKind::data) continue;
            const Result<uint64_t> repaired = co_await core_.blocks.verify_copies(entries[i]);
            ++report_.blocks_checked;
            if (!repaired.ok()) {
                ++report_.blocks_damaged;
                if (Object* object = core_.objects.find(id); object != nullptr) {
                    note_damage(core_, *object, first + i);
                }
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
    bool stopped_ = false;
};

}  // namespace

io::Task<Result<ScrubReport>> scrub_pool(Core& core, ScrubOptions options) {
    Scrubber scrubber(core, options);
    co_return co_await scrubber.run();
}

}  // namespace stoa::pool
