#include "dataplane/pool/tree_group.h"

#include <algorithm>
#include <cstring>

namespace stoa::pool {

namespace {

// What a tree has on the way to a leaf: ref[level] refers to the node of `level`, down to `lowest`,
// where there is the leaf itself or no node.
struct Path {
    std::array<Entry, kRootLevel + 1> ref{};
    int lowest = kRootLevel;
};

class Group {
public:
    Group(Core& core, Object& top, BlockIndex block) : core_(core), top_(top), block_(block) {}
    Group(const Group&) = delete;
    Group& operator=(const Group&) = delete;
    ~Group() {
        for (Node* node : pinned_) {
            // One that nobody needed any more may be gone already.
            if (node->pins > 0) --node->pins;
        }
    }

    // Finds the trees. False: `missing` must be loaded.
    bool find(Missing& missing) {
        Path path;
        if (!walk(top_, path, missing)) return false;
        trees_.push_back(&top_);
        const Entry leaf = core_.cache.identity(path.ref[static_cast<size_t>(path.lowest)]);
        for (size_t i = 0; i < trees_.size(); ++i) {
            for (const ObjectId id : trees_[i]->children) {
                Object* child = core_.objects.find(id);
                Path theirs;
                if (!walk(*child, theirs, missing)) return false;
                const Entry ref = theirs.ref[static_cast<size_t>(theirs.lowest)];
                if (theirs.lowest != path.lowest || core_.cache.identity(ref) != leaf) continue;
                trees_.push_back(child);
            }
        }
        const Object* parent = core_.objects.find(top_.record.parent);
        if (parent == nullptr) return true;
        has_above_ = true;
        return walk(*parent, above_, missing);
    }

    // The leaf that all of them hold from now on.
    Node& copy() {
        std::vector<Slot> slots;
        for (Object* tree : trees_) slots.push_back({&tree->record.root, tree});
        for (int level = kRootLevel;; --level) {
            slots = copy_level(slots, level);
            if (level == 0) break;
            for (Slot& slot : slots) {
                Node& node = core_.cache.at(static_cast<uint32_t>(slot.entry->address()));
                slot.entry = &node.entries[entry_index(block_, level)];
            }
        }
        CHECK(slots.size() == 1);
        return core_.cache.at(static_cast<uint32_t>(slots.front().entry->address()));
    }

    [[nodiscard]] const std::vector<Object*>& trees() const { return trees_; }

private:
    // A place that refers to a node, and the topmost tree in which it is.
    struct Slot {
        Entry* entry;
        Object* tree;
    };

    bool walk(const Object& tree, Path& path, Missing& missing) {
        Entry entry = tree.record.root;
        for (int level = kRootLevel;; --level) {
            path.ref[static_cast<size_t>(level)] = entry;
            path.lowest = level;
            if (entry.kind() != EntryKind::node) return true;
            Node* node = core_.cache.resident(entry);
            if (node == nullptr || node->level != level) {
                missing = {entry, level};
                return false;
            }
            ++node->pins;
            pinned_.push_back(node);
            if (level == 0) return true;
            entry = node->entries[entry_index(block_, level)];
        }
    }

    // Does the parent of the top hold it, too?
    [[nodiscard]] bool is_held_above(const Entry& identity, int level) const {
        return has_above_ && level >= above_.lowest &&
               core_.cache.identity(above_.ref[static_cast<size_t>(level)]) == identity;
    }

    // One new node for each of those that `slots` refer to. Returns the first slot of each.
    std::vector<Slot> copy_level(const std::vector<Slot>& slots, int level) {
        struct Made {
            Entry identity;
            Node* node;
        };
        std::vector<Made> made;
        std::vector<Slot> next;
        for (const Slot& slot : slots) {
            const Entry before = *slot.entry;
            const Entry identity = core_.cache.identity(before);
            const auto same = std::ranges::find(made, identity, &Made::identity);
            Node* fresh = nullptr;
            if (same != made.end()) {
                fresh = same->node;
                core_.cache.ref(fresh->handle());
            } else {
                fresh = &copy_node(before, identity, slot, level);
                made.push_back({identity, fresh});
                next.push_back(slot);
            }
            *slot.entry = fresh->handle();
            core_.cache.unref(before);
        }
        return next;
    }

    Node& copy_node(const Entry& before, const Entry& identity, const Slot& slot, int level) {
        const bool volume = slot.tree->record.kind == ObjectKind::volume;
        Node& fresh = core_.cache.create(level, volume ? core_.epoch : slot.tree->record.epoch);
        if (before.kind() != EntryKind::node) {
            std::fill_n(fresh.entries, kFanout, before);
            return fresh;
        }
        Node& old = *core_.cache.resident(before);
        std::memcpy(fresh.entries, old.entries, kBlockBytes);
        if (level > 0) {
            for (size_t i = 0; i < kFanout; ++i) core_.cache.ref(fresh.entries[i]);
        }
        if (slot.tree == &top_ && is_held_above(identity, level)) return fresh;
        if (old.address == 0) {
            old.orphaned = true;  // a running checkpoint may still give it an address
        } else if (!core_.regions.freed_by_replay(old.address)) {
            core_.regions.free({old.address, 1});
        }
        return fresh;
    }

    Core& core_;
    Object& top_;
    BlockIndex block_;
    std::vector<Object*> trees_;  // the top first, parents before children
    Path above_;  // in the parent of the top
    bool has_above_ = false;
    std::vector<Node*> pinned_;
};

}  // namespace

bool fill_below(Core& core, Object& top, BlockIndex first, std::span<const Entry> now,
                Missing& missing) {
    Group group(core, top, first);
    if (!group.find(missing)) return false;
    Entry* entries = group.copy().entries + entry_index(first, 0);
    uint64_t mapped = 0;
    for (size_t i = 0; i < now.size(); ++i) {
        if (now[i].kind() == EntryKind::absent) continue;
        if (entries[i].kind() == EntryKind::data) --mapped;  // only a damaged journal says so
        if (now[i].kind() == EntryKind::data) ++mapped;
        entries[i] = now[i];
    }
    for (Object* tree : group.trees()) {
        tree->record.mapped += mapped;
        core.objects.mark_dirty(*tree);
        // A reclaim needs nodes that have their final addresses.
        tree->deleted_after_freeze = core.freezes;
    }
    return true;
}

}  // namespace stoa::pool
