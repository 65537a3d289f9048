#include "dataplane/pool/format.h"

#include <gtest/gtest.h>

namespace stoa::pool {
namespace {

TEST(Entry, keeps_all_of_its_fields) {
    const Entry entry =
        Entry::make(EntryKind::data, 0xFFFFFFFFFF, 0xABCDEF012345, 0xDEADBEEF, Entry::kHydrated);
    EXPECT_EQ(entry.address(), 0xFFFFFFFFFFU);
    EXPECT_EQ(entry.birth(), 0xABCDEF012345U);
    EXPECT_EQ(entry.crc(), 0xDEADBEEFU);
    EXPECT_EQ(entry.kind(), EntryKind::data);
    EXPECT_EQ(entry.flags(), Entry::kHydrated);
}

TEST(Entry, legality_depends_on_the_level) {
    const Entry data = Entry::make(EntryKind::data, 5, 1, 2);
    const Entry node = Entry::make(EntryKind::node, 5, 1, 2);
    EXPECT_TRUE(is_legal_entry(data, 0));
    EXPECT_FALSE(is_legal_entry(data, 1));
    EXPECT_TRUE(is_legal_entry(node, 1));
    EXPECT_FALSE(is_legal_entry(node, 0));
    EXPECT_FALSE(is_legal_entry(Entry::make(EntryKind::node, 5, 1, 2, Entry::kHandle), 1));
}

Superblock sample() {
    Superblock superblock;
    superblock.pool.bytes[3] = std::byte{9};
    superblock.generation = 12;
    superblock.incarnation = 3;
    superblock.epoch = 77;
    superblock.device_count = 2;
    superblock.placement = {0, 1};
    superblock.journal_start = 5;
    superblock.cuts = {{5, 2, 40}, {9, 3, 55}};
    superblock.index[1] = {0x1234, 1};
    return superblock;
}

TEST(Superblock, survives_encoding) {
    AlignedBuffer block(kBlockBytes);
    encode_superblock(sample(), block.bytes());
    const Result<Superblock> back = decode_superblock(block.bytes());
    ASSERT_TRUE(back.ok()) << back.error().message();
    EXPECT_EQ(back->generation, 12U);
    EXPECT_EQ(back->epoch, 77U);
    ASSERT_EQ(back->cuts.size(), 2U);
    EXPECT_EQ(back->cuts[1].sequence, 55U);
    EXPECT_EQ(back->index[1].crc, 0x1234U);
}

TEST(Superblock, any_flipped_bit_is_noticed) {
    AlignedBuffer block(kBlockBytes);
    encode_superblock(sample(), block.bytes());
    for (size_t bit = 0; bit < kBlockBytes * 8; bit += 61) {
        block.data()[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        EXPECT_FALSE(decode_superblock(block.bytes()).ok()) << bit;
        block.data()[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
    }
}

TEST(Object, survives_encoding_at_its_limits) {
    ObjectRecord object;
    object.kind = ObjectKind::volume;
    object.id = 5;
    object.size_bytes = kVolumeBytesMax;
    object.name.assign(kNameBytesMax, 'n');
    object.tags.assign(kTagsBytesMax, std::byte{7});
    std::byte bytes[kObjectBytes];
    encode_object(object, bytes);
    const Result<ObjectRecord> back = decode_object(bytes);
    ASSERT_TRUE(back.ok()) << back.error().message();
    EXPECT_EQ(back->name, object.name);
    EXPECT_EQ(back->tags, object.tags);
    EXPECT_EQ(back->size_bytes, kVolumeBytesMax);
}

TEST(Object, one_sector_beyond_the_largest_size_is_refused) {
    ObjectRecord object;
    object.kind = ObjectKind::volume;
    object.id = 5;
    object.size_bytes = kVolumeBytesMax + kSectorBytes;
    std::byte bytes[kObjectBytes];
    encode_object(object, bytes);
    EXPECT_FALSE(decode_object(bytes).ok());
}

TEST(Checksums, depend_on_pool_place_and_birth) {
    Uuid one;
    Uuid other;
    other.bytes[0] = std::byte{1};
    const std::vector<std::byte> content(4096, std::byte{5});
    const uint32_t crc = Checksums(one).block(content, 10, 20);
    EXPECT_NE(crc, Checksums(other).block(content, 10, 20));
    EXPECT_NE(crc, Checksums(one).block(content, 11, 20));
    EXPECT_NE(crc, Checksums(one).block(content, 10, 21));
}

}  // namespace
}  // namespace stoa::pool
