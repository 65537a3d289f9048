#include "dataplane/pool/devices.h"

#include <cerrno>

#include "base/mutant.h"

namespace stoa::pool {

io::Task<int> Devices::read(size_t device, uint64_t block, MutableBytes into) {
    PoolDevice& d = list[device];
    if (d.device == nullptr) co_return ENODEV;
    co_return co_await d.device->read(block * kBlockBytes, into);
}

io::Task<int> Devices::write(size_t device, uint64_t block, ConstBytes from) {
    PoolDevice& d = list[device];
    if (d.device == nullptr) co_return ENODEV;
    const int error = co_await d.device->write(block * kBlockBytes, from);
    list[device].touched = true;
    co_return error;
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
