#include "dataplane/pool/damage.h"

#include <algorithm>

#include <fmt/format.h>

#include "dataplane/pool/limits.h"
#include "dataplane/pool/structure.h"

namespace stoa::pool {

namespace {

std::vector<Object*> ranges_of(Core& core, ObjectId tree) {
    std::vector<Object*> found;
    for (const ObjectId id : core.objects.damage_of(tree)) found.push_back(core.objects.find(id));
    return found;
}

}  // namespace

namespace {

// [first, end) is on no list yet; `before` is the range that ends where it begins, if any.
void note_gap(Core& core, Object& object, Object* before, BlockIndex first, BlockIndex end) {
    StructureRecord change;
    if (before != nullptr) {
        ObjectRecord record = before->record;
        record.damage_blocks += end - first;
        change.put(record);
        static_cast<void>(apply_structure_if_room(core, change));
        return;
    }
    core.event(end == first + 1 ? fmt::format("{} block {} is damaged", object.record.name, first)
                                : fmt::format("{} blocks {} to {} are damaged", object.record.name,
                                              first, end - 1));
    if (object.damage_count >= kDamageRangesMax || core.objects.slot_count() >= kObjectsMax / 2) {
        return;
    }
    ObjectRecord record;
    record.kind = ObjectKind::damage;
    record.id = core.next_object++;
    record.volume = object.record.id;
    record.damage_first = first;
    record.damage_blocks = end - first;
    change.put(record);
    static_cast<void>(apply_structure_if_room(core, change));
}

}  // namespace

void note_damage(Core& core, Object& object, BlockIndex first, uint64_t count) {
    if (!core.writable()) return;
    const BlockIndex end = first + count;
    std::vector<Object*> ranges;
    if (object.damage_count > 0) ranges = ranges_of(core, object.record.id);
    std::ranges::sort(ranges, {}, [](const Object* range) { return range->record.damage_first; });
    Object* before = nullptr;
    for (Object* range : ranges) {
        const BlockIndex range_first = range->record.damage_first;
        const BlockIndex range_end = range_first + range->record.damage_blocks;
        if (range_end < first) continue;
        if (range_first >= end) break;
        if (range_first > first) note_gap(core, object, before, first, range_first);
        first = range_end;
        before = range;
        if (first >= end) return;
    }
    if (first < end) note_gap(core, object, before, first, end);
}

DamagedBlocks lost_with_node(Core& core, const Object& object, BlockIndex block) {
    const Found found = find_leaf(core.cache, object.record.root, block);
    if (!found.missing.any()) return {block, 1};
    const uint64_t span = entry_blocks(found.missing.level + 1);
    const BlockIndex first = block / span * span;
    const BlockIndex end = std::min<BlockIndex>(first + span, object.record.size_blocks());
    return {first, end > first ? end - first : 0};
}

void note_lost_node(Core& core, Object& object, BlockIndex block) {
    const DamagedBlocks lost = lost_with_node(core, object, block);
    if (lost.count > 0) note_damage(core, object, lost.first, lost.count);
}

std::vector<DamagedBlocks> damaged_blocks(Core& core, ObjectId tree) {
    std::vector<DamagedBlocks> list;
    for (const Object* range : ranges_of(core, tree)) {
        list.push_back({range->record.damage_first, range->record.damage_blocks});
    }
    return list;
}

namespace {

// Takes [first, end) off the list of `tree`, as it is at this moment.
StructureRecord removal(Core& core, ObjectId tree, BlockIndex first, BlockIndex end) {
    StructureRecord change;
    for (Object* range : ranges_of(core, tree)) {
        ObjectRecord record = range->record;
        const BlockIndex range_end = record.damage_first + record.damage_blocks;
        if (end <= record.damage_first || first >= range_end) continue;
        if (first <= record.damage_first && end >= range_end) {
            change.remove(record.id);
        } else if (first <= record.damage_first) {
            record.damage_blocks = range_end - end;
            record.damage_first = end;
            change.put(record);
        } else {
            record.damage_blocks = first - record.damage_first;
            change.put(record);
            if (end < range_end) {
                record.id = core.next_object++;
                record.damage_first = end;
                record.damage_blocks = range_end - end;
                change.put(record);
            }
        }
    }
    return change;
}

}  // namespace

io::Task<void> clear_damage(Core& core, const Object& object, BlockIndex first, uint64_t count) {
    // Others may change the list while this one waits: only what is decided after that counts.
    const ObjectId tree = object.record.id;
    const size_t ranges = ranges_of(core, tree).size();
    if (ranges == 0) co_return;
    constexpr size_t kItemBytes = 600;
    const size_t bytes_max = std::min<size_t>(
        core.log.capacity() / 4, core.journal.ring_blocks() / 4 * kJournalPayloadBytes);
    const Result<void> room =
        co_await core.wait_for_room(std::min((ranges + 1) * kItemBytes, bytes_max));
    if (!room.ok()) co_return;
    const StructureRecord change = removal(core, tree, first, first + count);
    if (!change.items.empty()) static_cast<void>(apply_structure_if_room(core, change));
}

io::Task<Result<void>> read_origin(block::Volume& origin, BlockIndex first, MutableBytes into) {
    const uint64_t offset = first * kBlockBytes;
    const uint64_t size = origin.size_bytes();
    const uint64_t have = offset >= size ? 0 : std::min<uint64_t>(into.size(), size - offset);
    std::memset(into.data() + have, 0, into.size() - have);
    if (have == 0) co_return Result<void>{};
    co_return co_await origin.read(offset, into.first(have));
}

}  // namespace stoa::pool
