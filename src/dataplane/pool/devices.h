// The devices of an open pool: raw block I/O and the flush that covers what was written.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "dataplane/io/device.h"
#include "dataplane/io/sync.h"
#include "dataplane/io/task.h"
#include "dataplane/pool/format.h"

namespace stoa::pool {

struct PoolDevice {
    io::Device* device = nullptr;  // nullptr: missing
    Label label;
    DeviceLayout layout;
    bool touched = false;          // written since the last flush was submitted
    // It was away while the pool was used without it: blocks that carry a checksum are read and
    // written as ever; its superblocks and its journal do not count, no block is taken from it.
    bool stale = false;
    bool joins = false;  // the next superblock makes it a member again

    // Blocks may be taken from it.
    [[nodiscard]] bool is_member() const { return device != nullptr && !stale; }
};

class Devices {
public:
    explicit Devices(io::Executor& executor) : executor_(executor), flush_lock_(executor) {}

    std::vector<PoolDevice> list;  // by device index

    // `block` counts from the start of the device; buffers are whole blocks, aligned.
    // The result is 0 or an errno; ENODEV for a missing device.
    io::Task<int> read(size_t device, uint64_t block, MutableBytes into);
    io::Task<int> write(size_t device, uint64_t block, ConstBytes from);
    // Flushes every device written since its last flush; all at once. 0 or the first errno.
    // After one failure every later call fails: the device may have dropped what it was to make
    // durable, and a flush that succeeds afterwards says nothing about that.
    // One call at a time: a flush that another call has in flight must end before this one may
    // say that the device needs none.
    io::Task<int> flush_touched();

    [[nodiscard]] uint64_t flushes() const { return flushes_; }

private:
    io::Task<void> flush_one(PoolDevice& device, int& error);

    io::Executor& executor_;
    io::Mutex flush_lock_;
    uint64_t flushes_ = 0;
    int flush_error_ = 0;
};

}  // namespace stoa::pool
