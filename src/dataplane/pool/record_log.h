// The records that are acknowledged and not yet known to be in a durable commit.
//
// They lie in shared memory, so that the death of the process loses none of them: the guest that
// was told "written" did not die and will not write again. Without shared memory the same ring is
// private memory (tools that open, change little and close).
// Format: docs/format/pool.md, "Acknowledged-write ring".
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "base/uuid.h"
#include "dataplane/io/shared_memory.h"
#include "dataplane/pool/format.h"

namespace stoa::pool {

class RecordLog {
public:
    static constexpr size_t kFrameBytes = 16;
    static constexpr size_t kHeaderBytes = 4096;

    // `memory` may be nullptr; then a private ring of `private_bytes` is used.
    RecordLog(io::SharedMemory* memory, size_t private_bytes, const Checksums& checksums);

    // What the ring of an earlier process still holds, records in order from `sequence` on.
    // Empty if it belongs to another pool or incarnation. Damage ends it at the last good record.
    struct Leftover {
        bool present = false;
        uint64_t first_sequence = 0;
        std::vector<std::vector<std::byte>> records;
    };
    [[nodiscard]] Leftover leftover(const Uuid& pool, uint64_t incarnation) const;

    // Empties the ring for `incarnation`; the next record gets `next_sequence`.
    void start(const Uuid& pool, uint64_t incarnation, uint64_t next_sequence);

    [[nodiscard]] bool fits(size_t record_bytes) const {
        return head_ - tail_ + record_bytes + kFrameBytes <= capacity_;
    }
    [[nodiscard]] size_t capacity() const { return capacity_; }
    // Needs fits(). The record survives the process when this returns.
    void append(ConstBytes record);

    // Copies the records from `position` on, whole ones, at most `bytes_max` bytes of them but at
    // least one, to the end of `out`; moves `position` behind them; returns how many.
    uint64_t copy_out(uint64_t& position, size_t bytes_max, std::vector<std::byte>& out) const;
    // Everything before `position` is durable elsewhere.
    void trim(uint64_t position);

    [[nodiscard]] uint64_t head() const { return head_; }
    [[nodiscard]] uint64_t tail() const { return tail_; }
    // Sequence of the last record appended.
    [[nodiscard]] uint64_t last_sequence() const { return next_sequence_ - 1; }

private:
    void write_ring(uint64_t position, ConstBytes from);
    void read_ring(uint64_t position, MutableBytes into) const;

    const Checksums& checksums_;
    std::unique_ptr<std::byte, FreeDeleter> private_;
    std::byte* base_ = nullptr;  // header, then ring
    size_t capacity_ = 0;
    uint64_t head_ = 0;
    uint64_t tail_ = 0;
    uint64_t next_sequence_ = 1;
    uint64_t incarnation_ = 0;
};

}  // namespace stoa::pool
