// Making pools, and finding their devices again: what is refused before anything is written, what
// the messages say, where labels are looked for.
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "dataplane/io/memory_device.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/pool/format.h"
#include "dataplane/pool/pool.h"

namespace stoa::pool {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;

// Hands on to a device in memory, but for writes, from the `writes_good`th on.
class WornDevice final : public io::Device {
public:
    WornDevice(io::Executor& executor, io::Device& below) : executor_(executor), below_(below) {}
    void submit(io::DeviceRequest& request) override {
        if (request.op != io::DeviceOp::write || writes_good-- > 0) return below_.submit(request);
        request.error = ENOSPC;
        executor_.post(request);
    }
    [[nodiscard]] uint64_t size_bytes() const override { return below_.size_bytes(); }
    [[nodiscard]] const std::string& name() const override { return name_; }
    Result<uint64_t> refresh_size() override { return below_.refresh_size(); }

    int writes_good = 0;

private:
    io::Executor& executor_;
    io::Device& below_;
    const std::string name_ = "worn";
};

// Finds the same on every device, until it is wiped.
class FakeForeignData final : public io::ForeignData {
public:
    io::Task<Result<std::vector<std::string>>> find(io::Device& device) override {
        if (wiped.contains(&device)) co_return std::vector<std::string>{};
        co_return std::vector<std::string>{"file system ext4", "partition table gpt"};
    }
    io::Task<Result<void>> wipe(io::Device& device) override {
        wiped.insert(&device);
        co_return Result<void>{};
    }
    std::set<io::Device*> wiped;
};

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

// ---- what is found out before a device is changed

TEST_F(CreateTest, data_of_others_is_named_and_wiped_only_with_force) {
    add(24 * kMiB);
    add(24 * kMiB);
    FakeForeignData foreign;
    CreateOptions options = small_regions();
    options.foreign = &foreign;
    const Result<void> refused = create(options);
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), ErrorCode::already_exists);
    EXPECT_EQ(refused.error().message(),
              "device disk0 bears file system ext4, partition table gpt; force the creation to "
              "overwrite it");
    EXPECT_TRUE(foreign.wiped.empty());
    EXPECT_TRUE(is_zero(owned_[0]->content()));
    options.force = true;
    ASSERT_TRUE(create(options).ok());
    EXPECT_EQ(foreign.wiped.size(), 2U);
    EXPECT_EQ(open_error(), "");
}

TEST_F(CreateTest, an_added_device_is_looked_at_in_the_same_way) {
    add(24 * kMiB);
    ASSERT_TRUE(create(small_regions()).ok());
    OpenOptions options;
    options.cache_bytes = kMiB;
    auto opened = simulator_.run(Pool::open(simulator_, devices(), options));
    ASSERT_TRUE(opened.ok());
    FakeForeignData foreign;
    io::MemoryDevice& more = add(24 * kMiB);
    const Result<void> refused = simulator_.run((*opened)->add_device(more, false, &foreign));
    ASSERT_FALSE(refused.ok());
    EXPECT_NE(refused.error().message().find("bears file system ext4"), std::string::npos);
    EXPECT_TRUE(simulator_.run((*opened)->add_device(more, true, &foreign)).ok());
    EXPECT_EQ(foreign.wiped, std::set<io::Device*>{&more});
    EXPECT_TRUE(simulator_.run((*opened)->close()).ok());
}

TEST_F(CreateTest, a_second_device_that_takes_no_writes_leaves_the_first_as_it_was) {
    add(24 * kMiB);
    add(24 * kMiB);
    WornDevice worn(simulator_, *owned_[1]);
    CreateOptions options = small_regions();
    options.name = "old";
    ASSERT_TRUE(simulator_.run(Pool::create(simulator_, {owned_[0].get()}, options)).ok());
    const std::vector<std::byte> before(owned_[0]->content().begin(), owned_[0]->content().end());
    FakeForeignData foreign;
    options = small_regions();
    options.force = true;
    options.foreign = &foreign;
    // Every write of the check may be the one that fails.
    for (int good = 0; good < 6; ++good) {
        worn.writes_good = good;
        const Result<void> failed =
            simulator_.run(Pool::create(simulator_, {owned_[0].get(), &worn}, options));
        ASSERT_FALSE(failed.ok()) << good;
        EXPECT_EQ(failed.error().code(), ErrorCode::no_space);
        EXPECT_EQ(failed.error().message(),
                  "device worn cannot be written: no space left on device");
        EXPECT_TRUE(foreign.wiped.empty());
        EXPECT_TRUE(std::ranges::equal(before, owned_[0]->content())) << good;
        EXPECT_TRUE(is_zero(owned_[1]->content())) << good;
    }
}

}  // namespace
}  // namespace stoa::pool
