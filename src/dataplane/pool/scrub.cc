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
            Object* object = core_.objects.find(id);
            if (object == nullptr || is_gone(core_, *object)) break;
            if (core_.closing) co_return Error(ErrorCode::cancelled, "the pool is closing");
            const Object* parent = core_.objects.find(object->record.parent);
            const bool parent_checked = parent != nullptr && !is_gone(core_, *parent);
            Result<Found> found = co_await look_up(core_, *object, cursor);
            if (!found.ok()) {
                // The node is lost: everything below it is.
                ++report_.blocks_damaged;
                note_damage(core_, *object, cursor);
                cursor = (cursor / kFanout + 1) * kFanout;
                continue;
            }
            const BlockIndex end = found->end(cursor);
            if (found->leaf == nullptr) {
                cursor = end;
                continue;
            }
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
            CO_TRY(co_await scrub_leaf(id, cursor / kFanout * kFanout, entries));
            cursor = end;
        }
        co_return Result<void>{};
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
