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

void note_damage(Core& core, Object& object, BlockIndex block, uint64_t count) {
    if (!core.writable()) return;
    for (Object* range :
         object.damage_count > 0 ? ranges_of(core, object.record.id) : std::vector<Object*>{}) {
        ObjectRecord record = range->record;
        const BlockIndex end = record.damage_first + record.damage_blocks;
        if (block >= record.damage_first && block + count <= end) return;
        if (block != end) continue;
        record.damage_blocks += count;
        StructureRecord change;
        change.put(record);
        static_cast<void>(apply_structure_if_room(core, change));
        return;
    }
    core.event(count == 1 ? fmt::format("{} block {} is damaged", object.record.name, block)
                          : fmt::format("{} blocks {} to {} are damaged", object.record.name, block,
                                        block + count - 1));
    if (object.damage_count >= kDamageRangesMax || core.objects.slot_count() >= kObjectsMax / 2) {
        return;
    }
    ObjectRecord record;
    record.kind = ObjectKind::damage;
    record.id = core.next_object++;
    record.volume = object.record.id;
    record.damage_first = block;
    record.damage_blocks = count;
    StructureRecord change;
    change.put(record);
    static_cast<void>(apply_structure_if_room(core, change));
}

io::Task<void> clear_damage(Core& core, const Object& object, BlockIndex first, uint64_t count) {
    const BlockIndex end = first + count;
    StructureRecord change;
    for (Object* range : ranges_of(core, object.record.id)) {
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
    if (change.items.empty()) co_return;
    Result<void> room = co_await core.wait_for_room(change.items.size() * 600);
    if (room.ok()) static_cast<void>(apply_structure_if_room(core, change));
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
