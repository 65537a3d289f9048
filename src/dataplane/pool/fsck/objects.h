// The objects of a pool: volumes, snapshots, orphans, damage ranges, and how they hang together.
#pragma once

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "dataplane/pool/fsck/findings.h"
#include "dataplane/pool/fsck/layout.h"
#include "dataplane/pool/fsck/trees.h"

namespace stoa::fsck {

// More trees than this are not checked for the holders of a block being connected.
inline constexpr size_t kSharingTreesMax = 64;

class Objects {
public:
    // Takes the object slots of block `block` of the object tree.
    void load_block(uint64_t block, const Block& content, const Superblock& superblock,
                    Findings& findings);
    // Adds or replaces, as a journal record does; says why it cannot.
    void put(const Object& object);
    [[nodiscard]] Object* find(uint64_t id);
    // The children of `id` get its parent.
    void remove(uint64_t id);

    // Fields, names and parents of all. `context` begins each message ("" or "journal: ").
    void check(const Superblock& superblock, std::string_view context, Findings& findings);

    // One tree per object that has one. Call after check().
    [[nodiscard]] std::vector<Tree> trees(const Superblock& superblock) const;
    // Compares the counts of the walk with the objects. `trees` as trees() returned them.
    void check_mapped(const std::vector<Tree>& trees, Findings& findings) const;
    void count(Counts& counts) const;

private:
    [[nodiscard]] std::string describe(const Object& object) const;
    [[nodiscard]] const Object* get(uint64_t id) const;
    void check_fields(const Object& object, const Superblock& superblock, std::string_view context,
                      Findings& findings) const;
    void check_names(std::string_view context, Findings& findings) const;
    void check_forest(std::string_view context, Findings& findings);

    std::vector<Object> objects_;
    std::unordered_map<uint64_t, size_t> by_id_;
    std::vector<uint64_t> family_;  // of each object: id of the topmost one above it
};

}  // namespace stoa::fsck
