// The journal: what was committed after the superblock's state.
//
// Scans to the cut, looks for signs of newer state that is lost, and applies the records to the
// allocation and the set of objects, so that a record that contradicts them is found.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "dataplane/pool/fsck/objects.h"
#include "dataplane/pool/fsck/regions.h"

namespace stoa::fsck {

// A complete commit, as scanned.
struct Commit {
    uint64_t number = 0;
    uint64_t first_block = 0;  // journal block
    uint64_t blocks = 0;
    uint64_t incarnation = 0;
};

struct JournalScan {
    std::vector<Commit> commits;  // complete ones, in order
    uint64_t cut = 0;             // journal block at which the chain ends
    uint64_t proven = 0;          // highest commit known to be durable
};

// Follows the chain from the superblock's position.
[[nodiscard]] JournalScan scan_journal(const View& view, Findings& findings);

// The records of a commit, joined. Empty if it cannot be read any more.
[[nodiscard]] std::vector<std::byte> read_commit(const View& view, const Commit& commit);

// Validates and applies every commit that counts. Call last: it changes `regions` and `objects`.
void check_journal(const View& view, Regions& regions, Objects& objects, bool verify_data,
                   Findings& findings);

}  // namespace stoa::fsck
