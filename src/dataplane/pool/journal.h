// The journal: a ring of checksummed blocks, in two copies, that makes records durable before the
// maps they change are written.
//
// Format and the rules of scanning: docs/format/pool.md, "Journal". The journal writes; the flush
// that makes a commit durable is the committer's (commit.cc), since it covers the data too.
// Behaviour under power loss: tests/sim.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/result.h"
#include "dataplane/io/task.h"
#include "dataplane/pool/devices.h"
#include "dataplane/pool/format.h"
#include "dataplane/pool/records.h"

namespace stoa::pool {

inline constexpr size_t kJournalPayloadBytes = 4032;

struct JournalPlace {
    size_t device = 0;
    uint64_t start = 0;  // first block of the ring on that device
};

class JournalWriter {
public:
    JournalWriter(io::Executor& executor, Devices& devices, const Checksums& checksums)
        : executor_(executor), devices_(devices), checksums_(checksums) {}

    void configure(std::array<JournalPlace, 2> places, uint64_t ring_blocks);
    // The next commit starts at block `next_block`; blocks from `tail_block` on are needed.
    void start(uint64_t incarnation, uint64_t next_block, uint64_t tail_block,
               uint64_t last_commit);

    // Blocks a commit with `payload_bytes` of records takes.
    [[nodiscard]] static uint64_t blocks_for(size_t payload_bytes) {
        return (payload_bytes + kCommitEndBytes + kJournalPayloadBytes - 1) / kJournalPayloadBytes;
    }
    [[nodiscard]] uint64_t free_blocks() const {
        return ring_blocks_ - (next_block_ - tail_block_);
    }
    [[nodiscard]] uint64_t ring_blocks() const { return ring_blocks_; }
    [[nodiscard]] uint64_t next_block() const { return next_block_; }
    [[nodiscard]] uint64_t last_commit() const { return commit_; }
    void advance_tail(uint64_t block) { tail_block_ = block; }

    // Writes the next commit to both copies. `payload` are encoded records, without the commit
    // end, which is added here. Needs free_blocks(). Resolves to 0 or an errno; not durable yet.
    io::Task<int> write_commit(std::vector<std::byte>& payload, CommitEnd end, uint64_t generation,
                               uint64_t proven);
    // The note that commit `commit` is durable; the next commit overwrites it.
    io::Task<int> write_proof(uint64_t commit, uint64_t generation);

private:
    void seal_block(std::byte* block, uint64_t number, uint64_t commit, uint64_t generation,
                    uint64_t proven, uint32_t index, uint16_t flags, uint16_t payload_bytes,
                    uint32_t chain);
    io::Task<int> write_blocks(uint64_t first_block, ConstBytes blocks);
    io::Task<void> write_copy(size_t copy, uint64_t first_block, ConstBytes blocks, int& error);

    io::Executor& executor_;
    Devices& devices_;
    const Checksums& checksums_;
    std::array<JournalPlace, 2> places_{};
    uint64_t ring_blocks_ = 0;
    uint64_t incarnation_ = 0;
    uint64_t next_block_ = 0;
    uint64_t tail_block_ = 0;
    uint64_t commit_ = 0;
    AlignedBuffer buffer_;
};

struct ScannedCommit {
    uint64_t number = 0;
    uint64_t first_block = 0;
    uint64_t next_block = 0;
    uint64_t first_sequence = 0;
    uint64_t last_sequence = 0;
    std::vector<std::byte> payload;  // records, without the commit end
};

// Reads the commits after a superblock, in order, up to the cut.
class JournalReader {
public:
    JournalReader(Devices& devices, const Checksums& checksums, const Superblock& superblock,
                  std::array<JournalPlace, 2> places, uint64_t ring_blocks)
        : devices_(devices), checksums_(checksums), superblock_(superblock), places_(places),
          ring_blocks_(ring_blocks), next_(superblock.journal_start), commit_(superblock.commit),
          sequence_(superblock.sequence) {}

    // The next complete commit, or nothing at the cut. Errors: io.
    io::Task<Result<std::optional<ScannedCommit>>> next();
    // Highest commit number known to be durable; complete only after the scan.
    [[nodiscard]] uint64_t proven() const { return proven_; }
    // After the scan: does the ring hold what proves that newer commits or superblocks existed?
    // The text says what was seen.
    io::Task<Result<std::optional<std::string>>> find_damage();
    // After find_damage(): of all well-formed blocks in the ring.
    [[nodiscard]] uint64_t highest_incarnation() const { return highest_incarnation_; }

private:
    struct Header {
        uint64_t number = 0, incarnation = 0, commit = 0, generation = 0, proven = 0;
        uint32_t crc = 0, index = 0, chain = 0;
        uint16_t flags = 0, payload_bytes = 0;
    };
    void look_for_damage(const Header& header, uint64_t cut, std::optional<std::string>& damage);
    io::Task<Result<void>> fill_window(uint64_t block);
    [[nodiscard]] std::optional<Header> parse(ConstBytes block, uint64_t number) const;
    // The block in either copy; nothing if neither verifies.
    io::Task<Result<std::optional<Header>>> read_block(uint64_t number,
                                                       std::vector<std::byte>& payload);
    [[nodiscard]] uint64_t incarnation_at(uint64_t number) const;

    Devices& devices_;
    const Checksums& checksums_;
    const Superblock& superblock_;
    std::array<JournalPlace, 2> places_;
    uint64_t ring_blocks_;
    uint64_t next_;
    uint64_t commit_;
    uint64_t sequence_;  // of the last record
    uint64_t proven_ = 0;
    uint64_t highest_incarnation_ = 0;
    bool ended_ = false;
    AlignedBuffer window_;
    uint64_t window_first_ = 0;
    uint64_t window_count_ = 0;
};

}  // namespace stoa::pool
