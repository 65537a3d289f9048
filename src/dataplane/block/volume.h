// Volume: what every block protocol serves and every data mover copies.
//
// Implementations: pool volumes and snapshots (src/dataplane/pool), origins of any kind.
// Semantics are those of a disk with a volatile write cache: a completed write is visible to all
// readers at once and durable after a flush submitted later has completed. Concurrent overlapping
// writes land in any order, each block whole.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "dataplane/io/task.h"

namespace stoa::block {

enum class ExtentKind : uint8_t {
    absent,  // never written; reads the origin, or zero without one
    hole,    // reads zero
    data,
    damaged,  // reading fails
};

struct Extent {
    uint64_t offset_bytes = 0;
    uint64_t length_bytes = 0;
    ExtentKind kind = ExtentKind::absent;
};

struct WriteOptions {
    bool force_unit_access = false;  // durable when the task resolves
};

struct ZeroOptions {
    bool force_unit_access = false;
};

class Volume {
public:
    virtual ~Volume() = default;

    [[nodiscard]] virtual uint64_t size_bytes() const = 0;
    [[nodiscard]] virtual bool read_only() const = 0;

    // Offsets and lengths are multiples of 512, within the volume; buffers are borrowed until the
    // task ends and may change while it runs (a write takes one private copy).
    // Errors of all: invalid_argument, out_of_range, io, corrupt (a range fails its checksum),
    // read_only, cancelled (the handle is closing).
    virtual io::Task<Result<void>> read(uint64_t offset_bytes, MutableBytes into) = 0;
    virtual io::Task<Result<void>> write(uint64_t offset_bytes, ConstBytes from,
                                         WriteOptions options) = 0;
    // Makes everything acknowledged before the call durable.
    virtual io::Task<Result<void>> flush() = 0;
    // Whole blocks (4096) inside the range read zero afterwards; partial edges are left alone.
    virtual io::Task<Result<void>> discard(uint64_t offset_bytes, uint64_t length_bytes) = 0;
    // Every byte of the range reads zero afterwards.
    virtual io::Task<Result<void>> write_zeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                                ZeroOptions options) = 0;
    // What is mapped where, in order, gapless from offset_bytes; at most `extents_max` extents,
    // so possibly less than the whole range.
    virtual io::Task<Result<std::vector<Extent>>> extents(uint64_t offset_bytes,
                                                          uint64_t length_bytes,
                                                          size_t extents_max) = 0;
};

}  // namespace stoa::block
