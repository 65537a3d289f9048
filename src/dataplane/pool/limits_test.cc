// Every limit of limits.h: at the limit it works; one beyond is refused with the value and the
// limit in the message, and nothing has changed. On memory devices.
#include "dataplane/pool/limits.h"
#include "base/utf8.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <memory>

#include "dataplane/io/memory_device.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/pool/pool.h"

namespace stoa::pool {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kGiB = uint64_t{1} << 30;

double seconds_now() {
    // tidy: allow clock: a figure to print, on which nothing depends
    const auto now = std::chrono::steady_clock::now().time_since_epoch();
    return std::chrono::duration<double>(now).count();
}

class LimitsTest : public ::testing::Test {
protected:
    ~LimitsTest() override {
        if (pool_) static_cast<void>(simulator_.run(pool_->close()));
    }

    std::unique_ptr<io::MemoryDevice> make_device(uint64_t size_bytes) {
        io::MemoryDeviceOptions options;
        options.size_bytes = size_bytes;
        auto made =
            io::MemoryDevice::create(simulator_, fmt::format("m{}", ++devices_made_), options);
        EXPECT_TRUE(made.ok());
        return *std::move(made);
    }
    std::vector<io::Device*> pointers() {
        std::vector<io::Device*> all;
        for (const auto& device : devices_) all.push_back(device.get());
        return all;
    }
    Result<void> try_create(CreateOptions options) {
        return simulator_.run(Pool::create(simulator_, pointers(), std::move(options)));
    }
    void create(uint64_t size_bytes, uint32_t region_blocks = 0) {
        devices_.push_back(make_device(size_bytes));
        CreateOptions options;
        options.name = "fast";
        options.region_blocks = region_blocks;
        const Result<void> made = try_create(options);
        ASSERT_TRUE(made.ok()) << made.error().message();
        open();
    }
    void open() {
        OpenOptions options;
        options.cache_bytes = 64 * kMiB;
        auto opened = simulator_.run(Pool::open(simulator_, pointers(), std::move(options)));
        ASSERT_TRUE(opened.ok()) << opened.error().message();
        pool_ = *std::move(opened);
    }
    void close() {
        const Result<void> closed = simulator_.run(pool_->close());
        EXPECT_TRUE(closed.ok()) << closed.error().message();
        pool_.reset();
    }
    // Its process dies: what is on the device is opened again.
    void crash() {
        std::vector<std::unique_ptr<io::MemoryDevice>> kept;
        for (const auto& device : devices_) {
            kept.push_back(make_device(device->size_bytes()));
            copy_used(device->content(), kept.back()->content());
        }
        close();
        devices_ = std::move(kept);
    }
    // Leaves memory that is zero untaken.
    static void copy_used(MutableBytes from, MutableBytes to) {
        constexpr size_t kStep = 4096;
        for (size_t at = 0; at < from.size(); at += kStep) {
            const auto part = from.subspan(at, kStep);
            if (!is_zero(part)) std::ranges::copy(part, to.subspan(at).begin());
        }
    }
    Result<Uuid> try_volume(const std::string& name, uint64_t size_bytes = kMiB, size_t tags = 0) {
        VolumeSpec spec;
        spec.name = name;
        spec.size_bytes = size_bytes;
        spec.tags.resize(tags);
        return simulator_.run(pool_->create_volume(std::move(spec)));
    }
    Uuid volume(const std::string& name, uint64_t size_bytes = kMiB) {
        const Result<Uuid> made = try_volume(name, size_bytes);
        EXPECT_TRUE(made.ok()) << made.error().message();
        return made.ok() ? *made : Uuid{};
    }
    Result<std::vector<Uuid>> try_snapshots(const std::vector<Uuid>& volumes,
                                            const std::string& name) {
        std::vector<SnapshotSpec> specs;
        for (const Uuid& v : volumes) specs.push_back({.volume = v, .name = name, .uuid = {}});
        return simulator_.run(pool_->snapshot(std::move(specs)));
    }
    Uuid snapshot(Uuid volume, const std::string& name) {
        const auto made = try_snapshots({volume}, name);
        EXPECT_TRUE(made.ok()) << made.error().message();
        return made.ok() ? made->front() : Uuid{};
    }
    Result<Uuid> try_clone(Uuid snapshot, const std::string& name, uint64_t size_bytes = 0,
                           size_t tags = 0) {
        VolumeSpec spec;
        spec.name = name;
        spec.size_bytes = size_bytes;
        spec.tags.resize(tags);
        return simulator_.run(pool_->clone(snapshot, std::move(spec)));
    }
    block::Volume* attach(Uuid volume) {
        const auto handle = simulator_.run(pool_->attach(volume, false));
        EXPECT_TRUE(handle.ok());
        return *handle;
    }
    // Names, sizes, tags and parents of everything, and the space taken by data.
    std::string everything() {
        std::string text = fmt::format("{}\n", pool_->info().devices.size());
        for (const VolumeInfo& v : pool_->volumes()) {
            text += fmt::format("{} {} {} {} {}\n", v.uuid.to_string(), v.name, v.size_bytes,
                                v.tags.size(), v.mapped_bytes);
        }
        for (const SnapshotInfo& s : pool_->snapshots(std::nullopt)) {
            text += fmt::format("{} {} {}\n", s.uuid.to_string(), s.name, s.parent.to_string());
        }
        return text;
    }
    // `act` is refused with `code`, the message holds all of `words`, and nothing has changed.
    template <class Act>
    void expect_refused(ErrorCode code, const std::vector<std::string>& words, Act act) {
        const std::string before = pool_ ? everything() : "";
        const auto result = act();
        ASSERT_FALSE(result.ok()) << words.front() << " was accepted";
        EXPECT_EQ(result.error().code(), code) << result.error().message();
        for (const std::string& word : words) {
            EXPECT_NE(result.error().message().find(word), std::string::npos)
                << "'" << result.error().message() << "' does not say '" << word << "'";
        }
        if (pool_) EXPECT_EQ(everything(), before);
    }

    io::sim::Simulator simulator_{1};
    std::vector<std::unique_ptr<io::MemoryDevice>> devices_;
    std::unique_ptr<Pool> pool_;
    size_t devices_made_ = 0;
};

TEST_F(LimitsTest, volumes_have_512_bytes_to_16_tebibytes) {
    create(64 * kMiB);
    volume("small", kSectorBytes);
    const Uuid large = volume("large", kVolumeBytesMax);
    const Uuid grows = volume("grows", kMiB);
    const auto refused = ErrorCode::invalid_argument;
    for (const uint64_t size :
         {uint64_t{0}, kSectorBytes - 1, kSectorBytes + 1, kVolumeBytesMax + kSectorBytes}) {
        const std::vector<std::string> words = {fmt::format("{} bytes", size), "512", "16 TiB"};
        expect_refused(refused, words, [&] { return try_volume("no", size); });
        expect_refused(refused, words,
                       [&] { return simulator_.run(pool_->resize_volume(grows, size, true)); });
        if (size == 0) continue;  // a clone's size 0 is that of its snapshot
        const Uuid from = *simulator_.run(pool_->snapshot({{grows, "s", {}}}))->begin();
        expect_refused(refused, words, [&] { return try_clone(from, "no", size); });
        ASSERT_TRUE(simulator_.run(pool_->delete_snapshot(from)).ok());
        ASSERT_TRUE(simulator_.run(pool_->settle()).ok());
    }
    ASSERT_TRUE(simulator_.run(pool_->resize_volume(grows, kVolumeBytesMax, false)).ok());
    block::Volume* handle = attach(large);
    const std::vector<std::byte> sector(kSectorBytes, std::byte{7});
    std::vector<std::byte> back(kSectorBytes);
    ASSERT_TRUE(simulator_.run(handle->write(kVolumeBytesMax - kSectorBytes, sector, {})).ok());
    ASSERT_TRUE(simulator_.run(handle->read(kVolumeBytesMax - kSectorBytes, back)).ok());
    EXPECT_EQ(back, sector);
    expect_refused(ErrorCode::out_of_range, {std::to_string(kVolumeBytesMax), "512 bytes"},
                   [&] { return simulator_.run(handle->write(kVolumeBytesMax, sector, {})); });
}

TEST_F(LimitsTest, names_have_1_to_63_bytes) {
    create(64 * kMiB);
    const std::string longest(kNameBytesMax, 'n');
    const std::string beyond(kNameBytesMax + 1, 'n');
    const Uuid v = volume(longest);
    volume("a");
    const Uuid s = snapshot(v, longest);
    const Result<Uuid> copy = try_clone(s, std::string(kNameBytesMax, 'c'));
    ASSERT_TRUE(copy.ok());
    const std::string renamed(kNameBytesMax, 'r');
    EXPECT_TRUE(simulator_.run(pool_->rename_volume(*copy, renamed)).ok());
    for (const std::string& name :
         {beyond, std::string(), std::string("a/b"), std::string("a@b"), std::string("a\nb"),
          std::string("a\xFF"
                      "b")}) {
        const bool wrong_length = name.empty() || name == beyond;
        const std::vector<std::string> words = {"'" + to_plain_text(name) + "'",
                                                wrong_length ? "1 to 63" : "name: "};
        const auto refused = ErrorCode::invalid_argument;
        expect_refused(refused, words, [&] { return try_volume(name); });
        expect_refused(refused, words, [&] { return try_snapshots({v}, name); });
        expect_refused(refused, words, [&] { return try_clone(s, name); });
        expect_refused(refused, words,
                       [&] { return simulator_.run(pool_->rename_volume(v, name)); });
    }
    close();
    open();
    EXPECT_TRUE(pool_->find_volume(longest).ok());
    EXPECT_TRUE(pool_->find_volume(renamed).ok());
}

TEST_F(LimitsTest, pool_names_have_1_to_31_bytes) {
    devices_.push_back(make_device(64 * kMiB));
    CreateOptions options;
    for (const size_t length : {size_t{0}, kPoolNameBytesMax + 1}) {
        options.name = std::string(length, 'p');
        expect_refused(ErrorCode::invalid_argument,
                       {"'" + options.name + "'", std::to_string(kPoolNameBytesMax)},
                       [&] { return try_create(options); });
        EXPECT_TRUE(is_zero(devices_.front()->content()));
    }
    for (const char* wrong : {"a\nb",
                              "a\xFF"
                              "b",
                              "a\xC2\x9B"
                              "b"}) {
        options.name = wrong;
        expect_refused(ErrorCode::invalid_argument, {"'a?b' is no pool name"},
                       [&] { return try_create(options); });
    }
    options.name = std::string(kPoolNameBytesMax, 'p');
    ASSERT_TRUE(try_create(options).ok());
    open();
    EXPECT_EQ(pool_->info().name, options.name);
}

TEST_F(LimitsTest, regions_and_journals_have_their_least_sizes) {
    devices_.push_back(make_device(64 * kMiB));
    CreateOptions options;
    options.name = "fast";
    for (const uint32_t blocks : {32U, 63U, 96U, 65536U}) {
        options.region_blocks = blocks;
        expect_refused(ErrorCode::invalid_argument, {std::to_string(blocks), "64", "32768"},
                       [&] { return try_create(options); });
    }
    options.region_blocks = 64;
    options.journal_blocks = 15;
    expect_refused(ErrorCode::invalid_argument, {"15", "16"}, [&] { return try_create(options); });
    EXPECT_TRUE(is_zero(devices_.front()->content()));
    options.journal_blocks = 16;
    ASSERT_TRUE(try_create(options).ok());
    open();
    volume("db");
}

TEST_F(LimitsTest, tags_have_at_most_192_bytes) {
    create(64 * kMiB);
    const Result<Uuid> v = try_volume("db", kMiB, kTagsBytesMax);
    ASSERT_TRUE(v.ok());
    const Uuid s = snapshot(*v, "s");
    ASSERT_TRUE(try_clone(s, "copy", 0, kTagsBytesMax).ok());
    const size_t beyond = kTagsBytesMax + 1;
    const std::vector<std::string> words = {std::to_string(beyond), std::to_string(kTagsBytesMax)};
    const auto refused = ErrorCode::invalid_argument;
    expect_refused(refused, words, [&] { return try_volume("no", kMiB, beyond); });
    expect_refused(refused, words, [&] { return try_clone(s, "no", 0, beyond); });
    expect_refused(refused, words, [&] {
        return simulator_.run(pool_->set_tags(*v, std::vector<std::byte>(beyond)));
    });
}

TEST_F(LimitsTest, requests_have_at_most_32_mebibytes) {
    create(256 * kMiB);
    const Uuid v = volume("db", 128 * kMiB);
    block::Volume* handle = attach(v);
    std::vector<std::byte> bytes(kRequestBytesMax, std::byte{3});
    ASSERT_TRUE(simulator_.run(handle->write(kSectorBytes, bytes, {})).ok());
    std::vector<std::byte> back(kRequestBytesMax);
    ASSERT_TRUE(simulator_.run(handle->read(kSectorBytes, back)).ok());
    EXPECT_EQ(back, bytes);
    bytes.resize(kRequestBytesMax + kSectorBytes);
    const std::vector<std::string> words = {std::to_string(bytes.size()),
                                            std::to_string(kRequestBytesMax)};
    const auto refused = ErrorCode::invalid_argument;
    expect_refused(refused, words,
                   [&] { return simulator_.run(handle->write(64 * kMiB, bytes, {})); });
    expect_refused(refused, words, [&] { return simulator_.run(handle->read(0, bytes)); });
    expect_refused(refused, {"100", "512"}, [&] {
        return simulator_.run(handle->write(100, ConstBytes(bytes).first(kSectorBytes), {}));
    });
    // Those without a payload may cover everything.
    EXPECT_TRUE(simulator_.run(handle->write_zeroes(0, 128 * kMiB, {})).ok());
    EXPECT_TRUE(simulator_.run(handle->discard(0, 128 * kMiB)).ok());
}

TEST_F(LimitsTest, groups_have_1_to_256_snapshots) {
    create(kGiB);
    std::vector<Uuid> volumes;
    for (size_t i = 0; i <= kSnapshotGroupMax; ++i)
        volumes.push_back(volume(fmt::format("v{}", i)));
    const auto refused = ErrorCode::invalid_argument;
    expect_refused(refused, {"257", "256"}, [&] { return try_snapshots(volumes, "all"); });
    expect_refused(refused, {"0", "256"}, [&] { return try_snapshots({}, "none"); });
    volumes.pop_back();
    const auto made = try_snapshots(volumes, "all");
    ASSERT_TRUE(made.ok()) << made.error().message();
    EXPECT_EQ(made->size(), kSnapshotGroupMax);
    crash();
    open();
    EXPECT_EQ(pool_->snapshots(std::nullopt).size(), kSnapshotGroupMax);
}

// A small pool has a small journal, and a commit is never split.
TEST_F(LimitsTest, a_group_that_the_journal_cannot_take_is_refused) {
    create(64 * kMiB);
    std::vector<Uuid> volumes;
    for (size_t i = 0; i < kSnapshotGroupMax; ++i) volumes.push_back(volume(fmt::format("v{}", i)));
    expect_refused(ErrorCode::invalid_argument, {"bytes", "journal of pool fast"},
                   [&] { return try_snapshots(volumes, "all"); });
    EXPECT_FALSE(pool_->info().read_only);
    volumes.resize(100);
    for (int i = 0; i < 20; ++i) {
        const auto made = try_snapshots(volumes, fmt::format("s{}", i));
        ASSERT_TRUE(made.ok()) << made.error().message();
    }
    crash();
    open();
    EXPECT_EQ(pool_->snapshots(std::nullopt).size(), 20u * volumes.size());
}

TEST_F(LimitsTest, volumes_have_at_most_1024_snapshots) {
    create(64 * kMiB);
    const Uuid v = volume("db");
    const Uuid other = volume("other");
    for (size_t i = 0; i < kSnapshotsPerVolumeMax; ++i) snapshot(v, fmt::format("s{}", i));
    const auto beyond = [&] { return try_snapshots({other, v}, "beyond"); };
    expect_refused(ErrorCode::out_of_range, {"db", std::to_string(kSnapshotsPerVolumeMax)}, beyond);
    crash();
    open();
    EXPECT_EQ(pool_->snapshots(v).size(), kSnapshotsPerVolumeMax);
    expect_refused(ErrorCode::out_of_range, {"db", std::to_string(kSnapshotsPerVolumeMax)}, beyond);
    ASSERT_TRUE(simulator_.run(pool_->delete_snapshot(pool_->snapshots(v)[500].uuid)).ok());
    ASSERT_TRUE(simulator_.run(pool_->settle()).ok());
    EXPECT_TRUE(beyond().ok());
}

TEST_F(LimitsTest, clones_are_at_most_1024_deep) {
    create(256 * kMiB);
    Uuid at = volume("v0");
    block::Volume* handle = attach(at);
    const std::vector<std::byte> block(kBlockBytes, std::byte{9});
    ASSERT_TRUE(simulator_.run(handle->write(0, block, {})).ok());
    simulator_.run(pool_->detach(handle));
    for (size_t depth = 1; depth <= kCloneDepthMax; ++depth) {
        const Result<Uuid> next = try_clone(snapshot(at, "s"), fmt::format("v{}", depth));
        ASSERT_TRUE(next.ok()) << depth << ": " << next.error().message();
        at = *next;
    }
    const Uuid last = snapshot(at, "s");
    expect_refused(ErrorCode::out_of_range, {"@s", std::to_string(kCloneDepthMax)},
                   [&] { return try_clone(last, "beyond"); });
    crash();
    open();
    std::vector<std::byte> back(kBlockBytes);
    handle = attach(at);
    ASSERT_TRUE(simulator_.run(handle->read(0, back)).ok());
    EXPECT_EQ(back, block);
}

TEST_F(LimitsTest, pools_have_1_to_32_devices) {
    CreateOptions options;
    options.name = "wide";
    options.region_blocks = 64;
    const auto refused = ErrorCode::invalid_argument;
    expect_refused(refused, {"0 devices", "32"}, [&] { return try_create(options); });
    for (size_t i = 0; i <= kDevicesMax; ++i) devices_.push_back(make_device(8 * kMiB));
    expect_refused(refused, {"33 devices", "32"}, [&] { return try_create(options); });
    for (const auto& device : devices_) EXPECT_TRUE(is_zero(device->content()));
    const std::unique_ptr<io::MemoryDevice> beyond = std::move(devices_.back());
    devices_.pop_back();
    const std::unique_ptr<io::MemoryDevice> last = std::move(devices_.back());
    devices_.pop_back();
    ASSERT_TRUE(try_create(options).ok());
    open();
    const Result<void> added = simulator_.run(pool_->add_device(*last, false));
    ASSERT_TRUE(added.ok()) << added.error().message();
    expect_refused(ErrorCode::out_of_range, {"wide", std::to_string(kDevicesMax)},
                   [&] { return simulator_.run(pool_->add_device(*beyond, false)); });
    EXPECT_TRUE(is_zero(beyond->content()));
    EXPECT_EQ(pool_->info().devices.size(), kDevicesMax);
    close();  // before `last` goes
}

TEST_F(LimitsTest, pools_have_at_most_10000_volumes) {
    create(2 * kGiB);
    const double started = seconds_now();
    const std::vector<std::byte> block(kBlockBytes, std::byte{5});
    Uuid first;
    for (size_t i = 0; i < kVolumesMax; ++i) {
        const Uuid v = volume(fmt::format("v{}", i));
        if (i == 0) first = v;
        block::Volume* handle = attach(v);
        ASSERT_TRUE(simulator_.run(handle->write(0, block, {})).ok());
        simulator_.run(pool_->detach(handle));
    }
    const double made = seconds_now();
    const Uuid s = snapshot(first, "s");
    const std::vector<std::string> words = {"fast", std::to_string(kVolumesMax)};
    expect_refused(ErrorCode::out_of_range, words, [&] { return try_volume("beyond"); });
    expect_refused(ErrorCode::out_of_range, words, [&] { return try_clone(s, "beyond"); });
    crash();
    const double crashed = seconds_now();
    open();
    const double recovered = seconds_now();
    EXPECT_EQ(pool_->volumes().size(), kVolumesMax);
    expect_refused(ErrorCode::out_of_range, words, [&] { return try_volume("beyond"); });
    close();
    const double closed = seconds_now();
    open();
    const double reopened = seconds_now();
    EXPECT_EQ(pool_->volumes().size(), kVolumesMax);
    fmt::print(
        "{} volumes with a block each: made in {:.2f} s; open after a crash {:.0f} ms, "
        "after a clean close {:.0f} ms\n",
        kVolumesMax, made - started, (recovered - crashed) * 1e3, (reopened - closed) * 1e3);
    ASSERT_TRUE(simulator_.run(pool_->delete_volume(*pool_->find_volume("v9999"))).ok());
    EXPECT_TRUE(try_volume("again").ok());
}

TEST_F(LimitsTest, pools_have_at_most_65536_snapshots) {
    create(kGiB);
    constexpr size_t kVolumes = kSnapshotsMax / kSnapshotsPerVolumeMax;
    std::vector<Uuid> volumes;
    for (size_t v = 0; v <= kVolumes; ++v) volumes.push_back(volume(fmt::format("v{}", v)));
    const Uuid other = volumes.back();
    volumes.pop_back();
    const double started = seconds_now();
    for (size_t i = 0; i < kSnapshotsPerVolumeMax; ++i) {
        const auto made = try_snapshots(volumes, fmt::format("s{}", i));
        ASSERT_TRUE(made.ok()) << made.error().message();
    }
    const double made = seconds_now();
    EXPECT_EQ(pool_->snapshots(std::nullopt).size(), kSnapshotsMax);
    const auto beyond = [&] { return try_snapshots({other}, "beyond"); };
    const std::vector<std::string> words = {"fast", std::to_string(kSnapshotsMax)};
    expect_refused(ErrorCode::out_of_range, words, beyond);
    crash();
    const double crashed = seconds_now();
    open();
    const double recovered = seconds_now();
    EXPECT_EQ(pool_->snapshots(std::nullopt).size(), kSnapshotsMax);
    expect_refused(ErrorCode::out_of_range, words, beyond);
    fmt::print("{} snapshots: made in {:.2f} s; open after a crash {:.0f} ms\n", kSnapshotsMax,
               made - started, (recovered - crashed) * 1e3);
}

}  // namespace
}  // namespace stoa::pool
