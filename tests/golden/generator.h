// Makes the golden pools. Run it once for a format version (README.md); the images then stay.
#pragma once

#include <string>
#include <vector>

#include "base/bytes.h"
#include "tests/golden/manifest.h"

namespace stoa::golden {

struct GoldenPool {
    std::string name;  // of its files
    Manifest manifest;
    std::vector<std::vector<std::byte>> devices;
};

// Closed cleanly: volumes, snapshots, a clone, a rollback, holes, tags, a damaged block.
[[nodiscard]] GoldenPool make_closed_pool();
// Its process died: commits wait in the journal.
[[nodiscard]] GoldenPool make_journal_pool();

}  // namespace stoa::golden
