#include "dataplane/pool/damage.h"

#include <algorithm>

#include <fmt/format.h>

#include "dataplane/pool/structure.h"

namespace stoa::pool {

namespace {

constexpr size_t kDamageRangesMax = 4096;

std::vector<Object*> ranges_of(Core& core, ObjectId tree) {
    std::vector<Object*> found;
    for (const ObjectId id : core.objects.ids()) {
        Object* object = core.objects.find(id);
        if (object->record.kind == ObjectKind::damage && object->record.volume == tree) {
            found.push_back(object);
        }
    }
    return found;
}

}  // namespace

void note_damage(Core& core, Object& object, BlockIndex block) {
    if (!core.writable()) return;
    for (Object* range :
         object.damage_count > 0 ? ranges_of(core, object.record.id) : std::vector<Object*>{}) {
        ObjectRecord record = range->record;
        if (block >= record.damage_first && block < record.damage_first + record.damage_blocks) {
            return;
        }
        if (block != record.damage_first + record.damage_blocks) continue;
        ++record.damage_blocks;
        StructureRecord change;
        change.put(record);
        if (apply_structure_if_room(core, change)) return;
        return;
    }
    core.event(fmt::format("{} block {} is damaged", object.record.name, block));
    if (object.damage_count >= kDamageRangesMax) return;
    ObjectRecord record;
    record.kind = ObjectKind::damage;
    record.id = core.next_object++;
    record.volume = object.record.id;
    record.damage_first = block;
    record.damage_blocks = 1;
    StructureRecord change;
    change.put(record);
    static_cast<void>(apply_structure_if_room(core, change));
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
