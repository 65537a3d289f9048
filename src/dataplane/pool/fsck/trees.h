// Walks trees and checks every entry of them once, however many trees share it.
//
// Level by level from the roots: when a node is read, all its parents were, so that it is judged
// by the strictest of the trees that hold it. Memory: per node and edge, not per tree.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "dataplane/pool/fsck/regions.h"

namespace stoa::fsck {

struct Tree {
    std::string name;        // for messages
    Entry root;
    uint64_t birth_max = 0;  // no birth is larger
    uint64_t end_block = 0;  // from here on there is nothing but ABSENT and HOLE
    uint64_t cursor = 0;     // what lies entirely left of it may be freed: not looked at
    uint64_t family = 0;     // trees that share blocks have the same one
    int64_t parent = -1;     // index of another tree
    // Results.
    uint64_t mapped = 0;
    bool complete = true;    // all of it could be read
};

// What the walk is over.
struct WalkOptions {
    uint64_t domain = 0;          // 0: the object tree, 1: volumes; they share nothing
    uint8_t data_class = kDataClass;
    bool read_data = false;       // and check its checksum
    bool check_sharing = false;   // that holders of a block are connected: at most 64 trees
    // Called for each DATA block read.
    std::function<void(uint64_t block, const Block& content)> visit;
    // Called for each node read: the first tree that was found to hold it, and where it stands.
    std::function<void(const Tree& tree, const Entry& entry, int level, uint64_t first_block,
                       const Block& content)>
        visit_node;
};

class Walk {
public:
    Walk(Regions& regions, Findings& findings, WalkOptions options)
        : regions_(regions), findings_(findings), options_(std::move(options)) {}

    // Fills the results of `trees`. Returns whether all could be read.
    bool run(std::vector<Tree>& trees);

private:
    // A node to read, or already read. Limits are the strictest of its holders.
    struct Node {
        Entry entry;
        uint64_t first_block = 0;
        uint64_t birth_max = 0;
        uint64_t end_block = 0;
        uint64_t cursor = 0;
        uint64_t holders = 0;
        uint32_t tree = 0;  // the first one that was found to hold it
        bool complete = true;
        size_t edges_begin = 0;
        size_t edges_end = 0;
        uint64_t mapped = 0;
    };
    static constexpr uint32_t kNone = UINT32_MAX;

    uint32_t arrive(const Node& context, const Entry& entry, int level, uint64_t first_block);
    bool claim(const Node& context, const Entry& entry, int level, uint64_t first_block);
    void read_node(Node& node, int level);
    void check_entry(Node& node, const Entry& entry, int level, uint64_t first_block);
    void check_data(Node& node, const Entry& entry, uint64_t block);
    void sum_up();
    void check_sharing();
    std::string where(const Node& context, int level, uint64_t first_block) const;

    Regions& regions_;
    Findings& findings_;
    WalkOptions options_;
    std::vector<Tree>* trees_ = nullptr;
    std::array<std::vector<Node>, 4> nodes_;  // by level
    std::array<std::vector<uint32_t>, 4> edges_;  // of the nodes of a level: into the level below
    std::unordered_map<uint64_t, uint32_t> known_;  // address: node of the level being filled
};

}  // namespace stoa::fsck
