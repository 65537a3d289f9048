#include "dataplane/io/sim/image.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <vector>

#include "dataplane/io/sim/random.h"

namespace stoa::io::sim {
namespace {

std::vector<std::byte> filled(size_t size, unsigned value) {
    return std::vector<std::byte>(size, static_cast<std::byte>(value));
}

TEST(Image, absent_pages_read_as_zero_and_take_no_memory) {
    const Image image(uint64_t{16} << 40);
    auto buffer = filled(8192, 1);
    image.read((uint64_t{16} << 40) - 8192, buffer);
    EXPECT_TRUE(is_zero(buffer));
    int pages = 0;
    image.for_each_page([&](uint64_t, const Page&) { ++pages; });
    EXPECT_EQ(pages, 0);
}

TEST(Image, agrees_with_a_flat_buffer_under_random_changes_and_keeps_copies_apart) {
    Random random(3);
    const uint64_t size = 100 * kSectorBytes * 7;  // not a multiple of a page
    Image image(size);
    std::vector<std::byte> flat(size);
    std::vector<std::pair<Image, std::vector<std::byte>>> copies;
    for (int i = 0; i < 2000; ++i) {
        const uint64_t first = random.below(size / kSectorBytes);
        const uint64_t count = random.between(
            1, std::min<uint64_t>(size / kSectorBytes - first, random.between(1, 200)));
        const uint64_t offset = first * kSectorBytes;
        const uint64_t length = count * kSectorBytes;
        if (random.chance(0.6)) {
            const auto content = filled(length, static_cast<unsigned>(random.below(256)));
            image.write(offset, content);
            std::ranges::copy(content, flat.begin() + static_cast<ptrdiff_t>(offset));
        } else {
            image.zero(offset, length);
            std::fill_n(flat.begin() + static_cast<ptrdiff_t>(offset), length, std::byte{0});
        }
        if (i % 100 == 0) copies.emplace_back(image, flat);
    }
    copies.emplace_back(image, flat);
    for (const auto& [copy, expected] : copies) {
        std::vector<std::byte> found(size);
        copy.read(0, found);
        EXPECT_EQ(found, expected);
        Image rebuilt(size);
        rebuilt.write(0, expected);
        EXPECT_EQ(rebuilt.hash(), copy.hash());
        EXPECT_EQ(rebuilt, copy);
    }
}

TEST(Image, the_hash_depends_on_content_place_and_size_not_on_the_way_there) {
    Image a(uint64_t{1} << 24);
    Image b = a;
    const uint64_t empty = a.hash();
    a.write(4096, filled(4096, 1));
    a.write(uint64_t{5} << 20, filled(4096, 2));
    b.write(uint64_t{5} << 20, filled(4096, 2));
    b.write(4096, filled(4096, 9));
    EXPECT_NE(a.hash(), b.hash());
    EXPECT_EQ(a.differing_pages(b), std::vector<uint64_t>{1});
    b.write(4096, filled(4096, 1));
    EXPECT_EQ(a.hash(), b.hash());
    EXPECT_EQ(a, b);
    b.write(8192, filled(4096, 0));  // a written page of zeros equals an absent one
    EXPECT_EQ(a.hash(), b.hash());
    EXPECT_EQ(a, b);

    Image moved(uint64_t{1} << 24);
    moved.write(8192, filled(4096, 1));
    moved.write(uint64_t{5} << 20, filled(4096, 2));
    EXPECT_NE(a.hash(), moved.hash());
    a.zero(0, a.size_bytes());
    EXPECT_EQ(a.hash(), empty);
    a.resize(uint64_t{1} << 25);
    EXPECT_NE(a.hash(), empty);
}

TEST(Image, every_bit_counts_in_the_hash) {
    Image image(4096);
    image.write(0, filled(4096, 0x5a));
    const uint64_t before = image.hash();
    Random random(1);
    for (int i = 0; i < 200; ++i) {
        Image changed = image;
        const uint64_t place = random.below(4096);
        const auto bit = static_cast<unsigned>(random.below(8));
        changed.flip_bit(place, bit);
        EXPECT_NE(changed.hash(), before);
        changed.flip_bit(place, bit);
        EXPECT_EQ(changed.hash(), before);
    }
}

TEST(Image, resize_keeps_what_remains_and_zeroes_what_comes_back) {
    Image image(64 * 4096);
    image.write(0, filled(64 * 4096, 7));
    const Image before = image;
    image.resize(3 * 4096 + 512);
    image.resize(uint64_t{1} << 30);
    std::vector<std::byte> found(5 * 4096);
    image.read(0, found);
    EXPECT_TRUE(std::ranges::all_of(found.begin(), found.begin() + 3 * 4096 + 512,
                                    [](std::byte b) { return b == std::byte{7}; }));
    EXPECT_TRUE(is_zero(ConstBytes(found).subspan(3 * 4096 + 512)));
    image.resize(64 * 4096);
    EXPECT_NE(image.hash(), before.hash());
    image.write(0, filled(64 * 4096, 7));
    EXPECT_EQ(image.hash(), before.hash());
}

TEST(Image, save_and_load_keep_the_content) {
    const std::string path = testing::TempDir() + "image_test." + std::to_string(::getpid());
    Image image(uint64_t{1} << 20);
    image.write(512, filled(512, 3));
    image.write((uint64_t{1} << 20) - 512, filled(512, 4));
    ASSERT_TRUE(image.save(path).ok());
    const Result<Image> loaded = Image::load(path);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
    EXPECT_EQ(*loaded, image);
    EXPECT_EQ(loaded->hash(), image.hash());
    std::remove(path.c_str());
    EXPECT_EQ(Image::load(path).error().code(), ErrorCode::io);
}

}  // namespace
}  // namespace stoa::io::sim
