#include "dataplane/io/memory_device.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "dataplane/io/system_error.h"

namespace stoa::io {

namespace {

constexpr uint64_t kSectorBytes = 512;
constexpr uint64_t kPageBytes = 4096;
// Smaller discards cost more than the memory that they give back.
constexpr uint64_t kDiscardBytesMin = uint64_t{64} << 10;

}  // namespace

void MemoryDevice::Unmap::operator()(std::byte* content) const { munmap(content, size_bytes); }

MemoryDevice::MemoryDevice(Executor& executor, std::string name, MemoryDeviceOptions options,
                           Mapping content)
    : executor_(executor), name_(std::move(name)), options_(options), content_(std::move(content)) {
}

Result<std::unique_ptr<MemoryDevice>> MemoryDevice::create(Executor& executor, std::string name,
                                                           MemoryDeviceOptions options) {
    if (options.size_bytes == 0 || options.size_bytes % kSectorBytes != 0) {
        return Error(ErrorCode::invalid_argument, "device " + name + ": a size of " +
                                                      std::to_string(options.size_bytes) +
                                                      " bytes is not a positive multiple of 512");
    }
    void* content = mmap(nullptr, options.size_bytes, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (content == MAP_FAILED) {
        return system_error("device " + name + ": cannot reserve " +
                                std::to_string(options.size_bytes) + " bytes of memory",
                            errno);
    }
    Mapping mapping(static_cast<std::byte*>(content), Unmap{options.size_bytes});
    return std::unique_ptr<MemoryDevice>(
        new MemoryDevice(executor, std::move(name), options, std::move(mapping)));
}

void MemoryDevice::submit(DeviceRequest& request) {
    CHECK(request.offset_bytes % kSectorBytes == 0 && request.length_bytes % kSectorBytes == 0);
    if (request.op == DeviceOp::flush) {
        request.error = 0;
        if (options_.flush_latency_ns == 0) executor_.post(request);
        else executor_.post_at(executor_.now_ns() + options_.flush_latency_ns, request);
        return;
    }
    const bool fits = request.length_bytes <= options_.size_bytes &&
                      request.offset_bytes <= options_.size_bytes - request.length_bytes;
    request.error = fits ? 0 : EIO;
    if (fits && request.length_bytes > 0) {
        std::byte* place = content_.get() + request.offset_bytes;
        switch (request.op) {
            case DeviceOp::read: std::memcpy(request.data, place, request.length_bytes); break;
            case DeviceOp::write: std::memcpy(place, request.data, request.length_bytes); break;
            case DeviceOp::discard: discard(request.offset_bytes, request.length_bytes); break;
            case DeviceOp::flush: break;
        }
    }
    executor_.post(request);
}

void MemoryDevice::discard(uint64_t offset_bytes, uint64_t length_bytes) {
    const uint64_t begin = (offset_bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
    const uint64_t end = (offset_bytes + length_bytes) / kPageBytes * kPageBytes;
    if (end < begin + kDiscardBytesMin) return;
    // Advice: if it fails, the memory stays.
    static_cast<void>(madvise(content_.get() + begin, end - begin, MADV_DONTNEED));
}

}  // namespace stoa::io
