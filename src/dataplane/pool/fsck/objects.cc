#include "dataplane/pool/fsck/objects.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/utf8.h"

namespace stoa::fsck {

namespace {

constexpr uint64_t kVolumeBytesMax = uint64_t{16} << 40;
constexpr uint32_t kKnownFlags =
    kProtected | kDeleted | kTrimming | kHasOrigin | kHydratedCompletely | kFlattening | kHydrating;

std::string_view kind_name(uint8_t kind) {
    switch (kind) {
        case kVolume: return "volume";
        case kSnapshot: return "snapshot";
        case kOrphan: return "orphan";
        case kDamageRange: return "damage range";
        default: return "object";
    }
}

bool is_hidden(const Object& object) { return (object.flags & kDeleted) != 0; }

}  // namespace

void Objects::load_block(uint64_t block, const Block& content, const Superblock& superblock,
                         Findings& findings) {
    for (uint64_t i = 0; i < kObjectsPerBlock; ++i) {
        const uint64_t slot = block * kObjectsPerBlock + i;
        const auto object = decode_object(content.data() + i * kObjectBytes);
        if (!object) {
            findings.problem("object slot {}: {}", slot, object.error());
            continue;
        }
        if (object->kind == kFreeSlot) continue;
        if (slot >= superblock.object_slots) {
            findings.problem("object slot {}: in use, but object_slots is {}", slot,
                             superblock.object_slots);
        }
        if (find(object->id) != nullptr) {
            findings.problem("object slot {}: id {} is used twice", slot, object->id);
            continue;
        }
        put(*object);
    }
}

void Objects::put(const Object& object) {
    if (Object* known = find(object.id)) {
        // A map and how far its reclaim is are told by other records.
        Object next = object;
        next.root = known->root;
        next.mapped = known->mapped;
        if (known->being_reclaimed()) next.cursor = known->cursor;
        *known = std::move(next);
        return;
    }
    by_id_[object.id] = objects_.size();
    objects_.push_back(object);
}

Object* Objects::find(uint64_t id) { return const_cast<Object*>(std::as_const(*this).get(id)); }

const Object* Objects::get(uint64_t id) const {
    const auto at = by_id_.find(id);
    return at == by_id_.end() ? nullptr : &objects_[at->second];
}

void Objects::remove(uint64_t id) {
    const auto at = by_id_.find(id);
    if (at == by_id_.end()) return;
    const size_t index = at->second;
    const uint64_t parent = objects_[index].parent;
    for (Object& object : objects_) {
        if (object.parent == id) object.parent = parent;
    }
    by_id_.erase(at);
    if (index + 1 != objects_.size()) {
        objects_[index] = std::move(objects_.back());
        by_id_[objects_[index].id] = index;
    }
    objects_.pop_back();
}

std::string Objects::describe(const Object& object) const {
    const Object* volume = object.kind == kSnapshot ? get(object.volume) : nullptr;
    return fmt::format("{} {}{}{} (id {})", kind_name(object.kind),
                       volume != nullptr ? quoted(volume->name) : "", volume != nullptr ? "/" : "",
                       quoted(object.name), object.id);
}

void Objects::check_fields(const Object& object, const Superblock& superblock,
                           std::string_view context, Findings& findings) const {
    auto wrong = [&](std::string_view text, auto... args) {
        findings.problem("{}{}: {}", context, describe(object),
                         fmt::format(fmt::runtime(text), args...));
    };
    if (object.id == 0) wrong("id is 0");
    if (object.id >= superblock.next_object_id && context.empty()) {
        wrong("next object id is {}", superblock.next_object_id);
    }
    if (object.kind == kDamageRange) {
        const Object* owner = get(object.volume);
        if (owner == nullptr || !owner->has_tree())
            wrong("is of object {}, which does not exist", object.volume);
        if (object.damage_blocks == 0 || object.damage_first >= kTreeBlocks ||
            object.damage_blocks > kTreeBlocks - object.damage_first) {
            wrong("names {} blocks from {}", object.damage_blocks, object.damage_first);
        }
        return;
    }
    if ((object.flags & ~kKnownFlags) != 0) wrong("flags are 0x{:x}", object.flags);
    if (object.size_bytes % 512 != 0 || object.size_bytes > kVolumeBytesMax) {
        wrong("size is {} bytes", object.size_bytes);
    }
    if (!is_utf8(object.name)) wrong("its name is not UTF-8");
    if (object.kind != kOrphan && object.name.empty()) wrong("has no name");
    if (((object.flags & kHasOrigin) != 0) == object.origin.is_nil()) {
        wrong("origin is {}, flags are 0x{:x}", object.origin.to_string(), object.flags);
    }
    if (object.epoch > superblock.epoch && context.empty()) {
        wrong("epoch is {}, the pool's {}", object.epoch, superblock.epoch);
    }
    if (object.cursor > kTreeBlocks) wrong("cursor is {}", object.cursor);
    if (object.kind == kVolume) return;
    const Object* volume = get(object.volume);
    const bool volume_exists = volume != nullptr && volume->kind == kVolume;
    if (object.kind == kSnapshot && !volume_exists && !is_hidden(object)) {
        wrong("is of volume {}, which does not exist", object.volume);
    }
}

void Objects::check_names(std::string_view context, Findings& findings) const {
    std::map<std::pair<uint64_t, std::string_view>, const Object*> names;
    std::unordered_map<std::string, const Object*> uuids;
    for (const Object& object : objects_) {
        if ((object.kind != kVolume && object.kind != kSnapshot) || is_hidden(object)) continue;
        const uint64_t scope = object.kind == kVolume ? 0 : object.volume;
        const auto [at, fresh] = names.try_emplace({scope, object.name}, &object);
        if (!fresh) {
            findings.problem("{}{} and {} have the same name", context, describe(*at->second),
                             describe(object));
        }
        const auto [same, fresh_uuid] = uuids.try_emplace(object.uuid.to_string(), &object);
        if (!fresh_uuid) {
            findings.problem("{}{} and {} have the same uuid", context, describe(*same->second),
                             describe(object));
        }
    }
}

// Parents exist, are snapshots, and lead to an end. Broken links are cut, so that whoever follows
// parents later ends too.
void Objects::check_forest(std::string_view context, Findings& findings) {
    for (Object& object : objects_) {
        if (!object.has_tree()) object.parent = 0;
        if (object.parent == 0) continue;
        const Object* parent = get(object.parent);
        if (parent != nullptr && parent->kind == kSnapshot) continue;
        findings.problem("{}{}: its parent {} {}", context, describe(object), object.parent,
                         parent == nullptr ? "does not exist" : "is not a snapshot");
        object.parent = 0;
    }
    // 0: not seen, else one more than the index of the object from which it was seen first.
    std::vector<size_t> seen(objects_.size());
    family_.assign(objects_.size(), 0);
    std::vector<size_t> path;
    for (size_t i = 0; i < objects_.size(); ++i) {
        path.clear();
        size_t at = i;
        while (seen[at] == 0) {
            seen[at] = i + 1;
            path.push_back(at);
            if (objects_[at].parent == 0) {
                family_[at] = objects_[at].id;
                break;
            }
            const size_t up = by_id_.at(objects_[at].parent);
            if (seen[up] == i + 1) {
                findings.problem("{}{}: is its own ancestor", context, describe(objects_[at]));
                objects_[at].parent = 0;
                family_[at] = objects_[at].id;
                break;
            }
            at = up;
        }
        const uint64_t family = family_[at];
        for (const size_t below : path) family_[below] = family;
    }
}

void Objects::check(const Superblock& superblock, std::string_view context, Findings& findings) {
    for (const Object& object : objects_) check_fields(object, superblock, context, findings);
    check_names(context, findings);
    check_forest(context, findings);
}

std::vector<Tree> Objects::trees(const Superblock& superblock) const {
    std::vector<Tree> trees;
    std::unordered_map<uint64_t, int64_t> index;
    for (size_t i = 0; i < objects_.size(); ++i) {
        const Object& object = objects_[i];
        if (!object.has_tree()) continue;
        Tree tree;
        tree.name = describe(object);
        tree.root = object.root;
        tree.birth_max = superblock.epoch == 0 ? 0 : superblock.epoch - 1;
        if (object.kind != kVolume) tree.birth_max = std::min(tree.birth_max, object.epoch);
        tree.end_block = std::min(kTreeBlocks, (object.size_bytes + kBlockBytes - 1) / kBlockBytes);
        if ((object.flags & kTrimming) != 0 || object.kind == kOrphan) tree.end_block = kTreeBlocks;
        tree.cursor = object.being_reclaimed() ? object.cursor : 0;
        tree.family = family_[i];
        index[object.id] = static_cast<int64_t>(trees.size());
        trees.push_back(std::move(tree));
    }
    size_t at = 0;
    for (const Object& object : objects_) {
        if (!object.has_tree()) continue;
        if (object.parent != 0) trees[at].parent = index.at(object.parent);
        ++at;
    }
    return trees;
}

void Objects::check_mapped(const std::vector<Tree>& trees, Findings& findings) const {
    size_t at = 0;
    for (const Object& object : objects_) {
        if (!object.has_tree()) continue;
        const Tree& tree = trees[at++];
        if (!tree.complete || tree.cursor > 0 || tree.mapped == object.mapped) continue;
        findings.problem("{}: says that {} blocks are mapped, its tree has {}", tree.name,
                         object.mapped, tree.mapped);
    }
}

void Objects::count(Counts& counts) const {
    for (const Object& object : objects_) {
        if (object.kind == kVolume) ++counts.volumes;
        if (object.kind == kSnapshot) ++counts.snapshots;
        if (object.kind == kOrphan) ++counts.orphans;
        if (object.kind == kDamageRange) ++counts.damage_ranges;
    }
}

}  // namespace stoa::fsck
