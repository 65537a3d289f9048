#include "dataplane/pool/node_cache.h"

#include <algorithm>

#include <fmt/format.h>

namespace stoa::pool {

namespace {

constexpr size_t kPagesPerChunk = 64;

// All of the object tree is doubled; of a volume's map the leaves are single.
RegionClass node_class(int level, RegionClass content) {
    return level == 0 && content == RegionClass::data ? RegionClass::leaf : RegionClass::meta;
}

size_t slot_of(BlockAddress address, size_t table_size) {
    return (address * 0x9E3779B97F4A7C15ULL >> 20) & (table_size - 1);
}

}  // namespace

NodeCache::NodeCache(io::Executor& executor, BlockIo& blocks, Regions& regions, const Epoch& newest,
                     size_t nodes_max)
    : blocks_(blocks), regions_(regions), newest_(newest), loaded_(executor), nodes_max_(nodes_max),
      table_(1024, 0) {
    idle_.older = &idle_;
    idle_.newer = &idle_;
}

Node* NodeCache::find(BlockAddress address) {
    for (size_t slot = slot_of(address, table_.size());; slot = (slot + 1) & (table_.size() - 1)) {
        const uint32_t value = table_[slot];
        if (value == 0) return nullptr;
        if (nodes_[value - 1]->address == address) return nodes_[value - 1].get();
    }
}

void NodeCache::insert(Node& node) {
    if (2 * (table_used_ + 1) > table_.size()) grow_table();
    size_t slot = slot_of(node.address, table_.size());
    while (table_[slot] != 0) slot = (slot + 1) & (table_.size() - 1);
    table_[slot] = node.index + 1;
    ++table_used_;
}

void NodeCache::grow_table() {
    std::vector<uint32_t> old(table_.size() * 2, 0);
    old.swap(table_);
    for (const uint32_t value : old) {
        if (value == 0) continue;
        size_t slot = slot_of(nodes_[value - 1]->address, table_.size());
        while (table_[slot] != 0) slot = (slot + 1) & (table_.size() - 1);
        table_[slot] = value;
    }
}

void NodeCache::erase(BlockAddress address) {
    const size_t mask = table_.size() - 1;
    size_t slot = slot_of(address, table_.size());
    while (table_[slot] == 0 || nodes_[table_[slot] - 1]->address != address) {
        CHECK(table_[slot] != 0);
        slot = (slot + 1) & mask;
    }
    --table_used_;
    // Close the gap: move back what would no longer be found.
    size_t gap = slot;
    for (size_t next = (gap + 1) & mask; table_[next] != 0; next = (next + 1) & mask) {
        const size_t home = slot_of(nodes_[table_[next] - 1]->address, table_.size());
        if (((next - home) & mask) >= ((next - gap) & mask)) {
            table_[gap] = table_[next];
            gap = next;
        }
    }
    table_[gap] = 0;
}

void NodeCache::link_idle(Node& node) {
    if (node.older != nullptr) return;
    node.older = idle_.older;
    node.newer = &idle_;
    node.older->newer = &node;
    idle_.older = &node;
    ++idle_count_;
}

void NodeCache::unlink_idle(Node& node) {
    if (node.older == nullptr) return;
    node.older->newer = node.newer;
    node.newer->older = node.older;
    node.older = nullptr;
    node.newer = nullptr;
    --idle_count_;
}

// The idle nodes in turn; what was used since its last turn gets another one.
void NodeCache::evict_one() {
    for (size_t steps = 2 * idle_count_; steps > 0 && idle_count_ > 0; --steps) {
        Node& node = *idle_.newer;
        unlink_idle(node);
        if (node.refs > 0) continue;  // the last unref brings it back
        if (node.pins == 0 && !node.recently_used) {
            erase(node.address);
            release_slot(node);
            return;
        }
        node.recently_used = false;
        link_idle(node);
    }
}

Node& NodeCache::take_slot() {
    // Beyond the limit only while nearly everything is dirty or in use; writers are slowed by then.
    // The last idle ones stay: who descends several trees at once must not push out his own path.
    // Two go for one: so it comes back to the limit without a long stretch of work.
    for (int i = 0; i < 2 && in_use_ >= nodes_max_ && idle_count_ > nodes_max_ / 8; ++i) {
        evict_one();
    }
    if (free_.empty()) {
        AlignedBuffer& chunk = pages_.emplace_back(kPagesPerChunk * kBlockBytes);
        const size_t first = nodes_.size();
        for (size_t i = 0; i < kPagesPerChunk; ++i) {
            Node& node = *nodes_.emplace_back(std::make_unique<Node>());
            node.index = static_cast<uint32_t>(first + i);
            node.entries = reinterpret_cast<Entry*>(chunk.data() + i * kBlockBytes);
        }
        for (size_t i = kPagesPerChunk; i > 0; --i) {
            free_.push_back(static_cast<uint32_t>(first + i - 1));
        }
    }
    Node& node = *nodes_[free_.back()];
    free_.pop_back();
    node.in_use = true;
    ++in_use_;
    return node;
}

void NodeCache::release_slot(Node& node) {
    unlink_idle(node);
    node.address = 0;
    node.birth = 0;
    node.refs = 0;
    node.pins = 0;
    node.in_use = false;
    node.dirty = false;
    node.recently_used = false;
    node.orphaned = false;
    free_.push_back(node.index);
    --in_use_;
}

Node& NodeCache::create(int level, Epoch birth) {
    Node& node = take_slot();
    node.level = static_cast<int8_t>(level);
    node.birth = birth;
    node.dirty = true;
    node.refs = 1;
    node.recently_used = true;
    ++dirty_;
    return node;
}

void NodeCache::unref(const Entry& entry) {
    if (!entry.is_handle()) return;
    Node& node = at(static_cast<uint32_t>(entry.address()));
    CHECK(node.refs > 0);
    if (--node.refs > 0) return;
    if (!node.dirty) {
        link_idle(node);
        return;
    }
    if (node.level > 0) {
        for (size_t i = 0; i < kFanout; ++i) unref(node.entries[i]);
    }
    --dirty_;
    release_slot(node);
}

void NodeCache::mark_written(Node& node, BlockAddress address, uint32_t crc) {
    CHECK(node.dirty);
    // The address was used before: what was there is unreachable since its quarantine ended.
    if (Node* stale = find(address); stale != nullptr) {
        CHECK(stale->refs == 0 && stale->pins == 0);
        erase(address);
        release_slot(*stale);
    }
    node.dirty = false;
    --dirty_;
    node.address = address;
    node.crc = crc;
    insert(node);
    if (node.refs == 0) link_idle(node);
}

Result<void> NodeCache::check_content(const Node& node, RegionClass content) const {
    for (size_t i = 0; i < kFanout; ++i) {
        const Entry& entry = node.entries[i];
        // A birth yet to come would prove that the block belongs to one tree alone.
        bool legal = is_legal_entry(entry, node.level) && entry.birth() <= newest_;
        if (legal && entry.kind() == EntryKind::data) {
            legal = regions_.is_plausible(entry.address(), content);
        } else if (legal && entry.kind() == EntryKind::node) {
            legal = regions_.is_plausible(entry.address(), node_class(node.level - 1, content));
        }
        if (!legal) {
            return Error(ErrorCode::corrupt,
                         fmt::format("map node at block {} (level {}) has an impossible entry {}",
                                     node.address, node.level, i));
        }
    }
    return {};
}

io::Task<Result<Node*>> NodeCache::load(Entry entry, int level, RegionClass content) {
    const BlockAddress address = entry.address();
    for (;;) {
        if (Node* node = resident(entry); node != nullptr) {
            if (node->level != level) {
                co_return Error(ErrorCode::corrupt,
                                fmt::format("map node at block {} is used at two levels", address));
            }
            co_return node;
        }
        if (std::ranges::find(loading_, address) == loading_.end()) break;
        co_await loaded_.wait();
    }
    ++misses_;
    const RegionClass wanted = node_class(level, content);
    if (!regions_.is_plausible(address, wanted) || entry.birth() > newest_) {
        co_return Error(ErrorCode::corrupt,
                        fmt::format("map names block {} as a node of level {}, where none can be",
                                    address, level));
    }
    loading_.push_back(address);
    Node& node = take_slot();
    node.pins = 1;
    node.level = static_cast<int8_t>(level);
    const MutableBytes page{reinterpret_cast<std::byte*>(node.entries), kBlockBytes};
    Result<void> result = co_await blocks_.read(entry, page);
    std::erase(loading_, address);
    loaded_.notify_all();
    if (Node* written = find(address); written != nullptr) {
        // The address was given to a new node while the old one was read.
        release_slot(node);
        result =
            Error(ErrorCode::corrupt,
                  fmt::format("map node at block {} was given up and is named still", address));
        co_return result.take_error();
    }
    node.address = address;
    if (result.ok()) result = check_content(node, content);
    if (!result.ok()) {
        release_slot(node);
        co_return result.take_error();
    }
    node.birth = entry.birth();
    node.crc = entry.crc();
    node.pins = 0;
    node.recently_used = true;
    insert(node);
    link_idle(node);
    co_return &node;
}

}  // namespace stoa::pool
