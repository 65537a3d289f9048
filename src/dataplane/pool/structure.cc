#include "dataplane/pool/structure.h"

#include <algorithm>

#include <fmt/format.h>

#include "dataplane/pool/commit.h"

namespace stoa::pool {

namespace {

// The parent exists and is no descendant: ancestors are followed without a second thought.
Result<void> check_parent(const Objects& objects, const ObjectRecord& record) {
    ObjectId at = record.parent;
    const Object* parent = objects.find(at);
    if (at != 0 && (parent == nullptr || !parent->record.is_tree())) {
        return Error(ErrorCode::corrupt, fmt::format("journal gives object {} the parent {}, which "
                                                     "is no tree",
                                                     record.id, at));
    }
    // Only an object that is there already can be an ancestor of its new parent.
    const Object* existing = objects.find(record.id);
    if (existing == nullptr || existing->record.parent == at) return {};
    for (; parent != nullptr; parent = objects.find(parent->record.parent)) {
        if (parent->record.id != record.id) continue;
        return Error(ErrorCode::corrupt,
                     fmt::format("journal makes object {} its own ancestor", record.id));
    }
    return {};
}

Result<void> apply_put(Core& core, const ObjectRecord& record) {
    Object* existing = core.objects.find(record.id);
    if (existing == nullptr || existing->record.parent != record.parent) {
        TRY(check_parent(core.objects, record));
    }
    core.next_object = std::max(core.next_object, record.id + 1);
    if (existing != nullptr) {
        if (existing->record.kind != record.kind) {
            return Error(ErrorCode::corrupt,
                         fmt::format("journal turns object {} into another kind", record.id));
        }
        ObjectRecord next = record;
        next.mapped = existing->record.mapped;
        if (existing->record.has(ObjectRecord::kDeleted)) {
            // A reclaim goes on with its own records, also while this one waited for room.
            next.cursor = existing->record.cursor;
        } else {
            existing->deleted_after_freeze = core.freezes;
        }
        core.objects.update(*existing, std::move(next));
        return {};
    }
    ObjectRecord fresh = record;
    fresh.root = Entry{};
    fresh.mapped = 0;
    core.objects.add(std::move(fresh)).deleted_after_freeze = core.freezes;
    return {};
}

Result<void> apply_copy(Core& core, ObjectId from_id, ObjectId to_id) {
    Object* from = core.objects.find(from_id);
    Object* to = core.objects.find(to_id);
    if (from == nullptr || to == nullptr || !from->record.is_tree() || !to->record.is_tree()) {
        return Error(
            ErrorCode::corrupt,
            fmt::format("journal copies tree {} to {}, one of which is no tree", from_id, to_id));
    }
    core.cache.ref(from->record.root);
    core.cache.unref(to->record.root);
    to->record.root = from->record.root;
    to->record.mapped = from->record.mapped;
    ++to->changes;
    core.objects.mark_dirty(*to);
    return {};
}

Result<void> apply_remove(Core& core, ObjectId id) {
    Object* object = core.objects.find(id);
    if (object == nullptr) {
        return Error(ErrorCode::corrupt,
                     fmt::format("journal removes object {}, which is missing", id));
    }
    for (const ObjectId child : std::vector<ObjectId>(object->children)) {
        core.objects.set_parent(*core.objects.find(child), object->record.parent);
    }
    core.regions.give_back(object->stream);
    core.cache.unref(object->record.root);
    object->record.root = Entry{};
    core.objects.remove(id);
    return {};
}

}  // namespace

Result<void> apply_structure(Core& core, const StructureRecord& change) {
    for (const StructureItem& item : change.items) {
        switch (item.what) {
            case StructureItem::What::put: TRY(apply_put(core, item.object)); break;
            case StructureItem::What::copy: TRY(apply_copy(core, item.from, item.to)); break;
            case StructureItem::What::remove: TRY(apply_remove(core, item.to)); break;
            case StructureItem::What::epoch: core.epoch = std::max(core.epoch, item.epoch); break;
            case StructureItem::What::assign: break;  // recovery applies these first
        }
    }
    return {};
}

void apply_structure_to_rest(Core& core, const StructureRecord& change) {
    for (const StructureItem& item : change.items) {
        // An older object that is not here is lost; it must not come back empty.
        const bool lost = item.what == StructureItem::What::put &&
                          item.object.id < core.superblock.next_object &&
                          core.objects.find(item.object.id) == nullptr;
        if (lost) continue;
        StructureRecord one;
        one.items.push_back(item);
        const Result<void> applied = apply_structure(core, one);
        const bool is_copy = item.what == StructureItem::What::copy;
        if (!applied.ok() && is_copy && core.objects.find(item.to) != nullptr) {
            static_cast<void>(apply_remove(core, item.to));  // lost with what it was made from
        }
    }
}

bool apply_structure_if_room(Core& core, const StructureRecord& change) {
    std::vector<std::byte> encoded;
    encode_record(change, encoded);
    if (!core.has_room(encoded.size())) return false;
    const Result<void> applied = apply_structure(core, change);
    CHECK(applied.ok());
    core.append(encoded);
    return true;
}

io::Task<Result<void>> commit_structure(Core& core, StructureRecord change,
                                        bool even_when_closing) {
    std::vector<std::byte> encoded;
    encode_record(change, encoded);
    CO_TRY(co_await core.wait_for_room(encoded.size(), {.even_when_closing = even_when_closing}));
    const Result<void> applied = apply_structure(core, change);
    CHECK(applied.ok());
    core.append(encoded);
    core.reclaim_signal.notify_all();
    co_return co_await make_durable(core);
}

std::string full_name(const Core& core, const Object& object) {
    if (object.record.kind != ObjectKind::snapshot) return object.record.name;
    const Object* volume = core.objects.find(object.record.volume);
    return fmt::format("{}@{}", volume == nullptr ? "?" : volume->record.name, object.record.name);
}

bool is_gone(const Core& core, const Object& object) {
    if (object.record.has(ObjectRecord::kDeleted)) return true;
    if (object.record.kind != ObjectKind::snapshot) return false;
    const Object* volume = core.objects.find(object.record.volume);
    if (volume == nullptr) return !core.objects_lost;
    return volume->record.has(ObjectRecord::kDeleted);
}

Result<Object*> find_live_tree(Core& core, const Uuid& uuid) {
    Object* object = core.objects.find(uuid);
    if (object == nullptr || is_gone(core, *object) || object->record.kind == ObjectKind::orphan) {
        return Error(ErrorCode::not_found, fmt::format("no volume or snapshot {} in pool {}",
                                                       uuid.to_string(), core.label.name));
    }
    return object;
}

Result<Object*> find_live_volume(Core& core, const Uuid& volume) {
    Object* object = core.objects.find(volume);
    if (object == nullptr || object->record.kind != ObjectKind::volume ||
        object->record.has(ObjectRecord::kDeleted)) {
        return Error(ErrorCode::not_found,
                     fmt::format("no volume {} in pool {}", volume.to_string(), core.label.name));
    }
    return object;
}

Result<Object*> find_live_snapshot(Core& core, const Uuid& snapshot) {
    Object* object = core.objects.find(snapshot);
    if (object == nullptr || object->record.kind != ObjectKind::snapshot ||
        is_gone(core, *object)) {
        return Error(ErrorCode::not_found, fmt::format("no snapshot {} in pool {}",
                                                       snapshot.to_string(), core.label.name));
    }
    return object;
}

}  // namespace stoa::pool
