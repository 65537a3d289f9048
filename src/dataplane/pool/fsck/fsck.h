// fsck: reads a pool and says what is wrong with it. It never writes.
//
// Written from docs/format/pool.md alone and sharing no code with the pool, so that it can judge
// it. Any bytes are answered with a report: work and memory are bounded by the devices' sizes.
// Shown by fsck_test.cc (each structure damaged in turn) and fsck_fuzz.cc (hostile images whose
// checksums are right).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/uuid.h"

namespace stoa::fsck {

// The bytes of one device, as they lie on it.
class Source {
public:
    virtual ~Source() = default;
    [[nodiscard]] virtual uint64_t size_bytes() const = 0;
    // Fills `into` from `offset_bytes` on (both multiples of 4096); false if it cannot be read.
    virtual bool read(uint64_t offset_bytes, MutableBytes into) = 0;
    // For messages.
    [[nodiscard]] virtual const std::string& name() const = 0;
};

struct Options {
    bool journal = true;  // also what is committed, but not in the superblock's state yet
    bool verify_data = false;  // read every data block and compare its checksum
    size_t messages_max = 200;  // of each kind; further ones are only counted
};

struct Counts {
    uint64_t regions = 0;
    uint64_t allocated_blocks = 0;  // bitmaps not included
    uint64_t data_blocks = 0;  // reached from volumes and snapshots, each once
    uint64_t nodes = 0;  // of all trees, each once
    uint64_t object_blocks = 0;
    uint64_t leaked_blocks = 0;
    uint64_t bad_blocks = 0;
    uint64_t volumes = 0;
    uint64_t snapshots = 0;
    uint64_t orphans = 0;
    uint64_t damage_ranges = 0;
    uint64_t commits = 0;  // in the journal, not in the superblock's state
    uint64_t records = 0;  // of those commits
    uint64_t data_verified = 0;
};

struct Report {
    std::vector<std::string> problems;  // something is lost, or contradicts the format
    std::vector<std::string> repairable;  // a copy is bad, another one is good
    std::vector<std::string> notes;  // neither
    uint64_t problem_count = 0;  // with those beyond messages_max
    uint64_t repairable_count = 0;

    bool is_pool = false;  // a label was found: everything else is zero without
    bool journal_pending = false;
    bool closed_cleanly = false;
    Uuid pool;
    std::string pool_name;
    uint64_t generation = 0;  // of the superblock that was chosen; 0: none verifies
    uint64_t incarnation = 0;
    uint64_t epoch = 0;
    Counts counts;

    [[nodiscard]] bool clean() const { return problem_count == 0 && repairable_count == 0; }
};

// Checks the pool on `devices` (in any order; the first one with a label says which pool).
[[nodiscard]] Report check(std::span<Source* const> devices, const Options& options);

}  // namespace stoa::fsck
