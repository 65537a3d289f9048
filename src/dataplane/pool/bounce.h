// Private copies of data in flight: aligned buffers from a bounded budget, kept for reuse.
//
// A guest may change its memory while a write runs; what is checksummed must be what is written.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "dataplane/io/sync.h"
#include "dataplane/pool/limits.h"

namespace stoa::pool {

class BouncePool {
public:
    BouncePool(io::Executor& executor, uint64_t budget_bytes)
        : available_(executor), left_(std::max<uint64_t>(budget_bytes, uint64_t{4} << 20)) {}
    BouncePool(const BouncePool&) = delete;
    BouncePool& operator=(const BouncePool&) = delete;

    class Buffer {
    public:
        Buffer(BouncePool* pool, AlignedBuffer memory, size_t size_class)
            : pool_(pool), memory_(std::move(memory)), size_class_(size_class) {}
        Buffer(Buffer&& other) noexcept
            : pool_(std::exchange(other.pool_, nullptr)), memory_(std::move(other.memory_)),
              size_class_(other.size_class_) {}
        Buffer(const Buffer&) = delete;
        Buffer& operator=(const Buffer&) = delete;
        Buffer& operator=(Buffer&&) = delete;
        ~Buffer() {
            if (pool_ != nullptr) pool_->release(std::move(memory_), size_class_);
        }
        [[nodiscard]] std::byte* data() { return memory_.data(); }
        [[nodiscard]] MutableBytes bytes(size_t count) { return memory_.bytes().first(count); }

    private:
        BouncePool* pool_;
        AlignedBuffer memory_;
        size_t size_class_;
    };

    // Waits until `bytes` (at most 1 MiB) fit the budget.
    io::Task<Buffer> acquire(size_t bytes) {
        const size_t size_class = class_of(bytes);
        while (left_ < class_bytes(size_class)) co_await available_.wait();
        co_return take(size_class);
    }
    [[nodiscard]] bool ready(size_t bytes) const { return left_ >= class_bytes(class_of(bytes)); }
    // Needs ready().
    Buffer take_now(size_t bytes) { return take(class_of(bytes)); }

private:
    static constexpr size_t kClasses = 3;
    static constexpr size_t class_bytes(size_t size_class) {
        return kBlockBytes << (4 * size_class);  // 4 KiB, 64 KiB, 1 MiB
    }
    static size_t class_of(size_t bytes) {
        size_t size_class = 0;
        while (class_bytes(size_class) < bytes) ++size_class;
        CHECK(size_class < kClasses);
        return size_class;
    }
    Buffer take(size_t size_class) {
        left_ -= class_bytes(size_class);
        auto& kept = kept_[size_class];
        if (kept.empty()) return {this, AlignedBuffer(class_bytes(size_class)), size_class};
        AlignedBuffer memory = std::move(kept.back());
        kept.pop_back();
        return {this, std::move(memory), size_class};
    }
    void release(AlignedBuffer memory, size_t size_class) {
        constexpr size_t kKeptMax[kClasses] = {1024, 64, 16};
        left_ += class_bytes(size_class);
        if (kept_[size_class].size() < kKeptMax[size_class]) {
            kept_[size_class].push_back(std::move(memory));
        }
        if (available_.has_waiters()) available_.notify_all();
    }

    io::Condition available_;
    uint64_t left_;
    std::array<std::vector<AlignedBuffer>, kClasses> kept_;
};

}  // namespace stoa::pool
