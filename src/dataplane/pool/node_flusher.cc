#include "dataplane/pool/node_flusher.h"

#include <algorithm>
#include <span>

#include "base/mutant.h"
#include "dataplane/io/system_error.h"

namespace stoa::pool {

namespace {

constexpr uint64_t kNodeWritesAtOnce = 64;
constexpr uint64_t kSubtreesAtOnce = 16;
constexpr int kWriteAttempts = 8;

bool has_dirty_children(const Node& node) {
    return std::ranges::any_of(std::span(node.entries, kFanout),
                               [](const Entry& entry) { return entry.is_handle(); });
}

}  // namespace

NodeFlusher::NodeFlusher(Core& core, FrozenSpace* space)
    : core_(core), space_(space), writes_(core.executor, kNodeWritesAtOnce),
      subtrees_(core.executor, kSubtreesAtOnce) {}

io::Task<Result<void>> NodeFlusher::flush(Entry& root, RegionClass leaf_class) {
    leaf_class_ = leaf_class;
    if (!root.is_handle()) co_return Result<void>{};
    Result<void> outcome;
    Node& node = core_.cache.at(static_cast<uint32_t>(root.address()));
    if (node.dirty) {
        co_await flush_node(node, outcome);
        CO_TRY(outcome);
    }
    const Entry before = root;
    root = node.entry();
    core_.cache.unref(before);
    co_return Result<void>{};
}

io::Task<Result<void>> NodeFlusher::flush_children(Node& node, BlockIndex first,
                                                   BlockIndex before) {
    ++node.pins;
    for (size_t i = 0; i < kFanout; ++i) {
        const Entry entry = node.entries[i];
        if (!entry.is_handle()) continue;
        Node& child = core_.cache.at(static_cast<uint32_t>(entry.address()));
        if (!child.dirty || child.refs != 1) continue;
        ++child.pins;
        Result<void> outcome = co_await flush_leaves(child);
        const bool finished = first + (i + 1) * entry_blocks(node.level) <= before;
        if (outcome.ok() && finished && !has_dirty_children(child)) {
            outcome = co_await write_node(child);
        }
        --child.pins;
        if (!outcome.ok()) {
            --node.pins;
            co_return outcome;
        }
        if (child.dirty) continue;
        node.entries[i] = child.entry();
        core_.cache.unref(entry);
    }
    --node.pins;
    co_return Result<void>{};
}
// Writes the dirty leaves directly under `node`, which only it refers to.
io::Task<Result<void>> NodeFlusher::flush_leaves(Node& node) {
    Result<void> outcome;
    io::TaskGroup group(core_.executor);
    for (size_t i = 0; i < kFanout && outcome.ok(); ++i) {
        if (!node.entries[i].is_handle()) continue;
        Node& child = core_.cache.at(static_cast<uint32_t>(node.entries[i].address()));
        if (!child.dirty || child.refs != 1) continue;
        co_await writes_.acquire();
        group.spawn(write_leaf(child, outcome));
    }
    co_await group.join();
    for (size_t i = 0; i < kFanout; ++i) {
        const Entry before = node.entries[i];
        if (!before.is_handle()) continue;
        const Node& child = core_.cache.at(static_cast<uint32_t>(before.address()));
        if (child.dirty) continue;
        node.entries[i] = child.entry();
        core_.cache.unref(before);
    }
    co_return outcome;
}
// Children first, then the node itself.
io::Task<void> NodeFlusher::flush_node(Node& node, Result<void>& outcome) {
    if (node.level > 0) {
        io::TaskGroup group(core_.executor);
        std::vector<Node*> started;
        for (size_t i = 0; i < kFanout && outcome.ok(); ++i) {
            const Entry entry = node.entries[i];
            if (!entry.is_handle()) continue;
            Node& child = core_.cache.at(static_cast<uint32_t>(entry.address()));
            if (!child.dirty) continue;
            if (child.level == 0) {
                co_await writes_.acquire();
                if (child.dirty) group.spawn(write_leaf(child, outcome));
                else writes_.release();
            } else if (child.level == 1) {
                co_await subtrees_.acquire();
                group.spawn(flush_subtree(child, outcome));
            } else {
                co_await flush_node(child, outcome);
            }
        }
        co_await group.join();
        if (!outcome.ok()) co_return;
        resolve_children(node);
    }
    if (node.level > 0 && node.dirty) {
        Result<void> result = co_await write_node(node);
        if (!result.ok() && outcome.ok()) outcome = result;
    } else if (node.dirty) {
        co_await writes_.acquire();
        co_await write_leaf(node, outcome);
    }
}

io::Task<void> NodeFlusher::flush_subtree(Node& node, Result<void>& outcome) {
    co_await flush_node(node, outcome);
    subtrees_.release();
}

io::Task<void> NodeFlusher::write_leaf(Node& node, Result<void>& outcome) {
    Result<void> result = co_await write_node(node);
    if (!result.ok() && outcome.ok()) outcome = result;
    writes_.release();
}

void NodeFlusher::resolve_children(Node& node) {
    for (size_t i = 0; i < kFanout; ++i) {
        const Entry before = node.entries[i];
        if (!before.is_handle()) continue;
        node.entries[i] = core_.cache.at(static_cast<uint32_t>(before.address())).entry();
        core_.cache.unref(before);
    }
}

io::Task<Result<void>> NodeFlusher::write_node(Node& node) {
    const RegionClass wanted = node.level == 0 ? leaf_class_ : RegionClass::meta;
    ++node.pins;
    for (int attempt = 1;; ++attempt) {
        Result<BlockAddress> address = co_await core_.regions.allocate_node(wanted);
        if (!address.ok()) {
            --node.pins;
            co_return address.take_error();
        }
        const uint32_t crc = core_.checksums.block(node.bytes(), *address, node.birth);
        const int error = co_await core_.blocks.write(*address, node.bytes());
        if (error != 0) {
            core_.regions.give_up(*address, error, space_);
            if (attempt < kWriteAttempts && is_bad_place(error)) continue;
            --node.pins;
            co_return io::failed_io("a map node could not be written", error);
        }
        core_.regions.commit_allocated({*address, 1}, space_);
        core_.cache.mark_written(node, *address, crc);
        ++core_.counters.node_writes;
        // The tree it came from has gone on without it: only this checkpoint's state holds it.
        if (node.orphaned && !MUTANT(45)) core_.regions.free({*address, 1});
        node.orphaned = false;
        --node.pins;
        co_return Result<void>{};
    }
}

io::Task<Result<void>> spill(Core& core, Object& object, BlockIndex before) {
    NodeFlusher flusher(core, nullptr);
    // Nodes that are dirty and in memory, each with its first block; others hold nothing dirty.
    std::vector<std::pair<Node*, BlockIndex>> stack;
    const auto push = [&core, &stack](const Entry& entry, BlockIndex first) {
        if (!entry.is_handle()) return;
        Node& node = core.cache.at(static_cast<uint32_t>(entry.address()));
        if (node.dirty) stack.emplace_back(&node, first);
    };
    push(object.record.root, 0);
    while (!stack.empty()) {
        const auto [node, first] = stack.back();
        stack.pop_back();
        const uint64_t span = entry_blocks(node->level);
        for (size_t i = 0; node->level > 2 && i < kFanout; ++i) {
            push(node->entries[i], first + i * span);
        }
        if (node->level == 2) CO_TRY(co_await flusher.flush_children(*node, first, before));
    }
    co_return Result<void>{};
}

}  // namespace stoa::pool
