// Objects: volumes, snapshots, orphaned trees and damage ranges of an open pool, in memory.
//
// The object tree on disk holds them in slots; a checkpoint writes the slots that changed.
// Names and uuids of what is not deleted are unique (names: volumes per pool, snapshots per
// volume). `parent` links form a forest; children() is its inverse.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "base/uuid.h"
#include "dataplane/pool/format.h"
#include "dataplane/pool/regions.h"

namespace stoa::pool {

struct Object {
    ObjectRecord record;       // record.root may be a handle
    uint32_t slot = 0;
    bool dirty = false;        // differs from its slot on disk
    uint64_t changes = 0;  // of its map since the pool was opened
    Entry lost_node;  // one that the reclaimer could not read
    uint64_t deleted_after_freeze = 0;  // number of the last freeze before it was deleted
    uint32_t readers = 0;      // attachments
    uint32_t holds = 0;                   // long copies under way: not to be deleted
    bool written_by_attachment = false;  // one of them may write
    uint32_t damage_count = 0; // damage objects of this tree
    Stream stream;             // its contiguous reservation
    std::vector<ObjectId> children;
};

class Objects {
public:
    // Adds with a free slot (or `slot`); the record must be valid and its id new.
    Object& add(ObjectRecord record);
    Object& add_at(ObjectRecord record, uint32_t slot);
    // Slots 0 .. count - 1 exist, whatever is in them.
    void reserve_slots(uint32_t count);
    // After add_at() in any order: children and damage counts of objects that came later.
    void link_children();
    // Children keep pointing at it: reparent first.
    void remove(ObjectId id);
    // Changes parent, name or flags consistently with the indexes.
    void update(Object& object, ObjectRecord record);
    void set_parent(Object& object, ObjectId parent);
    void mark_dirty(Object& object);

    [[nodiscard]] Object* find(ObjectId id);
    [[nodiscard]] const Object* find(ObjectId id) const;
    [[nodiscard]] Object* find(const Uuid& uuid);
    [[nodiscard]] const Object* find(const Uuid& uuid) const;
    [[nodiscard]] Object* find_volume(const std::string& name);
    [[nodiscard]] const Object* find_volume(const std::string& name) const;
    [[nodiscard]] const Object* find_snapshot(ObjectId volume, const std::string& name) const;

    [[nodiscard]] const std::unordered_map<ObjectId, std::unique_ptr<Object>>& all() const {
        return by_id_;
    }
    // Ascending ids: the order of background work and of listings.
    [[nodiscard]] std::vector<ObjectId> ids() const;
    [[nodiscard]] const std::set<ObjectId>& snapshots_of(ObjectId volume) const;
    [[nodiscard]] size_t volume_count() const { return volume_names_.size(); }
    [[nodiscard]] size_t snapshot_count() const { return snapshot_count_; }
    [[nodiscard]] const std::set<ObjectId>& deleted() const { return deleted_; }
    // Shrunk, not trimmed yet, and not deleted.
    [[nodiscard]] const std::set<ObjectId>& trimming() const { return trimming_; }
    // The damage ranges of a tree.
    [[nodiscard]] const std::set<ObjectId>& damage_of(ObjectId tree) const;

    // For checkpoints.
    [[nodiscard]] uint32_t slot_count() const { return static_cast<uint32_t>(slots_.size()); }
    [[nodiscard]] Object* in_slot(uint32_t slot) const { return slots_[slot]; }
    std::set<uint32_t> take_dirty_slots();

private:
    void index(Object& object);
    void unindex(Object& object);

    std::unordered_map<ObjectId, std::unique_ptr<Object>> by_id_;
    std::unordered_map<Uuid, Object*, UuidHash> by_uuid_;
    std::unordered_map<std::string, Object*> volume_names_;
    std::unordered_map<ObjectId, std::set<ObjectId>> snapshots_;
    std::unordered_map<ObjectId, std::set<ObjectId>> damage_;
    std::set<ObjectId> deleted_;
    std::set<ObjectId> trimming_;
    std::vector<Object*> slots_;
    std::set<uint32_t> free_slots_;
    std::set<uint32_t> dirty_slots_;
    size_t snapshot_count_ = 0;
};

}  // namespace stoa::pool
