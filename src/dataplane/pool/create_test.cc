// Making pools, and finding their devices again: what is refused before anything is written, what
// the messages say, where labels are looked for.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "dataplane/io/memory_device.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/pool/format.h"
#include "dataplane/pool/pool.h"

namespace stoa::pool {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

class CreateTest : public ::testing::Test {
protected:
    io::MemoryDevice& add(uint64_t size_bytes) {
        auto made = io::MemoryDevice::create(simulator_, "disk" + std::to_string(owned_.size()),
                                             {.size_bytes = size_bytes});
        EXPECT_TRUE(made.ok());
        owned_.push_back(*std::move(made));
        return *owned_.back();
    }
    std::vector<io::Device*> devices() {
        std::vector<io::Device*> list;
        for (const auto& device : owned_) list.push_back(device.get());
        return list;
    }
    Result<void> create(CreateOptions options = {}) {
        if (options.name.empty()) options.name = "fast";
        return simulator_.run(Pool::create(simulator_, devices(), std::move(options)));
    }
    static CreateOptions small_regions() {
        CreateOptions options;
        options.name = "fast";
        options.region_blocks = 64;
        return options;
    }
    // The message of a failed opening; empty if it succeeds.
    std::string open_error() {
        OpenOptions options;
        options.cache_bytes = kMiB;
        auto opened = simulator_.run(Pool::open(simulator_, devices(), options));
        if (!opened.ok()) return opened.error().message();
        EXPECT_TRUE(simulator_.run((*opened)->close()).ok());
        return "";
    }
    // Leaves the first `size_bytes` of device `index`.
    void cut(size_t index, uint64_t size_bytes) {
        const std::string name = owned_[index]->name();
        auto made = io::MemoryDevice::create(simulator_, name, {.size_bytes = size_bytes});
        ASSERT_TRUE(made.ok());
        std::ranges::copy(owned_[index]->content().first(size_bytes), (*made)->content().begin());
        owned_[index] = *std::move(made);
    }

    io::sim::Simulator simulator_{7};
    std::vector<std::unique_ptr<io::MemoryDevice>> owned_;
};

TEST_F(CreateTest, a_device_that_ends_before_what_the_pool_uses_is_told_by_how_much) {
    add(24 * kMiB);
    add(24 * kMiB);
    ASSERT_TRUE(create(small_regions()).ok());
    cut(1, 16 * kMiB);
    EXPECT_EQ(
        open_error(),
        "device disk1 is 8388608 bytes shorter than the pool needs it: it has 16777216 bytes, "
        "25165824 are needed; grow it back to the size it had (what was cut off and is not there "
        "again is lost), or open the pool without it");
    // Little is left of it but its label.
    cut(1, 8192);
    const std::string start =
        "device disk1 is 1040384 bytes shorter than its label says: it has 8192";
    EXPECT_EQ(open_error().substr(0, start.size()), start);
    std::swap(owned_[0], owned_[1]);
    owned_.pop_back();
    EXPECT_EQ(open_error().substr(0, start.size()), start);
}

// Its place is past what is searched without knowing any geometry.
TEST_F(CreateTest, a_second_label_far_from_the_start_is_found_by_the_geometry_of_the_others) {
    add(2560 * kMiB);
    add(2560 * kMiB);
    CreateOptions options = small_regions();
    options.capacity_max_bytes = (uint64_t{1} << 41) - kMiB;
    ASSERT_TRUE(create(options).ok());
    for (const size_t lost : {size_t{1}, size_t{0}}) {
        MutableBytes label = owned_[lost]->content().first(4096);
        const std::vector<std::byte> before(label.begin(), label.end());
        std::ranges::fill(label, std::byte{0});
        EXPECT_EQ(open_error(), "") << lost;
        std::ranges::copy(before, label.begin());
    }
}

// What was made before names were looked at goes on working.
TEST_F(CreateTest, a_pool_with_a_name_that_would_be_refused_now_is_opened) {
    add(24 * kMiB);
    ASSERT_TRUE(create(small_regions()).ok());
    const MutableBytes content = owned_[0]->content();
    Label label = *decode_label(content.first(4096));
    label.name = "a\nb\xFF";
    for (const uint64_t at : DeviceLayout(label).label) {
        encode_label(label, content.subspan(at * 4096, 4096));
    }
    EXPECT_EQ(open_error(), "");
}

}  // namespace
}  // namespace stoa::pool
