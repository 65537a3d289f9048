// What the demo writes, and what it remembers of it: never the data, only checksums.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "dataplane/block/volume.h"

namespace stoa::apps::demo {

inline constexpr uint64_t kBlockBytes = 4096;

// The content of `block` as of `version`: both numbers, then bytes that follow from them. Version 0
// is zeros.
void fill_block(uint64_t block, uint64_t version, MutableBytes into);
// Which version a block holds; nothing if it is not wholly one version of just this block.
[[nodiscard]] std::optional<uint64_t> version_of(uint64_t block, ConstBytes content);

// The CRC32C that each block of a volume must have; new ones are zeros.
class Ledger {
public:
    explicit Ledger(uint64_t size_bytes);

    [[nodiscard]] uint64_t blocks() const { return checksums_.size(); }
    void wrote(uint64_t block, ConstBytes content);
    void zeroed(uint64_t first, uint64_t count);
    [[nodiscard]] bool holds(uint64_t block, ConstBytes content) const;
    // Blocks whose content differs between the two.
    [[nodiscard]] std::vector<uint64_t> differences(const Ledger& other) const;

private:
    std::vector<uint32_t> checksums_;
};

// Writes `count` blocks of `version` and enters them in the ledger. Errors: those of the write.
io::Task<Result<void>> write_version(block::Volume& volume, Ledger& ledger, uint64_t first,
                                     uint64_t count, uint64_t version);

// Reads the whole volume; how many blocks are not as the ledger says. Errors: those of reads.
io::Task<Result<uint64_t>> count_wrong(block::Volume& volume, const Ledger& ledger);

}  // namespace stoa::apps::demo
