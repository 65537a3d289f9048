#include "dataplane/pool/scrub.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "dataplane/pool/damage.h"
#include "dataplane/pool/map_change.h"
#include "dataplane/pool/scrub_system.h"
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
        if (!stopped_) CO_TRY(co_await scrub_objects());
        if (!stopped_ && core_.writable()) CO_TRY(co_await scrub_system_area(core_, report_));
        co_return report_;
    }

private:
    // The nodes on the way to a block by level, as they are named on the device.
    using Path = std::array<Entry, kRootLevel + 1>;

    io::Task<Result<void>> scrub_tree(ObjectId id) {
        BlockIndex cursor = 0;
        mapped_ = 0;
        const Object* before = core_.objects.find(id);
        const uint64_t changes = before == nullptr ? 0 : before->changes;
        const uint64_t damaged = report_.blocks_damaged;
        while (cursor < kBlocksPerTree && !stopped_) {
            if (core_.closing) co_return core_.closing_error();
            CO_TRY_ASSIGN(cursor, co_await scrub_piece(id, cursor));
            // Only now: who waits for room must not keep blocks from being reused.
            for (const DamagedBlocks& bad : std::exchange(bad_, {})) CO_TRY(co_await note(id, bad));
            co_await keep_rate();
        }
        if (!stopped_ && report_.blocks_damaged == damaged) correct_mapped(id, changes);
        co_return Result<void>{};
    }

    // In short steps: whoever closes the pool or stops the scrub does not wait for the rate.
    io::Task<void> keep_rate() {
        constexpr uint64_t kStepNs = 50'000'000;
        if (options_.bytes_per_second == 0) co_return co_await core_.executor.yield();
        const uint64_t done = report_.blocks_checked * kBlockBytes;
        const uint64_t due = started_ns_ + done * 1'000 / options_.bytes_per_second * 1'000'000;
        while (!core_.closing && !stopped_ && core_.executor.now_ns() < due) {
            const uint64_t left = due - std::min(due, core_.executor.now_ns());
            co_await core_.executor.sleep_ns(std::min(left, kStepNs));
            tell_progress();
        }
    }

    void tell_progress() {
        const uint64_t done = report_.blocks_checked * kBlockBytes;
        if (options_.progress && !options_.progress(done, std::max(done, total_bytes_))) {
            stopped_ = true;
        }
    }

    // Blocks that were lost with a node are in the count of mapped ones until here. No record: a
    // crash leaves the old count, for the next scrub.
    void correct_mapped(ObjectId id, uint64_t changes) {
        Object* object = core_.objects.find(id);
        if (!core_.writable() || object == nullptr || object->changes != changes ||
            is_gone(core_, *object) || object->record.mapped == mapped_) {
            return;
        }
        core_.event(fmt::format("{} has {} blocks, not {}", object->record.name, mapped_,
                                object->record.mapped));
        object->record.mapped = mapped_;
        core_.objects.mark_dirty(*object);
    }

    // What one entry or leaf at `cursor` covers; the result is the block behind it. What the parent
    // holds identically was or will be checked there.
    io::Task<Result<BlockIndex>> scrub_piece(ObjectId id, BlockIndex cursor) {
        const ReadGuard guard(core_);
        for (;;) {
            // Looked up anew after each suspension: it may be deleted meanwhile.
            const Object* object = core_.objects.find(id);
            if (object == nullptr || is_gone(core_, *object)) co_return kBlocksPerTree;
            const Found found = find_leaf(core_.cache, object->record.root, cursor);
            if (found.missing.any()) {
                const Result<Node*> loaded =
                    co_await core_.cache.load(found.missing.entry, found.missing.level);
                if (loaded.ok()) continue;
                co_return skip_lost_node(id, cursor);
            }
            const bool has_leaf = found.leaf != nullptr;
            std::array<Entry, kFanout> entries{};
            if (has_leaf) std::copy_n(found.leaf->entries, kFanout, entries.begin());
            const uint64_t mapped = static_cast<uint64_t>(std::ranges::count_if(
                entries, [](const Entry& entry) { return entry.kind() == EntryKind::data; }));
            const Path path = path_of(*object, cursor);
            Path theirs{};
            const Missing missing = leave_to_parent(*object, cursor, entries, theirs);
            if (missing.any()) {
                const Result<Node*> loaded =
                    co_await core_.cache.load(missing.entry, missing.level);
                if (loaded.ok()) continue;
            }
            mapped_ += mapped;
            co_await scrub_nodes(path, theirs);
            if (has_leaf) CO_TRY(co_await scrub_leaf(cursor / kFanout * kFanout, entries));
            co_return found.end(cursor);
        }
    }

    // The node is lost: everything below it is. Where to go on.
    BlockIndex skip_lost_node(ObjectId id, BlockIndex cursor) {
        const Object* object = core_.objects.find(id);
        if (object == nullptr || is_gone(core_, *object)) return kBlocksPerTree;
        const Found found = find_leaf(core_.cache, object->record.root, cursor);
        if (!found.missing.any()) return cursor;  // somebody else could read it
        const DamagedBlocks lost = lost_with_node(core_, *object, cursor);
        report_.blocks_damaged += lost.count;
        if (lost.count > 0) bad_.push_back(lost);
        const uint64_t span = entry_blocks(found.missing.level + 1);
        return (cursor / span + 1) * span;
    }

    // Takes out what the parent of `object` holds as well, unless something must be loaded first.
    Missing leave_to_parent(const Object& object, BlockIndex block,
                            std::array<Entry, kFanout>& entries, Path& theirs) {
        const Object* parent = core_.objects.find(object.record.parent);
        if (parent == nullptr || is_gone(core_, *parent)) return {};
        const Found found = find_leaf(core_.cache, parent->record.root, block);
        if (found.missing.any()) return found.missing;
        theirs = path_of(*parent, block);
        const BlockIndex first = block / kFanout * kFanout;
        for (size_t i = 0; i < kFanout; ++i) {
            if (found.entry(first + i) == entries[i]) entries[i] = Entry{};
        }
        return {};
    }

    Path path_of(const Object& object, BlockIndex block) {
        Path path{};
        Entry entry = object.record.root;
        for (int level = kRootLevel; level >= 0 && entry.kind() == EntryKind::node; --level) {
            const Node* node = core_.cache.resident(entry);
            if (node == nullptr) break;
            const Entry named = core_.cache.identity(entry);
            if (!named.is_handle()) path[static_cast<size_t>(level)] = named;
            if (level > 0) entry = node->entries[entry_index(block, level)];
        }
        return path;
    }

    // Each interior node once, in all its copies; leaves that the parent does not hold.
    io::Task<void> scrub_nodes(Path path, Path theirs) {
        for (size_t level = 0; level < path.size(); ++level) {
            const Entry entry = path[level];
            if (entry.kind() != EntryKind::node || entry == theirs[level]) continue;
            if (level > 0 && !seen_.insert(entry.address()).second) continue;
            co_await scrub_node(entry);
        }
    }

    io::Task<void> scrub_node(Entry entry) {
        const Result<uint64_t> repaired = co_await core_.blocks.verify_copies(entry);
        if (repaired.ok()) {
            report_.blocks_repaired += *repaired;
            co_return;
        }
        // Bad on the device and still good in memory: it is put back.
        Node* node = core_.cache.resident(entry);
        if (node == nullptr || node->dirty || !core_.writable()) co_return;
        const PinGuard pin(node);
        if (co_await core_.blocks.write(entry.address(), node->bytes()) == 0) {
            ++report_.blocks_repaired;
        }
    }

    // Object blocks and the nodes above them.
    io::Task<Result<void>> scrub_objects() {
        const uint64_t blocks =
            (uint64_t{core_.objects.slot_count()} + kObjectsPerBlock - 1) / kObjectsPerBlock;
        for (BlockIndex n = 0; n < blocks && !core_.closing;) {
            const ReadGuard guard(core_);
            const Found found = find_leaf(core_.cache, core_.object_tree.record.root, n);
            if (found.missing.any()) {
                CO_TRY_ASSIGN(Node * loaded,
                              co_await core_.cache.load(found.missing.entry, found.missing.level,
                                                        RegionClass::meta));
                static_cast<void>(loaded);
                continue;
            }
            const Entry entry = found.entry(n++);
            co_await scrub_nodes(path_of(core_.object_tree, n - 1), Path{});
            if (entry.kind() != EntryKind::data) continue;
            const Result<uint64_t> repaired = co_await core_.blocks.verify_copies(entry);
            ++report_.blocks_checked;
            if (repaired.ok()) report_.blocks_repaired += *repaired;
            else core_.event(repaired.error().message());
        }
        co_return Result<void>{};
    }

    io::Task<Result<void>> note(ObjectId id, DamagedBlocks bad) {
        constexpr size_t kRecordBytes = 600;
        if (core_.writable()) CO_TRY(co_await core_.wait_for_room(kRecordBytes));
        Object* object = core_.objects.find(id);
        if (object != nullptr) note_damage(core_, *object, bad.first, bad.count);
        co_return Result<void>{};
    }

    // What is on the list of damage and reads right (again: its device was away) comes off it.
    io::Task<Result<void>> recheck_damage(ObjectId id) {
        const Object* object = core_.objects.find(id);
        if (object == nullptr || object->damage_count == 0) co_return Result<void>{};
        for (const DamagedBlocks& range : damaged_blocks(core_, id)) {
            BlockIndex good_from = range.first;
            for (BlockIndex block = range.first; block < range.first + range.count; ++block) {
                if (core_.closing) co_return core_.closing_error();
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
            if (entries[i].kind() == EntryKind::damaged) {
                ++report_.blocks_damaged;
                bad_.push_back({first + i, 1});
            }
            if (entries[i].kind() != EntryKind::data) continue;
            const Result<uint64_t> repaired = co_await core_.blocks.verify_copies(entries[i]);
            ++report_.blocks_checked;
            if (!repaired.ok()) {
                ++report_.blocks_damaged;
                bad_.push_back({first + i, 1});
            } else {
                report_.blocks_repaired += *repaired;
            }
        }
        tell_progress();
        co_return Result<void>{};
    }

    Core& core_;
    const ScrubOptions& options_;
    uint64_t started_ns_;
    uint64_t total_bytes_ = 0;
    ScrubReport report_;
    std::vector<DamagedBlocks> bad_;
    uint64_t mapped_ = 0;  // of the tree that is looked at
    std::unordered_set<BlockAddress> seen_;  // interior nodes
    bool stopped_ = false;
};

}  // namespace

io::Task<Result<ScrubReport>> scrub_pool(Core& core, ScrubOptions options) {
    Scrubber scrubber(core, options);
    co_return co_await scrubber.run();
}

}  // namespace stoa::pool
