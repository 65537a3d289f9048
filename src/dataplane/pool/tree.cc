#include "dataplane/pool/tree.h"

#include <algorithm>
#include <cstring>

#include "base/mutant.h"

namespace stoa::pool {

Found find_leaf(NodeCache& cache, Entry root, BlockIndex block) {
    Found found;
    Entry entry = root;
    for (int level = kRootLevel;; --level) {
        if (entry.kind() != EntryKind::node) {
            found.subtree = entry;
            found.level = level + 1;
            return found;
        }
        Node* node = cache.resident(entry);
        if (node == nullptr || node->level != level) {
            found.missing = {entry, level};
            return found;
        }
        if (level == 0) {
            found.leaf = node;
            return found;
        }
        entry = node->entries[entry_index(block, level)];
    }
}

const Object* Lineage::inherited_from(const Object& object, BlockIndex range_end) const {
    const Object* parent = objects_.find(object.record.parent);
    // Left of its cursor a tree that is being reclaimed has given up what nobody else holds:
    // there, this object stands directly below its grandparent.
    if (parent != nullptr && parent->record.id == reclaiming_ &&
        range_end <= parent->record.cursor) {
        parent = objects_.find(parent->record.parent);
    }
    return parent;
}

Epoch Lineage::inherited_epoch(const Object& object, BlockIndex range_end) const {
    if (object.record.kind != ObjectKind::volume) return object.record.epoch;
    const Object* parent = inherited_from(object, range_end);
    return parent == nullptr ? 0 : parent->record.epoch;
}

bool TreeWriter::changeable(const Node& node, const Object& object, BlockIndex range_end) const {
    if (!node.dirty) return false;
    const Epoch floor = std::max(frozen_epoch_, lineage_.inherited_epoch(object, range_end));
    if (MUTANT(7)) return node.birth >= floor;
    return node.birth > floor;
}

Node& TreeWriter::copy(Entry& slot, Node& old, const Object& object, BlockIndex range_end,
                       Epoch birth) {
    ++old.pins;  // the new slot must not push it out
    Node& fresh = cache_.create(old.level, birth);
    --old.pins;
    std::memcpy(fresh.entries, old.entries, kBlockBytes);
    if (fresh.level > 0) {
        for (size_t i = 0; i < kFanout; ++i) cache_.ref(fresh.entries[i]);
    }
    drop_node(old, object, range_end);
    const Entry before = slot;
    slot = fresh.handle();
    cache_.unref(before);
    return fresh;
}

void TreeWriter::drop_node(Node& node, const Object& object, BlockIndex range_end) {
    const bool exclusive = node.birth > lineage_.inherited_epoch(object, range_end);
    if (!exclusive) return;
    if (node.address == 0) {
        node.orphaned = true;  // a running checkpoint may still give it an address
    } else if (!regions_.freed_by_replay(node.address)) {
        regions_.free({node.address, 1}, space_);
    }
}

Node& TreeWriter::expand(Entry& slot, int level, Epoch birth) {
    Entry fill = slot;
    if (MUTANT(8)) fill = Entry{};  // a hole is lost when it is split
    Node& fresh = cache_.create(level, birth);
    std::fill_n(fresh.entries, kFanout, fill);
    slot = fresh.handle();
    return fresh;
}

Node* TreeWriter::writable_leaf(Object& object, BlockIndex block, Epoch birth, Missing& missing) {
    // First look: nothing is changed unless the whole path is in memory, and it stays there while
    // nodes are made.
    std::array<Node*, kRootLevel + 1> pinned{};
    Entry entry = object.record.root;
    for (int level = kRootLevel; level >= 0 && entry.kind() == EntryKind::node; --level) {
        Node* node = cache_.resident(entry);
        if (node == nullptr || node->level != level) {
            missing = {entry, level};
            break;
        }
        ++node->pins;
        pinned[static_cast<size_t>(level)] = node;
        if (level > 0) entry = node->entries[entry_index(block, level)];
    }
    Node* leaf = missing.any() ? nullptr : copy_path(object, block, birth);
    for (Node* node : pinned) {
        // One that nobody needed any more may be gone already.
        if (node != nullptr && node->pins > 0) --node->pins;
    }
    return leaf;
}

Node* TreeWriter::copy_path(Object& object, BlockIndex block, Epoch birth) {
    Entry* slot = &object.record.root;
    for (int level = kRootLevel;; --level) {
        const uint64_t span = entry_blocks(level + 1);
        const BlockIndex range_end = (block / span + 1) * span;
        Node* node = nullptr;
        if (slot->kind() != EntryKind::node) {
            node = &expand(*slot, level, birth);
        } else {
            node = cache_.resident(*slot);
            if (!changeable(*node, object, range_end)) {
                node = &copy(*slot, *node, object, range_end, birth);
            }
        }
        if (level == 0) return node;
        slot = &node->entries[entry_index(block, level)];
    }
}

bool TreeWriter::replace_lost_leaf(Object& object, BlockIndex block, Epoch birth) {
    Entry* slot = &object.record.root;
    for (int level = kRootLevel; level > 0; --level) {
        const uint64_t span = entry_blocks(level + 1);
        if (slot->kind() != EntryKind::node) return false;
        Node* node = cache_.resident(*slot);
        if (node == nullptr) return false;
        const BlockIndex range_end = (block / span + 1) * span;
        if (!changeable(*node, object, range_end)) {
            node = &copy(*slot, *node, object, range_end, birth);
        }
        slot = &node->entries[entry_index(block, level)];
    }
    const Entry lost = *slot;
    *slot = Entry::make(EntryKind::damaged, 0, birth, 0);
    expand(*slot, 0, birth);
    const BlockIndex leaf_end = (block / kFanout + 1) * kFanout;
    if (lost.kind() == EntryKind::node && !lost.is_handle() &&
        lost.birth() > lineage_.inherited_epoch(object, leaf_end) &&
        !regions_.freed_by_replay(lost.address())) {
        regions_.free({lost.address(), 1}, space_);
    }
    return true;
}

void TreeWriter::collapse(Object& object, BlockIndex block) {
    for (int level = 0; level <= kRootLevel; ++level) {
        // Walk from the root to the slot that holds the node of `level`.
        Entry* slot = &object.record.root;
        for (int above = kRootLevel; above > level; --above) {
            if (slot->kind() != EntryKind::node) return;
            Node* node = cache_.resident(*slot);
            if (node == nullptr) return;
            slot = &node->entries[entry_index(block, above)];
        }
        if (slot->kind() != EntryKind::node) return;
        Node* node = cache_.resident(*slot);
        const BlockIndex range_end =
            (block / entry_blocks(level + 1) + 1) * entry_blocks(level + 1);
        if (node == nullptr || !changeable(*node, object, range_end)) return;
        const Entry first = node->entries[0];
        if (!first.reads_nothing()) return;
        for (size_t i = 1; i < kFanout; ++i) {
            if (node->entries[i] != first) return;
        }
        const Entry before = *slot;
        drop_node(*node, object, range_end);
        *slot = first;
        cache_.unref(before);
    }
}

}  // namespace stoa::pool
