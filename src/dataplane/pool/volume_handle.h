// VolumeHandle: an attached volume or snapshot; block::Volume over the pool.
//
// Reads are verified; writes go to new blocks (redirect on write) through a private copy. A block
// written in part is read, merged and written whole; if somebody changed it meanwhile it is done
// again, so that no acknowledged write is ever lost to a neighbour in the same block.
#pragma once

#include <cstdint>

#include "dataplane/block/volume.h"
#include "dataplane/pool/bounce.h"
#include "dataplane/pool/core.h"
#include "dataplane/pool/map_change.h"

namespace stoa::pool {

// In a full pool a guest's write is held until there is space; what serves nobody yet fails.
enum class WhenFull : uint8_t { hold, fail };

class VolumeHandle final : public block::Volume {
public:
    VolumeHandle(Core& core, Object& object, bool read_only, WhenFull when_full = WhenFull::hold)
        : core_(core), object_(object), idle_(core.executor), when_full_(when_full),
          read_only_(read_only) {}
    VolumeHandle(const VolumeHandle&) = delete;
    VolumeHandle& operator=(const VolumeHandle&) = delete;
    ~VolumeHandle() override { CHECK(in_flight_ == 0); }

    [[nodiscard]] uint64_t size_bytes() const override { return object_.record.size_bytes; }
    [[nodiscard]] bool read_only() const override { return read_only_; }
    io::Task<Result<void>> read(uint64_t offset_bytes, MutableBytes into) override;
    io::Task<Result<void>> write(uint64_t offset_bytes, ConstBytes from,
                                 block::WriteOptions options) override;
    io::Task<Result<void>> flush() override;
    io::Task<Result<void>> discard(uint64_t offset_bytes, uint64_t length_bytes) override;
    io::Task<Result<void>> write_zeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                        block::ZeroOptions options) override;
    io::Task<Result<std::vector<block::Extent>>> extents(uint64_t offset_bytes,
                                                         uint64_t length_bytes,
                                                         size_t extents_max) override;

    // Refuses new requests, drops held ones, waits for the others.
    io::Task<void> close();
    [[nodiscard]] bool closing() const { return closing_; }
    [[nodiscard]] Object& object() { return object_; }
    // Belongs to the attachment of another handle.
    void mark_shared() { shared_ = true; }
    [[nodiscard]] bool is_shared() const { return shared_; }

private:
    class Operation {
    public:
        explicit Operation(VolumeHandle& handle) : handle_(handle) { ++handle_.in_flight_; }
        Operation(const Operation&) = delete;
        Operation& operator=(const Operation&) = delete;
        ~Operation() {
            if (--handle_.in_flight_ == 0 && handle_.closing_) handle_.idle_.notify_all();
        }

    private:
        VolumeHandle& handle_;
    };

    [[nodiscard]] Result<void> check(uint64_t offset_bytes, uint64_t length_bytes,
                                     bool changes) const;
    // Part of one leaf, whole blocks, into an aligned buffer.
    io::Task<Result<void>> read_blocks(BlockIndex first, size_t count, std::byte* into);
    io::Task<Result<void>> read_absent(BlockIndex first, size_t count, std::byte* into);
    io::Task<Result<void>> read_verified(const Entry& entry, BlockIndex block, std::byte* into);
    io::Task<void> read_run(Location from, MutableBytes into, int& error);
    // Whole blocks of one leaf.
    io::Task<Result<void>> write_blocks(BlockIndex first, size_t count, const std::byte* from);
    // Sectors inside one block.
    io::Task<Result<void>> write_partial(uint64_t offset_bytes, ConstBytes from);
    friend io::Task<Result<void>> zero_tail(Core& core, Object& object);
    io::Task<Result<void>> write_range(uint64_t offset_bytes, ConstBytes from);

    Core& core_;
    Object& object_;
    io::Condition idle_;
    uint32_t in_flight_ = 0;
    WhenFull when_full_;
    bool read_only_;
    bool closing_ = false;
    bool shared_ = false;
};

// Zeroes the last block behind the volume's end (sizes need not be whole blocks).
// Errors: no_space, io, corrupt, read_only, cancelled.
io::Task<Result<void>> zero_tail(Core& core, Object& object);

// Waits while the pool, or the file system below it, has no space for `blocks` blocks of data,
// until `give_up` says so. Before a write takes a buffer: what is held must not keep them from
// reads.
// Errors: no_space (with WhenFull::fail), read_only, cancelled.
io::Task<Result<void>> hold_while_full(Core& core, const Object& object, size_t blocks,
                                       const bool& give_up, WhenFull when_full);

// Fills change.address for every block of `content` that is not zero: allocates, writes, retries
// elsewhere after device errors. Waits while the pool is full, until `give_up` says so.
// On an error nothing stays allocated. Errors: no_space (with WhenFull::fail), io, read_only,
// cancelled.
io::Task<Result<void>> store_blocks(Core& core, Object& object, MapChange& change,
                                    const bool& give_up, WhenFull when_full = WhenFull::hold);

}  // namespace stoa::pool
