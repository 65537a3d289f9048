// Byte buffers: spans, little-endian access, and buffers aligned for direct device I/O.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>

#include "base/check.h"

namespace stoa {

using ConstBytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;

static_assert(std::endian::native == std::endian::little, "formats are little-endian");

// Reads an unsigned integer in little-endian order; `from` needs no alignment.
template <class T>
[[nodiscard]] T load_le(const std::byte* from) {
    T value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

template <class T>
void store_le(std::byte* to, T value) {
    std::memcpy(to, &value, sizeof value);
}

// True if all bytes are zero. Any length; fast from 64 bytes on.
[[nodiscard]] bool is_zero(ConstBytes bytes);

struct FreeDeleter {
    void operator()(std::byte* p) const { std::free(p); }
};

// An owned buffer whose start is aligned for O_DIRECT (4096). Not zeroed.
class AlignedBuffer {
public:
    static constexpr size_t kAlignment = 4096;

    AlignedBuffer() = default;
    explicit AlignedBuffer(size_t size_bytes)
        : data_(static_cast<std::byte*>(std::aligned_alloc(
              kAlignment, (size_bytes + kAlignment - 1) / kAlignment * kAlignment))),
          size_bytes_(size_bytes) {
        CHECK(size_bytes == 0 || data_ != nullptr);
    }

    [[nodiscard]] std::byte* data() { return data_.get(); }
    [[nodiscard]] const std::byte* data() const { return data_.get(); }
    [[nodiscard]] size_t size() const { return size_bytes_; }
    [[nodiscard]] MutableBytes bytes() { return {data_.get(), size_bytes_}; }
    [[nodiscard]] ConstBytes bytes() const { return {data_.get(), size_bytes_}; }

private:
    std::unique_ptr<std::byte, FreeDeleter> data_;
    size_t size_bytes_ = 0;
};

}  // namespace stoa
