#include "dataplane/pool/diff.h"

#include <algorithm>

#include <fmt/format.h>

#include "dataplane/pool/map_change.h"
#include "dataplane/pool/structure.h"

namespace stoa::pool {

namespace {

constexpr size_t kEntriesPerStretch = 65536;

ObjectId root_of(const Core& core, const Object& object) {
    const Object* at = &object;
    while (const Object* parent = core.objects.find(at->record.parent)) at = parent;
    return at->record.id;
}

block::ExtentKind kind_of(const Entry& entry) {
    switch (entry.kind()) {
        case EntryKind::hole: return block::ExtentKind::hole;
        case EntryKind::data: return block::ExtentKind::data;
        case EntryKind::damaged: return block::ExtentKind::damaged;
        case EntryKind::absent:
        case EntryKind::node: break;
    }
    return block::ExtentKind::absent;
}

class DiffWalk {
public:
    DiffWalk(Core& core, const Object& from, const Object& to, DiffPage& page, size_t ranges_max)
        : core_(core), from_(from), to_(to), page_(page), ranges_max_(ranges_max),
          end_(std::max(from.record.size_blocks(), to.record.size_blocks())) {
        // A shrink that is not finished has not zeroed the rest of its last block yet.
        const Object& smaller = from.record.size_bytes < to.record.size_bytes ? from : to;
        if (smaller.record.has(ObjectRecord::kTrimming) &&
            from.record.size_bytes != to.record.size_bytes &&
            smaller.record.size_bytes % kBlockBytes != 0) {
            ragged_ = smaller.record.size_bytes / kBlockBytes;
        }
    }

    // Goes on from `cursor`; stops at `missing`, at a full page, after enough work, or at the end.
    void run(BlockIndex& cursor, Missing& missing) {
        size_t visited = 0;
        while (cursor < end_ && visited < kEntriesPerStretch && !full_ && !missing.any()) {
            descend(cursor, missing, visited);
        }
    }
    [[nodiscard]] bool finished(BlockIndex cursor) const { return cursor >= end_; }

private:
    // Does a reader see the same through both entries?
    bool equal(const Entry& a, const Entry& b) const {
        // Lost in both: what they held may have differed.
        if (a.kind() == EntryKind::damaged || b.kind() == EntryKind::damaged) return false;
        if (core_.cache.identity(a) == core_.cache.identity(b)) return true;
        if (MUTANT(31) && b.birth() <= from_.record.epoch && b.kind() != EntryKind::absent) {
            return true;  // pruned by birth, as if there were no branches
        }
        if (a.kind() == EntryKind::node || b.kind() == EntryKind::node) return false;
        const bool origin_a = asks_origin(from_.record);
        const bool origin_b = asks_origin(to_.record);
        const auto zero = [](const Entry& e, bool origin) {
            return e.kind() == EntryKind::hole || (e.kind() == EntryKind::absent && !origin);
        };
        if (zero(a, origin_a) && zero(b, origin_b)) return true;
        const bool same_origin = from_.record.origin == to_.record.origin;
        if (a.kind() == EntryKind::absent && b.kind() == EntryKind::absent) {
            return origin_a == origin_b && same_origin;
        }
        // Fetched from the origin: what an absent block shows as well.
        const auto fetched = [&](const Entry& x, const Entry& y, bool y_asks) {
            return (x.flags() & Entry::kHydrated) != 0 && y.kind() == EntryKind::absent && y_asks &&
                   same_origin;
        };
        if (fetched(a, b, origin_b) || fetched(b, a, origin_a)) return true;
        // Fetched twice, each for a tree of its own.
        return same_origin && (a.flags() & b.flags() & Entry::kHydrated) != 0;
    }

    void emit(BlockIndex first, BlockIndex until, const Entry& now) {
        const uint64_t size = std::max(from_.record.size_bytes, to_.record.size_bytes);
        const uint64_t offset = first * kBlockBytes;
        const uint64_t length = std::min(until * kBlockBytes, size) - offset;
        block::ExtentKind kind = kind_of(now);
        if (kind == block::ExtentKind::absent && !asks_origin(to_.record)) {
            kind = block::ExtentKind::hole;
        }
        auto& ranges = page_.ranges;
        if (!ranges.empty() && ranges.back().kind == kind &&
            ranges.back().offset_bytes + ranges.back().length_bytes == offset) {
            ranges.back().length_bytes += length;
        } else if (ranges.size() == ranges_max_) {
            full_ = true;
        } else {
            ranges.push_back({offset, length, kind});
        }
    }

    void descend(BlockIndex& cursor, Missing& missing, size_t& visited) {
        // What a shrink has yet to trim beyond a tree's end is not content.
        const bool in_from = cursor < from_.record.size_blocks();
        const bool in_to = cursor < to_.record.size_blocks();
        BlockIndex limit = in_from && in_to
                               ? std::min(from_.record.size_blocks(), to_.record.size_blocks())
                               : end_;
        const bool forced = cursor == ragged_;
        if (forced) limit = cursor + 1;
        else if (cursor < ragged_) limit = std::min(limit, ragged_);
        Entry a = in_from ? from_.record.root : Entry::hole(0, 0);
        Entry b = in_to ? to_.record.root : Entry::hole(0, 0);
        for (int level = kRootLevel;; --level) {
            ++visited;
            const uint64_t span = entry_blocks(level + 1);
            const BlockIndex until = std::min(limit, (cursor / span + 1) * span);
            const bool a_node = a.kind() == EntryKind::node;
            const bool b_node = b.kind() == EntryKind::node;
            const bool same = !forced && equal(a, b);
            if (same || (!a_node && !b_node)) {
                if (!same) emit(cursor, until, b);
                if (!full_) cursor = until;
                return;
            }
            const Node* node_a = a_node ? core_.cache.resident(a) : nullptr;
            const Node* node_b = b_node ? core_.cache.resident(b) : nullptr;
            if (a_node && (node_a == nullptr || node_a->level != level)) {
                missing = {a, level};
                return;
            }
            if (b_node && (node_b == nullptr || node_b->level != level)) {
                missing = {b, level};
                return;
            }
            const Entry fill_a = a;
            const Entry fill_b = b;
            if (level == 0) {
                while (cursor < until && !full_) {
                    ++visited;
                    const size_t i = entry_index(cursor, 0);
                    const Entry& x = node_a != nullptr ? node_a->entries[i] : fill_a;
                    const Entry& y = node_b != nullptr ? node_b->entries[i] : fill_b;
                    if (forced || !equal(x, y)) emit(cursor, cursor + 1, y);
                    if (!full_) ++cursor;
                }
                return;
            }
            // Skip equal children without starting at the root again.
            size_t i = entry_index(cursor, level);
            bool skipped = false;
            while (i < kFanout) {
                a = node_a != nullptr ? node_a->entries[i] : fill_a;
                b = node_b != nullptr ? node_b->entries[i] : fill_b;
                if (forced || !equal(a, b)) break;
                ++i;
                ++visited;
                skipped = true;
            }
            if (skipped) {
                cursor = std::min(limit, cursor / span * span + i * entry_blocks(level));
                return;
            }
        }
    }

    Core& core_;
    const Object& from_;
    const Object& to_;
    DiffPage& page_;
    size_t ranges_max_;
    BlockIndex end_;
    BlockIndex ragged_ = ~BlockIndex{0};  // always listed
    bool full_ = false;
};

}  // namespace

io::Task<Result<DiffPage>> diff_trees(Core& core, Uuid from_uuid, Uuid to_uuid,
                                      uint64_t offset_bytes, size_t ranges_max) {
    if (offset_bytes % kBlockBytes != 0 || ranges_max == 0) {
        co_return Error(ErrorCode::invalid_argument,
                        fmt::format("a difference starts at a multiple of 4096 and has at least "
                                    "one range, not at {} with {}",
                                    offset_bytes, ranges_max));
    }
    DiffPage page;
    BlockIndex cursor = offset_bytes / kBlockBytes;
    for (;;) {
        CO_TRY_ASSIGN(const Object* from, find_live_tree(core, from_uuid));
        CO_TRY_ASSIGN(const Object* to, find_live_tree(core, to_uuid));
        if (root_of(core, *from) != root_of(core, *to)) {
            co_return Error(ErrorCode::needs_full,
                            fmt::format("{} and {} have no common ancestor: copy everything",
                                        from->record.name, to->record.name));
        }
        DiffWalk walk(core, *from, *to, page, ranges_max);
        Missing missing;
        walk.run(cursor, missing);
        page.next_offset_bytes = cursor * kBlockBytes;
        page.finished = walk.finished(cursor);
        if (page.finished || (!missing.any() && page.ranges.size() == ranges_max)) {
            co_return page;
        }
        if (missing.any()) {
            const ReadGuard guard(core);  // not longer: a checkpoint waits for readers
            CO_TRY_ASSIGN(Node * loaded, co_await core.cache.load(missing.entry, missing.level));
            static_cast<void>(loaded);
        } else {
            co_await core.executor.yield();
        }
    }
}

namespace {

// The entry of `block` in a tree as it is now; HOLE beyond its end, nothing if the tree is gone.
io::Task<Result<Entry>> entry_of(Core& core, Uuid uuid, BlockIndex block) {
    const ReadGuard guard(core);  // for each tree anew: a checkpoint waits for readers
    CO_TRY_ASSIGN(const Object* object, find_live_tree(core, uuid));
    if (block >= object->record.size_blocks()) co_return Entry::hole(0, 0);
    CO_TRY_ASSIGN(const Found found, co_await look_up(core, *object, block));
    co_return found.entry(block);
}

io::Task<Result<void>> explain_data(Core& core, Uuid uuid, BlockIndex block,
                                    BlockExplanation& result) {
    AlignedBuffer content(kBlockBytes);
    const ReadGuard guard(core);
    CO_TRY_ASSIGN(const Object* object, find_live_tree(core, uuid));
    CO_TRY_ASSIGN(const Found found, co_await look_up(core, *object, block));
    const Entry entry = found.entry(block);
    result.kind = kind_of(entry);
    result.birth = entry.birth();
    if (entry.kind() != EntryKind::data) co_return Result<void>{};
    result.address = entry.address();
    result.crc = entry.crc();
    if (!core.regions.is_plausible(entry.address(), RegionClass::data)) co_return Result<void>{};
    const Location at = core.regions.locate(entry.address(), 0);
    const PoolDevice& device = core.devices.list[at.device];
    result.device = device.device != nullptr ? device.device->name() : "missing";
    result.device_offset_bytes = at.block * kBlockBytes;
    const Result<void> read = co_await core.blocks.read(entry, content.bytes(), false);
    result.checksum_ok = read.ok();
    co_return Result<void>{};
}

}  // namespace

io::Task<Result<BlockExplanation>> explain_block(Core& core, Uuid uuid, uint64_t offset_bytes) {
    CO_TRY_ASSIGN(const Object* object, find_live_tree(core, uuid));
    if (offset_bytes >= object->record.size_bytes) {
        co_return Error(ErrorCode::out_of_range,
                        fmt::format("offset {} is beyond the end of {} ({} bytes)", offset_bytes,
                                    object->record.name, object->record.size_bytes));
    }
    const BlockIndex block = offset_bytes / kBlockBytes;
    BlockExplanation result;
    CO_TRY(co_await explain_data(core, uuid, block, result));
    if (result.kind != block::ExtentKind::data) co_return result;
    const Entry entry = Entry::make(EntryKind::data, result.address, result.birth, result.crc);
    std::vector<Uuid> others;
    for (const ObjectId id : core.objects.ids()) {
        const Object* other = core.objects.find(id);
        if (other->record.uuid != uuid && other->record.is_tree() && !is_gone(core, *other)) {
            others.push_back(other->record.uuid);
        }
    }
    for (const Uuid& other : others) {
        Result<Entry> theirs = co_await entry_of(core, other, block);
        if (!theirs.ok() && theirs.error().code() == ErrorCode::not_found) continue;  // gone by now
        CO_TRY(theirs);
        if (theirs->kind() == EntryKind::data && theirs->address() == entry.address() &&
            theirs->birth() == entry.birth() && theirs->crc() == entry.crc()) {
            result.shared_with.push_back(other);
        }
    }
    co_return result;
}

}  // namespace stoa::pool
