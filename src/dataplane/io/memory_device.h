// A device in memory on any executor: for benchmarks, and for tests that want no faults (those
// that do: sim::Disk). Nothing is lost while it lives, flushed or not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "dataplane/io/device.h"

namespace stoa::io {

struct MemoryDeviceOptions {
    uint64_t size_bytes = 0;        // multiple of 512, not 0; memory is taken as it is written
    uint64_t flush_latency_ns = 0;  // what each flush takes
};

class MemoryDevice final : public Device {
public:
    // Zeroed. Errors: invalid_argument, io (not enough address space).
    static Result<std::unique_ptr<MemoryDevice>> create(Executor& executor, std::string name,
                                                        MemoryDeviceOptions options);

    // The bytes are copied within the call; the request ends through the executor's queue.
    // Beyond the end: EIO.
    void submit(DeviceRequest& request) override;
    [[nodiscard]] uint64_t size_bytes() const override { return options_.size_bytes; }
    [[nodiscard]] const std::string& name() const override { return name_; }
    Result<uint64_t> refresh_size() override { return options_.size_bytes; }

    // The content itself, to look at or to damage.
    [[nodiscard]] MutableBytes content() { return {content_.get(), options_.size_bytes}; }

private:
    struct Unmap {
        size_t size_bytes = 0;
        void operator()(std::byte* content) const;
    };
    using Mapping = std::unique_ptr<std::byte, Unmap>;

    MemoryDevice(Executor& executor, std::string name, MemoryDeviceOptions options,
                 Mapping content);
    void discard(uint64_t offset_bytes, uint64_t length_bytes);

    Executor& executor_;
    const std::string name_;
    const MemoryDeviceOptions options_;
    Mapping content_;
};

}  // namespace stoa::io
