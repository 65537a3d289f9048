#include "dataplane/pool/fsck/trees.h"

#include <algorithm>
#include <utility>

namespace stoa::fsck {

namespace {

// Blocks of a volume that an entry at `level` stands for.
constexpr uint64_t blocks_under(int level) { return uint64_t{1} << (8 * level); }

// Identity of a reference: equal for the same entry at the same place of the same family.
uint64_t fingerprint(std::initializer_list<uint64_t> parts) {
    uint64_t hash = 0x9E3779B97F4A7C15;
    for (const uint64_t part : parts) {
        hash = (hash ^ part) * 0xBF58476D1CE4E5B9;
        hash ^= hash >> 29;
    }
    return hash == 0 ? 1 : hash;
}

}  // namespace

std::string Walk::where(const Node& context, int level, uint64_t first_block) const {
    return fmt::format("{}, block {}, level {}", (*trees_)[context.tree].name, first_block, level);
}

// Whether the reference is sound; the address then counts as reached. `level` is that of the
// table the entry stands in.
bool Walk::claim(const Node& context, const Entry& entry, int level, uint64_t first_block) {
    const uint8_t needed = level == 0 ? options_.data_class
                           : level == 1 && options_.data_class == kDataClass
                               ? uint8_t{kLeafClass}
                               : uint8_t{kDoubledClass};
    if (const auto fault = regions_.address_fault(entry.address(), needed)) {
        findings_.problem("{}: refers to address {}: {}", where(context, level, first_block),
                          entry.address(), *fault);
        return false;
    }
    const uint64_t id = fingerprint({entry.low, entry.high, first_block,
                                     static_cast<uint64_t>(level) << 1 | options_.domain,
                                     (*trees_)[context.tree].family});
    switch (regions_.claim(entry.address(), id)) {
        case Claim::conflict:
            findings_.problem("{}: address {} is also referred to as something else",
                              where(context, level, first_block), entry.address());
            return false;
        case Claim::first:
            if (!regions_.allocated(entry.address())) {
                findings_.problem("{}: address {} is reachable, but free in its bitmap",
                                  where(context, level, first_block), entry.address());
            }
            break;
        case Claim::again: break;
    }
    if (options_.check_sharing) regions_.add_holders(entry.address(), context.holders);
    return true;
}

// A reference to the node `entry` from above; `level` is the node's. kNone: not usable.
uint32_t Walk::arrive(const Node& context, const Entry& entry, int level, uint64_t first_block) {
    // Who holds the parent but may have let go of this one does not count.
    Node strict = context;
    if (context.holders != 0) {
        for (size_t i = 0; i < trees_->size(); ++i) {
            if (first_block + blocks_under(level + 1) <= (*trees_)[i].cursor) {
                strict.holders &= ~(uint64_t{1} << i);
            }
        }
    }
    if (!claim(strict, entry, level + 1, first_block)) return kNone;
    const auto [at, fresh] = known_.try_emplace(
        entry.address(), static_cast<uint32_t>(nodes_[static_cast<size_t>(level)].size()));
    auto& nodes = nodes_[static_cast<size_t>(level)];
    if (fresh) {
        Node node = strict;
        node.entry = entry;
        node.first_block = first_block;
        node.complete = true;
        nodes.push_back(node);
    } else {
        Node& node = nodes[at->second];
        node.birth_max = std::min(node.birth_max, context.birth_max);
        node.end_block = std::min(node.end_block, context.end_block);
        node.cursor = std::min(node.cursor, context.cursor);
        node.holders |= strict.holders;
    }
    return at->second;
}

void Walk::check_data(Node& node, const Entry& entry, uint64_t block) {
    ++node.mapped;
    const bool was_reached = !regions_.address_fault(entry.address(), options_.data_class) &&
                             regions_.claimed(entry.address());
    if (!claim(node, entry, 0, block) || was_reached) return;
    if (options_.domain == 0) ++findings_.counts().object_blocks;
    else ++findings_.counts().data_blocks;
    if (!options_.read_data) return;
    ++findings_.counts().data_verified;
    const auto content = regions_.read(entry, options_.domain == 0 ? "object block" : "data block");
    if (!content) {
        findings_.problem("{}: {} at address {} cannot be read or fails its checksum",
                          where(node, 0, block),
                          options_.domain == 0 ? "the object block" : "the data", entry.address());
        if (options_.domain == 0) node.complete = false;
    } else if (options_.visit) {
        options_.visit(block, *content);
    }
}

// `level` is that of the node the entry stands in.
void Walk::check_entry(Node& node, const Entry& entry, int level, uint64_t first_block) {
    if (const auto fault = entry_fault(entry, level)) {
        findings_.problem("{}: the entry {}", where(node, level, first_block), *fault);
        node.complete = false;
        return;
    }
    // The parts of a tree that a reclaim has passed are not looked at at all.
    if (level > 0 && first_block + blocks_under(level) <= node.cursor) return;
    if (entry.birth() > node.birth_max) {
        findings_.problem("{}: born in epoch {}, the tree allows {}",
                          where(node, level, first_block), entry.birth(), node.birth_max);
    }
    const bool refers = entry.kind() == Kind::data || entry.kind() == Kind::node;
    const bool empty = entry.kind() == Kind::absent || entry.kind() == Kind::hole;
    // A node past the end may be left over from a shrink; what it holds is looked at by itself.
    if (!empty && level == 0 && first_block >= node.end_block) {
        findings_.problem("{}: {} past the end at block {}", where(node, level, first_block),
                          to_string(entry.kind()), node.end_block);
    }
    if (!refers) return;
    if (entry.kind() == Kind::data) return check_data(node, entry, first_block);
    const uint32_t child = arrive(node, entry, level - 1, first_block);
    if (child == kNone) {
        node.complete = false;
        return;
    }
    edges_[static_cast<size_t>(level)].push_back(child);
}

void Walk::read_node(Node& node, int level) {
    ++findings_.counts().nodes;
    auto& edges = edges_[static_cast<size_t>(level)];
    node.edges_begin = node.edges_end = edges.size();
    const auto content = regions_.read(node.entry, "map node");
    if (!content) {
        findings_.problem("{}: the node at address {} cannot be read or fails its checksum",
                          where(node, level, node.first_block), node.entry.address());
        node.complete = false;
        return;
    }
    if (options_.visit_node) {
        options_.visit_node((*trees_)[node.tree], node.entry, level, node.first_block, *content);
    }
    for (uint64_t i = 0; i < kEntriesPerNode; ++i) {
        check_entry(node, load_entry(content->data() + 16 * i), level,
                    node.first_block + i * blocks_under(level));
    }
    node.edges_end = edges.size();
}

bool Walk::run(std::vector<Tree>& trees) {
    trees_ = &trees;
    std::vector<uint32_t> roots(trees.size(), kNone);
    for (size_t i = 0; i < trees.size(); ++i) {
        Tree& tree = trees[i];
        const Node context{tree.root,
                           0,
                           tree.birth_max,
                           tree.end_block,
                           tree.cursor,
                           options_.check_sharing ? uint64_t{1} << i : 0,
                           static_cast<uint32_t>(i),
                           true,
                           0,
                           0,
                           0};
        // The root stands where a level above the highest would have it.
        if (const auto fault = entry_fault(tree.root, kRootLevel + 1)) {
            findings_.problem("{}: its root {}", tree.name, *fault);
            tree.complete = false;
            continue;
        }
        if (tree.cursor >= kTreeBlocks) continue;
        if (tree.root.birth() > tree.birth_max) {
            findings_.problem("{}: its root is born in epoch {}, the tree allows {}", tree.name,
                              tree.root.birth(), tree.birth_max);
        }
        if (tree.root.kind() != Kind::node) continue;
        roots[i] = arrive(context, tree.root, kRootLevel, 0);
        if (roots[i] == kNone) tree.complete = false;
    }
    for (int level = kRootLevel; level >= 0; --level) {
        known_.clear();
        for (Node& node : nodes_[static_cast<size_t>(level)]) read_node(node, level);
    }
    sum_up();
    bool complete = true;
    for (size_t i = 0; i < trees.size(); ++i) {
        if (roots[i] != kNone) {
            trees[i].mapped = nodes_[kRootLevel][roots[i]].mapped;
            trees[i].complete = nodes_[kRootLevel][roots[i]].complete;
        }
        complete = complete && trees[i].complete;
    }
    if (options_.check_sharing) check_sharing();
    return complete;
}

// Counts of children into their parents, from the leaves up.
void Walk::sum_up() {
    for (size_t level = 1; level <= kRootLevel; ++level) {
        for (Node& node : nodes_[level]) {
            for (size_t i = node.edges_begin; i < node.edges_end; ++i) {
                const Node& child = nodes_[level - 1][edges_[level][i]];
                node.mapped += child.mapped;
                node.complete = node.complete && child.complete;
            }
        }
    }
}

// The holders of a block form one piece of the forest of parents: exactly one of them has no
// holder above it. A tree under reclaim that no longer holds the block is passed over.
void Walk::check_sharing() {
    const std::vector<Tree>& trees = *trees_;
    auto above = [&](int64_t tree, uint64_t holders) {
        int64_t up = trees[static_cast<size_t>(tree)].parent;
        while (up >= 0 && (holders >> up & 1) == 0 && trees[static_cast<size_t>(up)].cursor > 0) {
            up = trees[static_cast<size_t>(up)].parent;
        }
        return up;
    };
    regions_.each_holders([&](uint64_t address, uint64_t holders) {
        int64_t top = -1;
        for (int64_t i = 0; i < static_cast<int64_t>(trees.size()); ++i) {
            if ((holders >> i & 1) == 0) continue;
            const int64_t up = above(i, holders);
            if (up >= 0 && (holders >> up & 1) != 0) continue;
            if (top >= 0) {
                findings_.problem(
                    "address {} is shared by {} and {}, but not by every tree "
                    "between them",
                    address, trees[static_cast<size_t>(top)].name,
                    trees[static_cast<size_t>(i)].name);
                return;
            }
            top = i;
        }
    });
}

}  // namespace stoa::fsck
