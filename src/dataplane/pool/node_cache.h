// Map nodes in memory: one bounded cache of 4 KiB nodes, clean and dirty.
//
// - A clean node equals its block on the device and is found by address.
// - A dirty node has no address yet; entries reach it by handle (Entry::kHandle), each counted in
//   `refs`. A node that was written keeps being reached by the handles that exist, until their
//   holders are written too; it leaves memory only when no handle and no pin is left.
// - Content of a node changes only in place while it is dirty and younger than every freeze that
//   may hold it (tree.cc); everything else copies it first.
// - Clean nodes without a handle are in the list of idle ones, the only place where eviction looks:
//   it costs the same however many others are dirty.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "dataplane/io/sync.h"
#include "dataplane/io/task.h"
#include "dataplane/pool/block_io.h"
#include "dataplane/pool/format.h"

namespace stoa::pool {

struct Node {
    Node* older = nullptr;  // neighbours in the ring of idle nodes; null: not in it
    Node* newer = nullptr;
    Entry* entries = nullptr;  // 256, one aligned block
    BlockAddress address = 0;  // 0: never written
    Epoch birth = 0;
    uint32_t crc = 0;  // with an address
    uint32_t index = 0;  // in the cache; the address of its handle entries
    uint32_t refs = 0;  // handles in other nodes, roots and checkpoints
    uint32_t pins = 0;  // in use by a task or by a write in flight
    int8_t level = 0;
    bool in_use = false;
    bool dirty = false;
    bool recently_used = false;
    bool orphaned = false;  // only a running checkpoint still wants it: freed once written

    [[nodiscard]] ConstBytes bytes() const {
        return {reinterpret_cast<const std::byte*>(entries), kBlockBytes};
    }
    [[nodiscard]] Entry handle() const {
        return Entry::make(EntryKind::node, index, birth, 0, Entry::kHandle);
    }
    // As it is named on disk; needs an address.
    [[nodiscard]] Entry entry() const { return Entry::make(EntryKind::node, address, birth, crc); }
};

class NodeCache {
public:
    // `newest` is the pool's epoch: no birth on a device is above it.
    NodeCache(io::Executor& executor, BlockIo& blocks, Regions& regions, const Epoch& newest,
              size_t nodes_max);
    NodeCache(const NodeCache&) = delete;
    NodeCache& operator=(const NodeCache&) = delete;

    // The node an entry names, if it is in memory. `entry` is of kind NODE.
    [[nodiscard]] Node* resident(const Entry& entry) {
        Node* node =
            entry.is_handle() ? &at(static_cast<uint32_t>(entry.address())) : find(entry.address());
        if (node != nullptr) node->recently_used = true;
        return node;
    }
    // Reads and checks the node of `entry` (level of the node itself) unless it is in memory.
    // It may leave memory again at the next suspension, unless pinned.
    // `content` is the class of the blocks that a leaf's DATA entries name.
    io::Task<Result<Node*>> load(Entry entry, int level, RegionClass content = RegionClass::data);

    // A new dirty node with one reference, to be stored as its handle by the caller.
    Node& create(int level, Epoch birth);
    void ref(const Entry& entry) {
        if (entry.is_handle()) ++at(static_cast<uint32_t>(entry.address())).refs;
    }
    // Drops the reference a handle held; a dirty node nobody reaches is forgotten.
    void unref(const Entry& entry);
    // The node was written to `address`: it is clean and found there.
    void mark_written(Node& node, BlockAddress address, uint32_t crc);
    // What an entry means, whether it is a handle or an address: equal nodes compare equal.
    [[nodiscard]] Entry identity(const Entry& entry) {
        if (!entry.is_handle()) return entry;
        const Node& node = at(static_cast<uint32_t>(entry.address()));
        return node.address != 0 ? node.entry() : entry;
    }

    [[nodiscard]] Node& at(uint32_t index) { return *nodes_[index]; }
    [[nodiscard]] size_t dirty_count() const { return dirty_; }
    [[nodiscard]] size_t count() const { return in_use_; }
    [[nodiscard]] size_t nodes_max() const { return nodes_max_; }
    [[nodiscard]] uint64_t hits() const { return hits_; }
    [[nodiscard]] uint64_t misses() const { return misses_; }
    void count_hit() { ++hits_; }

private:
    [[nodiscard]] Node* find(BlockAddress address);
    void insert(Node& node);
    void erase(BlockAddress address);
    Node& take_slot();
    void release_slot(Node& node);
    void evict_one();
    void link_idle(Node& node);
    void unlink_idle(Node& node);
    void grow_table();
    [[nodiscard]] Result<void> check_content(const Node& node, RegionClass content) const;

    BlockIo& blocks_;
    Regions& regions_;
    const Epoch& newest_;
    io::Condition loaded_;
    size_t nodes_max_;
    size_t in_use_ = 0;
    size_t dirty_ = 0;
    uint64_t hits_ = 0;
    uint64_t misses_ = 0;
    Node idle_;  // head of a ring: idle_.newer is the next to go, idle_.older came last
    size_t idle_count_ = 0;
    std::vector<std::unique_ptr<Node>> nodes_;
    std::vector<AlignedBuffer> pages_;
    std::vector<uint32_t> free_;
    std::vector<BlockAddress> loading_;
    // Open addressing by address; 0 = empty, else index + 1.
    std::vector<uint32_t> table_;
    size_t table_used_ = 0;
};

}  // namespace stoa::pool
