// Golden images: pools that an earlier engine wrote. Today's engine opens them, finds every byte of
// every volume and snapshot, and leaves them clean; fsck agrees before and after.
//
// Environment: STOA_GOLDEN_WRITE=DIRECTORY makes the images and manifests anew (README.md);
// STOA_GOLDEN_UNPACK=DIRECTORY writes the devices there, for stoa-pool.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>

#include "base/crc32c.h"
#include "dataplane/io/memory_device.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/pool/fsck/fsck.h"
#include "dataplane/pool/pool.h"
#include "tests/golden/generator.h"
#include "tests/golden/image.h"
#include "tests/golden/manifest.h"

namespace stoa::golden {
namespace {

constexpr const char* kFolder = "tests/golden/v1/";  // tests run at the top of the tree
constexpr uint64_t kReadWholeBytesMax = uint64_t{64} << 20;

class MemorySource final : public fsck::Source {
public:
    explicit MemorySource(ConstBytes content) : content_(content) {}
    [[nodiscard]] uint64_t size_bytes() const override { return content_.size(); }
    bool read(uint64_t offset_bytes, MutableBytes into) override {
        if (offset_bytes + into.size() > content_.size()) return false;
        std::memcpy(into.data(), content_.data() + offset_bytes, into.size());
        return true;
    }
    [[nodiscard]] const std::string& name() const override { return name_; }

private:
    ConstBytes content_;
    std::string name_ = "golden";
};

// One golden pool, copied into memory devices.
class GoldenTest : public ::testing::TestWithParam<const char*> {
protected:
    void SetUp() override {
        const std::string stem = std::string(kFolder) + GetParam();
        auto text = read_file(stem + ".manifest");
        ASSERT_TRUE(text.ok()) << text.error().message();
        auto manifest = parse_manifest({reinterpret_cast<const char*>(text->data()), text->size()});
        ASSERT_TRUE(manifest.ok()) << manifest.error().message();
        manifest_ = *std::move(manifest);
        for (size_t d = 0; d < manifest_.devices; ++d) {
            auto packed = read_file(fmt::format("{}.{}.image", stem, d));
            ASSERT_TRUE(packed.ok()) << packed.error().message();
            auto image = unpack_image(*packed);
            ASSERT_TRUE(image.ok()) << image.error().message();
            io::MemoryDeviceOptions options;
            options.size_bytes = image->size();
            auto device = io::MemoryDevice::create(simulator_, "golden", options);
            ASSERT_TRUE(device.ok()) << device.error().message();
            std::ranges::copy(*image, (*device)->content().begin());
            devices_.push_back(*std::move(device));
        }
    }
    void open();
    void close();
    fsck::Report check() const;
    void expect_clean(const fsck::Report& report) const;
    void expect_tree(const Tree& tree);
    void expect_content(const Tree& tree, block::Volume& volume);
    void expect_diff(const Tree& from, const Tree& to);
    // Reads [first, first + count) and compares each block.
    void expect_blocks(const Tree& tree, block::Volume& volume, uint64_t first, uint64_t count);

    io::sim::Simulator simulator_{1};
    Manifest manifest_;
    std::vector<std::unique_ptr<io::MemoryDevice>> devices_;
    std::unique_ptr<pool::Pool> pool_;
};

void GoldenTest::open() {
    std::vector<io::Device*> pointers;
    for (const auto& device : devices_) pointers.push_back(device.get());
    pool::OpenOptions options;
    options.cache_bytes = uint64_t{1} << 20;
    auto opened = simulator_.run(pool::Pool::open(simulator_, pointers, std::move(options)));
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    pool_ = *std::move(opened);
}

void GoldenTest::close() {
    const Result<void> closed = simulator_.run(pool_->close());
    EXPECT_TRUE(closed.ok()) << closed.error().message();
    pool_.reset();
}

fsck::Report GoldenTest::check() const {
    std::vector<MemorySource> memories;
    for (const auto& device : devices_) memories.emplace_back(device->content());
    std::vector<fsck::Source*> sources;
    for (MemorySource& memory : memories) sources.push_back(&memory);
    fsck::Options options;
    options.verify_data = true;
    return fsck::check(sources, options);
}

// A damaged data block is the only thing that fsck may complain about.
void GoldenTest::expect_clean(const fsck::Report& report) const {
    size_t damaged = 0;
    for (const Tree& tree : manifest_.trees) damaged += tree.damaged.size();
    EXPECT_EQ(report.problem_count, damaged);
    EXPECT_EQ(report.repairable_count, 0u);
    EXPECT_EQ(report.counts.damage_ranges, damaged);
    if (report.closed_cleanly) {  // the journal's objects are not counted
        EXPECT_EQ(report.counts.volumes + report.counts.snapshots, manifest_.trees.size());
    }
    if (report.problem_count == damaged && report.repairable_count == 0) return;
    for (const std::string& line : report.problems) ADD_FAILURE() << "fsck: " << line;
    for (const std::string& line : report.repairable) ADD_FAILURE() << "fsck: " << line;
}

void GoldenTest::expect_blocks(const Tree& tree, block::Volume& volume, uint64_t first,
                               uint64_t count) {
    std::vector<std::byte> bytes(kBlockBytes);
    for (uint64_t b = first; b < first + count; ++b) {
        const uint64_t offset = b * kBlockBytes;
        const MutableBytes into =
            MutableBytes(bytes).first(std::min(kBlockBytes, tree.size_bytes - offset));
        const Result<void> read = simulator_.run(volume.read(offset, into));
        if (tree.damaged.contains(b)) {
            EXPECT_FALSE(read.ok()) << tree.name << " block " << b << " is damaged";
            continue;
        }
        ASSERT_TRUE(read.ok()) << tree.name << " block " << b << ": " << read.error().message();
        const auto expected = tree.blocks.find(b);
        if (expected == tree.blocks.end()) {
            EXPECT_TRUE(is_zero(into)) << tree.name << " block " << b << " is not zero";
        } else {
            EXPECT_EQ(crc32c(into), expected->second) << tree.name << " block " << b;
        }
    }
}

// All blocks of a small tree; of a huge one those that are mapped, and those that should be.
void GoldenTest::expect_content(const Tree& tree, block::Volume& volume) {
    const uint64_t blocks = (tree.size_bytes + kBlockBytes - 1) / kBlockBytes;
    if (tree.size_bytes <= kReadWholeBytesMax) return expect_blocks(tree, volume, 0, blocks);
    for (const auto& [index, crc] : tree.blocks) expect_blocks(tree, volume, index, 1);
    uint64_t at = 0;
    while (at < tree.size_bytes) {
        const auto extents = simulator_.run(volume.extents(at, tree.size_bytes - at, 64));
        ASSERT_TRUE(extents.ok()) << extents.error().message();
        ASSERT_FALSE(extents->empty());
        for (const block::Extent& extent : *extents) {
            ASSERT_EQ(extent.offset_bytes, at);
            if (extent.kind == block::ExtentKind::data) {
                expect_blocks(tree, volume, at / kBlockBytes, extent.length_bytes / kBlockBytes);
            }
            at += extent.length_bytes;
        }
    }
}

void GoldenTest::expect_tree(const Tree& tree) {
    SCOPED_TRACE(tree.name);
    if (tree.is_volume) {
        const auto info = pool_->volume(tree.uuid);
        ASSERT_TRUE(info.ok()) << info.error().message();
        EXPECT_EQ(info->name, tree.name);
        EXPECT_EQ(info->size_bytes, tree.size_bytes);
        EXPECT_EQ(info->parent, tree.parent);
        EXPECT_EQ(info->is_protected, tree.is_protected);
        EXPECT_EQ(info->tags, tree.tags);
    } else {
        const auto info = pool_->snapshot_info(tree.uuid);
        ASSERT_TRUE(info.ok()) << info.error().message();
        EXPECT_EQ(info->name, tree.name);
        EXPECT_EQ(info->size_bytes, tree.size_bytes);
        EXPECT_EQ(info->parent, tree.parent);
        EXPECT_EQ(info->is_protected, tree.is_protected);
        EXPECT_EQ(info->volume, tree.volume);
    }
    const auto handle = simulator_.run(pool_->attach(tree.uuid, true));
    ASSERT_TRUE(handle.ok()) << handle.error().message();
    expect_content(tree, **handle);
    simulator_.run(pool_->detach(*handle));
}

// What differs according to the manifest is in the difference.
void GoldenTest::expect_diff(const Tree& from, const Tree& to) {
    SCOPED_TRACE(from.name + " to " + to.name);
    const auto page = simulator_.run(pool_->diff(from.uuid, to.uuid, 0, 10'000));
    ASSERT_TRUE(page.ok()) << page.error().message();
    ASSERT_TRUE(page->finished);
    std::set<uint64_t> blocks;
    for (const auto& [index, crc] : from.blocks) blocks.insert(index);
    for (const auto& [index, crc] : to.blocks) blocks.insert(index);
    for (const uint64_t b : blocks) {
        const auto before = from.blocks.find(b);
        const auto after = to.blocks.find(b);
        if (before != from.blocks.end() && after != to.blocks.end() &&
            before->second == after->second) {
            continue;
        }
        EXPECT_TRUE(std::ranges::any_of(page->ranges,
                                        [&](const pool::DiffRange& r) {
                                            return b * kBlockBytes >= r.offset_bytes &&
                                                   b * kBlockBytes <
                                                       r.offset_bytes + r.length_bytes;
                                        }))
            << "block " << b;
    }
}

TEST_P(GoldenTest, todays_engine_finds_every_byte) {
    if (std::getenv("STOA_GOLDEN_WRITE") != nullptr) GTEST_SKIP() << "being written";
    const fsck::Report before = check();
    EXPECT_EQ(before.pool, manifest_.pool);
    EXPECT_EQ(before.closed_cleanly, manifest_.closed);
    EXPECT_EQ(before.journal_pending, !manifest_.closed);
    EXPECT_GE(before.counts.commits, manifest_.closed ? 0u : 10u);
    EXPECT_GE(before.counts.records, manifest_.closed ? 0u : 20u);
    expect_clean(before);
    for (int round = 0; round < 2; ++round) {  // the second time from what today's engine wrote
        ASSERT_NO_FATAL_FAILURE(open());
        EXPECT_EQ(pool_->info().name, manifest_.pool_name);
        EXPECT_EQ(pool_->info().uuid, manifest_.pool);
        EXPECT_EQ(pool_->info().read_only, false) << pool_->info().read_only_reason;
        std::map<Uuid, const Tree*> trees;
        size_t damaged = 0;
        for (const Tree& tree : manifest_.trees) {
            trees[tree.uuid] = &tree;
            damaged += tree.damaged.size();
        }
        EXPECT_EQ(pool_->volumes().size() + pool_->snapshots(std::nullopt).size(), trees.size());
        EXPECT_EQ(pool_->damage().size(), damaged);
        for (const Tree& tree : manifest_.trees) {
            expect_tree(tree);
            if (!tree.parent.is_nil()) expect_diff(*trees.at(tree.parent), tree);
        }
        close();
        expect_clean(check());
    }
}

INSTANTIATE_TEST_SUITE_P(Version1, GoldenTest, ::testing::Values("closed", "journal"),
                         [](const auto& name) { return std::string(name.param); });

TEST(GoldenFiles, are_written_when_asked_for) {
    const char* folder = std::getenv("STOA_GOLDEN_WRITE");
    if (folder == nullptr) GTEST_SKIP() << "STOA_GOLDEN_WRITE=DIRECTORY writes them";
    for (const GoldenPool& pool : {make_closed_pool(), make_journal_pool()}) {
        const std::string stem = std::string(folder) + "/" + pool.name;
        const std::string text = to_text(pool.manifest);
        ASSERT_TRUE(write_file(stem + ".manifest", std::as_bytes(std::span(text))).ok());
        for (size_t d = 0; d < pool.devices.size(); ++d) {
            const auto packed = pack_image(pool.devices[d]);
            ASSERT_TRUE(write_file(fmt::format("{}.{}.image", stem, d), packed).ok());
            const auto again = unpack_image(packed);
            ASSERT_TRUE(again.ok());
            EXPECT_EQ(*again, pool.devices[d]);
        }
    }
}

TEST_P(GoldenTest, is_unpacked_when_asked_for) {
    const char* folder = std::getenv("STOA_GOLDEN_UNPACK");
    if (folder == nullptr) GTEST_SKIP() << "STOA_GOLDEN_UNPACK=DIRECTORY writes the devices";
    for (size_t d = 0; d < devices_.size(); ++d) {
        const std::string path = fmt::format("{}/{}.{}", folder, GetParam(), d);
        ASSERT_TRUE(write_file(path, devices_[d]->content()).ok());
    }
}

TEST(GoldenGenerator, its_manifests_keep_everything_as_text) {
    for (const GoldenPool& pool : {make_closed_pool(), make_journal_pool()}) {
        const auto parsed = parse_manifest(to_text(pool.manifest));
        ASSERT_TRUE(parsed.ok()) << parsed.error().message();
        EXPECT_EQ(to_text(*parsed), to_text(pool.manifest));
        EXPECT_GE(pool.manifest.trees.size(), 5u);
    }
}

}  // namespace
}  // namespace stoa::golden
