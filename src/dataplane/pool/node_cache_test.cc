// NodeCache: what leaves memory, and when.
#include "dataplane/pool/node_cache.h"

#include <gtest/gtest.h>

#include "dataplane/io/sim/simulator.h"

namespace stoa::pool {
namespace {

constexpr size_t kNodesMax = 64;
constexpr uint32_t kRegionBlocks = 64;

class NodeCacheTest : public ::testing::Test {
protected:
    // A clean node at `address`; the one reference that it had is dropped, unless `kept`.
    Node& written(BlockAddress address, bool kept = false) {
        Node& node = cache_.create(0, 1);
        cache_.mark_written(node, address, 0);
        if (!kept) cache_.unref(node.handle());
        return node;
    }
    Node* look_up(BlockAddress address) {
        return cache_.resident(Entry::make(EntryKind::node, address, 1, 0));
    }

    io::sim::Simulator simulator_{1};
    Checksums checksums_{Uuid{}};
    Devices devices_{simulator_};
    Regions regions_{simulator_, devices_, checksums_, kRegionBlocks, 16, 0};
    BlockIo blocks_{devices_, regions_, checksums_};
    Epoch newest_ = 1;
    NodeCache cache_{simulator_, blocks_, regions_, newest_, kNodesMax};
};

TEST_F(NodeCacheTest, stays_within_its_limit_when_nodes_are_idle) {
    for (BlockAddress at = 1; at <= 10 * kNodesMax; ++at) written(at);
    EXPECT_EQ(cache_.count(), kNodesMax);
    EXPECT_EQ(look_up(1), nullptr);
    EXPECT_NE(look_up(10 * kNodesMax), nullptr);
}

TEST_F(NodeCacheTest, pinned_and_referenced_nodes_stay) {
    Node& pinned = written(1);
    ++pinned.pins;
    Node& held = written(2, true);
    for (BlockAddress at = 3; at <= 10 * kNodesMax; ++at) written(at);
    EXPECT_EQ(look_up(1), &pinned);
    EXPECT_EQ(look_up(2), &held);
    --pinned.pins;
    cache_.unref(held.handle());
    for (BlockAddress at = 1; at <= 10 * kNodesMax; ++at) written(10 * kNodesMax + at);
    EXPECT_EQ(look_up(1), nullptr);
    EXPECT_EQ(look_up(2), nullptr);
}

// Thousands of dirty nodes beyond the limit: each new one must not search them all (this test
// took seconds when it did), and the memory comes back once they are written.
TEST_F(NodeCacheTest, comes_back_to_its_limit_after_everything_was_dirty) {
    constexpr size_t kDirty = 30'000;
    std::vector<Node*> dirty;
    for (size_t i = 0; i < kDirty; ++i) dirty.push_back(&cache_.create(0, 1));
    EXPECT_EQ(cache_.count(), kDirty);
    BlockAddress at = 1;
    for (Node* node : dirty) {
        cache_.mark_written(*node, at++, 0);
        cache_.unref(node->handle());
    }
    EXPECT_EQ(cache_.dirty_count(), 0U);
    for (size_t i = 0; i < kDirty; ++i) written(at++);
    EXPECT_EQ(cache_.count(), kNodesMax);
}

}  // namespace
}  // namespace stoa::pool
