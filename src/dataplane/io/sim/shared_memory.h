// The simulated twin of io/shared_memory.h. The test owns it, so that it survives the crash of a
// simulated process; for the crash of a host the test makes a fresh, zeroed one.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "base/bytes.h"
#include "dataplane/io/shared_memory.h"

namespace stoa::io::sim {

class SharedMemory final : public io::SharedMemory {
public:
    // Zeroed.
    explicit SharedMemory(size_t size_bytes) : buffer_(size_bytes) {
        std::ranges::fill(buffer_.bytes(), std::byte{0});
    }
    // With the content of a snapshot.
    explicit SharedMemory(ConstBytes content) : buffer_(content.size()) {
        std::ranges::copy(content, buffer_.data());
    }

    [[nodiscard]] MutableBytes bytes() override { return buffer_.bytes(); }
    // A copy of what it holds now.
    [[nodiscard]] std::vector<std::byte> snapshot() const {
        const ConstBytes now = buffer_.bytes();
        return {now.begin(), now.end()};
    }

private:
    AlignedBuffer buffer_;  // as aligned as a mapping
};

}  // namespace stoa::io::sim
