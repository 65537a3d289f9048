// The devices of an open pool: raw block I/O and the flush that covers what was written.
#pragma once

#include <cerrno>
#include <cstdint>
#include <functional>
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
    uint64_t waiting = 0;  // writes that its full host does not take

    // Blocks may be taken from it.
    [[nodiscard]] bool is_member() const { return device != nullptr && !stale; }
};

// Does the error of a write say something of the place, so that another one may do?
[[nodiscard]] constexpr bool is_bad_place(int error) { return error != ENODEV && error != ENOSPC; }

class Devices {
public:
    explicit Devices(io::Executor& executor) : executor_(executor), flush_lock_(executor) {}

    std::vector<PoolDevice> list;  // by device index

    // `block` counts from the start of the device; buffers are whole blocks, aligned.
    // The result is 0 or an errno; ENODEV for a missing device.
    io::Task<int> read(size_t device, uint64_t block, MutableBytes into);
    // While the file system below the device is full (ENOSPC of a sparse file) the same bytes are
    // written to the same place again and again, until it has space: nothing refers to them before
    // this resolves, so that a crash in between is a torn write like any other. ENOSPC only once
    // `give_up` or stop_waiting() ends it. A flush is never tried again, whatever its error.
    io::Task<int> write(size_t device, uint64_t block, ConstBytes from,
                        const bool* give_up = nullptr);
    // The same without waiting.
    io::Task<int> write_once(size_t device, uint64_t block, ConstBytes from);
    // Before a write that was not done for ENOSPC is tried again: a quarter of a second, or until
    // it is given up, when it is tried for the last time. False: it is not to be tried again.
    io::Task<bool> pause_for_host(const bool* give_up = nullptr);
    // From here on, until stop_waiting(), writes wait for the host.
    void start_waiting() { waits_ = true; }
    void stop_waiting() { waits_ = false; }
    // Some write waits for the host.
    [[nodiscard]] bool host_full() const { return waiting_ > 0; }
    // Told when a device's host becomes full, and when its last waiting write has ended.
    void on_host_full(std::function<void(const PoolDevice& device, bool full)> sink) {
        on_host_full_ = std::move(sink);
    }
    // Flushes every device written since its last flush; all at once. 0 or the first errno.
    // After one failure every later call fails: the device may have dropped what it was to make
    // durable, and a flush that succeeds afterwards says nothing about that.
    // One call at a time: a flush that another call has in flight must end before this one may
    // say that the device needs none.
    io::Task<int> flush_touched();

    [[nodiscard]] uint64_t flushes() const { return flushes_; }

private:
    io::Task<void> flush_one(PoolDevice& device, int& error);
    [[nodiscard]] bool waits(const bool* give_up) const {
        return waits_ && (give_up == nullptr || !*give_up);
    }
    void note_waiting(PoolDevice& device, bool begins);

    io::Executor& executor_;
    io::Mutex flush_lock_;
    std::function<void(const PoolDevice&, bool)> on_host_full_;
    bool waits_ = false;
    uint64_t waiting_ = 0;  // writes, of all devices
    uint64_t flushes_ = 0;
    int flush_error_ = 0;
};

}  // namespace stoa::pool
