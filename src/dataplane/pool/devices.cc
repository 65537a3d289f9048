#include "dataplane/pool/devices.h"

#include <cerrno>

#include "base/mutant.h"

namespace stoa::pool {

namespace {

// How often a host that is full is asked again. Sleeps cannot be interrupted: short ones.
constexpr int kHostRetrySlices = 5;
constexpr uint64_t kHostRetrySliceNs = 50'000'000;

}  // namespace

io::Task<int> Devices::read(size_t device, uint64_t block, MutableBytes into) {
    PoolDevice& d = list[device];
    if (d.device == nullptr) co_return ENODEV;
    co_return co_await d.device->read(block * kBlockBytes, into);
}

io::Task<int> Devices::write_once(size_t device, uint64_t block, ConstBytes from) {
    PoolDevice& d = list[device];
    if (d.device == nullptr) co_return ENODEV;
    const int error = co_await d.device->write(block * kBlockBytes, from);
    d.touched = true;
    co_return error;
}

io::Task<int> Devices::write(size_t device, uint64_t block, ConstBytes from, const bool* give_up) {
    PoolDevice& d = list[device];
    if (d.device == nullptr) co_return ENODEV;
    bool waiting = false;
    for (;;) {
        const int error = co_await d.device->write(block * kBlockBytes, from);
        d.touched = true;
        if (error == ENOSPC && MUTANT(51)) co_return 0;  // as if it had been written
        if (error == ENOSPC && !waiting && waits(give_up)) {
            waiting = true;
            note_waiting(d, true);
        }
        if (error == ENOSPC && co_await pause_for_host(give_up)) continue;
        if (waiting) note_waiting(d, false);
        co_return error;
    }
}

io::Task<bool> Devices::pause_for_host(const bool* give_up) {
    const bool again = waits(give_up);
    for (int slice = 0; slice < kHostRetrySlices && waits(give_up); ++slice) {
        co_await executor_.sleep_ns(kHostRetrySliceNs);
    }
    co_return again;
}

void Devices::note_waiting(PoolDevice& device, bool begins) {
    begins ? ++device.waiting : --device.waiting;
    begins ? ++waiting_ : --waiting_;
    if (on_host_full_ && device.waiting == (begins ? 1 : 0)) on_host_full_(device, begins);
}

io::Task<void> Devices::flush_one(PoolDevice& device, int& error) {
    const int result = co_await device.device->flush();
    if (result != 0 && error == 0) error = result;
}

io::Task<int> Devices::flush_touched() {
    int error = 0;
    if (MUTANT(1)) co_return 0;  // a flush is skipped
    io::Mutex::Guard guard = co_await flush_lock_.lock();
    if (flush_error_ != 0 && !MUTANT(48)) co_return flush_error_;
    io::TaskGroup group(executor_);
    bool first = true;
    for (PoolDevice& d : list) {
        if (d.device == nullptr || !d.touched) continue;
        if (MUTANT(2) && !first) continue;  // only the first touched device is flushed
        first = false;
        d.touched = false;
        ++flushes_;
        group.spawn(flush_one(d, error));
    }
    co_await group.join();
    if (error != 0) flush_error_ = error;
    co_return error;
}

}  // namespace stoa::pool
