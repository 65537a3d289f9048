#include "dataplane/pool/objects.h"

#include <algorithm>

#include "base/check.h"
#include "base/mutant.h"

namespace stoa::pool {

Object& Objects::add(ObjectRecord record) {
    const uint32_t slot = free_slots_.empty() ? slot_count() : *free_slots_.begin();
    Object& object = add_at(std::move(record), slot);
    mark_dirty(object);
    return object;
}

void Objects::reserve_slots(uint32_t count) {
    while (slots_.size() < count) {
        free_slots_.insert(slot_count());
        slots_.push_back(nullptr);
    }
}

Object& Objects::add_at(ObjectRecord record, uint32_t slot) {
    reserve_slots(slot + 1);
    free_slots_.erase(slot);
    auto owned = std::make_unique<Object>();
    Object& object = *owned;
    object.record = std::move(record);
    object.slot = slot;
    slots_[slot] = &object;
    const bool fresh = by_id_.emplace(object.record.id, std::move(owned)).second;
    CHECK(fresh);
    index(object);
    return object;
}

void Objects::index(Object& object) {
    const ObjectRecord& r = object.record;
    if (r.is_tree()) by_uuid_[r.uuid] = &object;
    if (r.has(ObjectRecord::kDeleted)) deleted_.insert(r.id);
    else if (r.kind == ObjectKind::volume) volume_names_[r.name] = &object;
    if (r.kind == ObjectKind::snapshot) {
        snapshots_[r.volume].insert(r.id);
        ++snapshot_count_;
    }
    if (r.has(ObjectRecord::kTrimming) && !r.has(ObjectRecord::kDeleted)) trimming_.insert(r.id);
    if (r.kind == ObjectKind::damage) {
        damage_[r.volume].insert(r.id);
        if (Object* tree = find(r.volume); tree != nullptr) ++tree->damage_count;
    }
    if (Object* parent = find(r.parent); parent != nullptr) parent->children.push_back(r.id);
}

void Objects::unindex(Object& object) {
    const ObjectRecord& r = object.record;
    if (r.is_tree()) {
        const auto found = by_uuid_.find(r.uuid);
        if (found != by_uuid_.end() && found->second == &object) by_uuid_.erase(found);
    }
    deleted_.erase(r.id);
    trimming_.erase(r.id);
    if (r.kind == ObjectKind::volume) {
        const auto found = volume_names_.find(r.name);
        if (found != volume_names_.end() && found->second == &object) volume_names_.erase(found);
    }
    if (r.kind == ObjectKind::snapshot) {
        snapshots_[r.volume].erase(r.id);
        if (snapshots_[r.volume].empty()) snapshots_.erase(r.volume);
        --snapshot_count_;
    }
    if (r.kind == ObjectKind::damage) {
        damage_[r.volume].erase(r.id);
        if (damage_[r.volume].empty()) damage_.erase(r.volume);
        if (Object* tree = find(r.volume); tree != nullptr) --tree->damage_count;
    }
    if (Object* parent = find(r.parent); parent != nullptr) std::erase(parent->children, r.id);
}

void Objects::link_children() {
    for (const auto& [id, object] : by_id_) {
        object->children.clear();
        object->damage_count = 0;
    }
    for (const ObjectId id : ids()) {
        const ObjectRecord& record = find(id)->record;
        if (Object* parent = find(record.parent); parent != nullptr) {
            parent->children.push_back(id);
        }
        if (record.kind != ObjectKind::damage) continue;
        if (Object* tree = find(record.volume); tree != nullptr) ++tree->damage_count;
    }
}

void Objects::remove(ObjectId id) {
    Object* object = find(id);
    CHECK(object != nullptr);
    unindex(*object);
    slots_[object->slot] = nullptr;
    free_slots_.insert(object->slot);
    dirty_slots_.insert(object->slot);
    by_id_.erase(id);
}

void Objects::update(Object& object, ObjectRecord record) {
    unindex(object);
    record.root = object.record.root;
    object.record = std::move(record);
    index(object);
    if (!MUTANT(42)) mark_dirty(object);
}

void Objects::set_parent(Object& object, ObjectId parent) {
    if (Object* old = find(object.record.parent); old != nullptr) {
        std::erase(old->children, object.record.id);
    }
    object.record.parent = parent;
    if (Object* now = find(parent); now != nullptr) now->children.push_back(object.record.id);
    mark_dirty(object);
}

void Objects::mark_dirty(Object& object) {
    if (object.dirty) return;
    object.dirty = true;
    dirty_slots_.insert(object.slot);
}

Object* Objects::find(ObjectId id) {
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? nullptr : found->second.get();
}

const Object* Objects::find(ObjectId id) const {
    const auto found = by_id_.find(id);
    return found == by_id_.end() ? nullptr : found->second.get();
}

Object* Objects::find(const Uuid& uuid) {
    const auto found = by_uuid_.find(uuid);
    return found == by_uuid_.end() ? nullptr : found->second;
}

const Object* Objects::find(const Uuid& uuid) const {
    const auto found = by_uuid_.find(uuid);
    return found == by_uuid_.end() ? nullptr : found->second;
}

Object* Objects::find_volume(const std::string& name) {
    const auto found = volume_names_.find(name);
    return found == volume_names_.end() ? nullptr : found->second;
}

const Object* Objects::find_volume(const std::string& name) const {
    const auto found = volume_names_.find(name);
    return found == volume_names_.end() ? nullptr : found->second;
}

const Object* Objects::find_snapshot(ObjectId volume, const std::string& name) const {
    for (const ObjectId id : snapshots_of(volume)) {
        const Object* snapshot = find(id);
        if (!snapshot->record.has(ObjectRecord::kDeleted) && snapshot->record.name == name) {
            return snapshot;
        }
    }
    return nullptr;
}

std::vector<ObjectId> Objects::ids() const {
    std::vector<ObjectId> ids;
    ids.reserve(by_id_.size());
    for (const auto& [id, object] : by_id_) ids.push_back(id);
    std::ranges::sort(ids);
    return ids;
}

namespace {

using Index = std::unordered_map<ObjectId, std::set<ObjectId>>;

const std::set<ObjectId>& listed(const Index& index, ObjectId id) {
    static const std::set<ObjectId> kNone;
    const auto found = index.find(id);
    return found == index.end() ? kNone : found->second;
}

}  // namespace

const std::set<ObjectId>& Objects::snapshots_of(ObjectId volume) const {
    return listed(snapshots_, volume);
}

const std::set<ObjectId>& Objects::damage_of(ObjectId tree) const { return listed(damage_, tree); }

std::set<uint32_t> Objects::take_dirty_slots() {
    std::set<uint32_t> slots;
    slots.swap(dirty_slots_);
    for (const uint32_t slot : slots) {
        if (slots_[slot] != nullptr) slots_[slot]->dirty = false;
    }
    return slots;
}

}  // namespace stoa::pool
