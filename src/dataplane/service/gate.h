// Gate: a volume that can be taken away from those who use it.
//
// After close() no call reaches the volume behind it, whoever still holds the gate.
#pragma once

#include <vector>

#include "dataplane/block/volume.h"

namespace stoa::service {

class Gate final : public block::Volume {
public:
    explicit Gate(block::Volume& volume) : volume_(&volume), read_only_(volume.read_only()) {}

    void close() {
        size_bytes_ = size_bytes();
        volume_ = nullptr;
    }

    [[nodiscard]] uint64_t size_bytes() const override {
        return volume_ != nullptr ? volume_->size_bytes() : size_bytes_;
    }
    [[nodiscard]] bool read_only() const override { return read_only_; }
    io::Task<Result<void>> read(uint64_t offset_bytes, MutableBytes into) override {
        return volume_ != nullptr ? volume_->read(offset_bytes, into) : closed();
    }
    io::Task<Result<void>> write(uint64_t offset_bytes, ConstBytes from,
                                 block::WriteOptions options) override {
        return volume_ != nullptr ? volume_->write(offset_bytes, from, options) : closed();
    }
    io::Task<Result<void>> flush() override {
        return volume_ != nullptr ? volume_->flush() : closed();
    }
    io::Task<Result<void>> discard(uint64_t offset_bytes, uint64_t length_bytes) override {
        return volume_ != nullptr ? volume_->discard(offset_bytes, length_bytes) : closed();
    }
    io::Task<Result<void>> write_zeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                        block::ZeroOptions options) override {
        return volume_ != nullptr ? volume_->write_zeroes(offset_bytes, length_bytes, options)
                                  : closed();
    }
    io::Task<Result<std::vector<block::Extent>>> extents(uint64_t offset_bytes,
                                                         uint64_t length_bytes,
                                                         size_t extents_max) override {
        return volume_ != nullptr ? volume_->extents(offset_bytes, length_bytes, extents_max)
                                  : closed_extents();
    }

private:
    static Error reason() { return {ErrorCode::cancelled, "the volume is no longer attached"}; }
    static io::Task<Result<void>> closed() { co_return reason(); }
    static io::Task<Result<std::vector<block::Extent>>> closed_extents() { co_return reason(); }

    block::Volume* volume_;
    uint64_t size_bytes_ = 0;
    const bool read_only_;
};

}  // namespace stoa::service
