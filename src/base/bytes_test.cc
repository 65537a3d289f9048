#include "base/bytes.h"

#include <array>
#include <vector>

#include <gtest/gtest.h>

namespace stoa {
namespace {

TEST(LittleEndian, stores_the_lowest_byte_first) {
    std::array<std::byte, 4> bytes{};
    store_le<uint32_t>(bytes.data(), 0x11223344);
    EXPECT_EQ(bytes[0], std::byte{0x44});
    EXPECT_EQ(bytes[3], std::byte{0x11});
}

TEST(LittleEndian, loads_what_was_stored_at_any_alignment) {
    std::array<std::byte, 24> bytes{};
    for (size_t offset = 0; offset < 8; ++offset) {
        const uint64_t value = 0x0123456789abcdefULL + offset;
        store_le(bytes.data() + offset, value);
        EXPECT_EQ(load_le<uint64_t>(bytes.data() + offset), value);
    }
}

TEST(IsZero, empty_is_zero) { EXPECT_TRUE(is_zero({})); }

TEST(IsZero, finds_a_single_set_bit_at_every_place_of_every_length) {
    for (size_t length = 1; length <= 200; ++length) {
        std::vector<std::byte> bytes(length);
        ASSERT_TRUE(is_zero(bytes)) << "length " << length;
        for (size_t at = 0; at < length; ++at) {
            bytes[at] = std::byte{0x80};
            ASSERT_FALSE(is_zero(bytes)) << "length " << length << ", byte " << at;
            bytes[at] = std::byte{0};
        }
    }
}

TEST(AlignedBuffer, starts_aligned_and_keeps_the_asked_size) {
    for (const size_t size_bytes : {size_t{1}, size_t{512}, size_t{4096}, size_t{10'000}}) {
        AlignedBuffer buffer(size_bytes);
        EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % AlignedBuffer::kAlignment, 0U);
        EXPECT_EQ(buffer.size(), size_bytes);
        EXPECT_EQ(buffer.bytes().size(), size_bytes);
    }
}

TEST(AlignedBuffer, default_is_empty) {
    const AlignedBuffer buffer;
    EXPECT_EQ(buffer.size(), 0U);
    EXPECT_TRUE(buffer.bytes().empty());
}

}  // namespace
}  // namespace stoa
