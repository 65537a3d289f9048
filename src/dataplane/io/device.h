// Device: random-access bytes that can be lost until flushed: a file, a disk, or a simulated one.
//
// Implementations: open_device() in device_file.h (io_uring), MemoryDevice (memory_device.h),
// sim::Disk (loses, tears, reorders and damages).
#pragma once

#include <coroutine>
#include <cstdint>
#include <string>

#include "base/bytes.h"
#include "base/result.h"
#include "dataplane/io/executor.h"

namespace stoa::io {

enum class DeviceOp : uint8_t { read, write, flush, discard };

// One operation in flight; lives in its awaiter (a coroutine frame) until it completes.
class DeviceRequest : public Continuation {
public:
    DeviceOp op = DeviceOp::read;
    std::byte* data = nullptr;  // read, write: `length_bytes` bytes; stays valid until completion
    uint64_t offset_bytes = 0;  // multiple of 512
    uint64_t length_bytes = 0;  // multiple of 512
    int error = 0;  // result: 0 or an errno (positive)

protected:
    ~DeviceRequest() = default;
};

class Device {
public:
    virtual ~Device() = default;

    // Starts `request`; its resume() is called exactly once from the executor's loop when it has
    // ended, never inside submit(). Requests in flight complete in any order. A write that
    // completed is readable at once and durable after a flush submitted later has completed.
    // A short transfer is an error (EIO). Discard is advice: the content is undefined after.
    virtual void submit(DeviceRequest& request) = 0;

    [[nodiscard]] virtual uint64_t size_bytes() const = 0;
    // For messages: a path or a name.
    [[nodiscard]] virtual const std::string& name() const = 0;
    // The open file below it, for those who must look at it past this interface (it stays the
    // device's, and may be for direct I/O); -1: none.
    [[nodiscard]] virtual int descriptor() const { return -1; }
    // Looks again at how big the device is (after it was grown from outside).
    virtual Result<uint64_t> refresh_size() = 0;

    struct Awaiter final : DeviceRequest {
        Awaiter(Device& owner, DeviceOp operation, std::byte* buffer, uint64_t offset,
                uint64_t length)
            : device(owner) {
            op = operation;
            data = buffer;
            offset_bytes = offset;
            length_bytes = length;
        }
        Device& device;
        std::coroutine_handle<> handle;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> suspended) {
            handle = suspended;
            device.submit(*this);
        }
        // 0 or an errno.
        int await_resume() const noexcept { return error; }
        void resume() override { handle.resume(); }
    };

    // Awaitables that yield 0 or an errno; buffers are borrowed until then and, for direct I/O,
    // aligned to 512 bytes at least.
    Awaiter read(uint64_t offset_bytes, MutableBytes into) {
        return {*this, DeviceOp::read, into.data(), offset_bytes, into.size()};
    }
    Awaiter write(uint64_t offset_bytes, ConstBytes from) {
        return {*this, DeviceOp::write, const_cast<std::byte*>(from.data()), offset_bytes,
                from.size()};
    }
    Awaiter flush() { return {*this, DeviceOp::flush, nullptr, 0, 0}; }
    Awaiter discard(uint64_t offset_bytes, uint64_t length_bytes) {
        return {*this, DeviceOp::discard, nullptr, offset_bytes, length_bytes};
    }
};

}  // namespace stoa::io
