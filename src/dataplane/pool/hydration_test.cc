// Hydration of a family: snapshots and clones let go of the origin together, and share what was
// fetched for them.
#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include <gtest/gtest.h>

#include "dataplane/io/sim/disk.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/io/sync.h"
#include "dataplane/pool/pool.h"
#include "dataplane/pool/test_image_source.h"

namespace stoa::pool {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr size_t kBlock = 4096;
constexpr size_t kBlocks = 12;
using Content = std::vector<int>;  // of each block: the byte that fills it

class FilledOrigin final : public block::Volume {
public:
    static int byte_of(uint64_t block) {
        return block % 5 == 3 ? 0 : 100 + static_cast<int>(block % 100);
    }
    [[nodiscard]] uint64_t size_bytes() const override { return 1000 * kBlock; }
    [[nodiscard]] bool read_only() const override { return true; }
    io::Task<Result<void>> read(uint64_t offset_bytes, MutableBytes into) override {
        if (before_read) {
            // Once.
            const std::function<io::Task<void>()> first = std::exchange(before_read, {});
            co_await first();
        }
        if (gone) co_return Error(ErrorCode::io, "the origin is gone");
        for (size_t i = 0; i < into.size(); ++i) {
            into[i] = static_cast<std::byte>(byte_of((offset_bytes + i) / kBlock));
        }
        co_return Result<void>{};
    }
    io::Task<Result<void>> write(uint64_t, ConstBytes, block::WriteOptions) override {
        co_return Error(ErrorCode::read_only, "an origin");
    }
    io::Task<Result<void>> flush() override { co_return Result<void>{}; }
    io::Task<Result<void>> discard(uint64_t, uint64_t) override {
        co_return Error(ErrorCode::read_only, "an origin");
    }
    io::Task<Result<void>> write_zeroes(uint64_t, uint64_t, block::ZeroOptions) override {
        co_return Error(ErrorCode::read_only, "an origin");
    }
    io::Task<Result<std::vector<block::Extent>>> extents(uint64_t, uint64_t, size_t) override {
        co_return std::vector<block::Extent>{};
    }

    bool gone = false;
    std::function<io::Task<void>()> before_read;
};

class HydrationTest : public ::testing::Test {
protected:
    HydrationTest() : simulator_(7) {
        origin_id_.bytes.fill(std::byte{7});
        insert(io::sim::Medium(io::sim::Image(24 * kMiB)));
        CreateOptions options;
        options.name = "fast";
        options.region_blocks = 64;
        options.journal_blocks = 64;
        EXPECT_TRUE(simulator_.run(Pool::create(simulator_, {disk_.get()}, options)).ok());
        open();
    }
    ~HydrationTest() override {
        if (pool_) static_cast<void>(simulator_.run(pool_->close()));
    }

    void insert(io::sim::Medium medium) {
        io::sim::DiskOptions options;
        options.seed = ++seed_;
        disk_ = std::make_unique<io::sim::Disk>(simulator_, options, std::move(medium));
    }
    void open() {
        OpenOptions options;
        options.cache_bytes = kMiB;
        options.origins = [this](const Uuid& id) -> block::Volume* {
            return id == origin_id_ && !origin_.gone ? &origin_ : nullptr;
        };
        Result<std::unique_ptr<Pool>> opened =
            simulator_.run(Pool::open(simulator_, {disk_.get()}, options));
        ASSERT_TRUE(opened.ok()) << opened.error().message();
        pool_ = *std::move(opened);
        EXPECT_FALSE(pool_->info().read_only) << pool_->info().read_only_reason;
    }
    void reopen() {
        close();
        open();
    }
    void close() {
        const Result<void> closed = simulator_.run(pool_->close());
        EXPECT_TRUE(closed.ok()) << closed.error().message();
        pool_.reset();
    }
    void check_fsck(const char* when) {
        ImageSource source(disk_->image());
        const std::vector<fsck::Source*> devices{&source};
        const fsck::Report report = fsck::check(devices, {.verify_data = true});
        EXPECT_EQ(report.problem_count, 0U)
            << when << ": " << (report.problems.empty() ? "" : report.problems.front());
        EXPECT_EQ(report.counts.leaked_blocks, 0U) << when;
    }

    Uuid make_volume(size_t blocks = kBlocks) {
        VolumeSpec spec;
        spec.name = "db";
        spec.size_bytes = blocks * kBlock;
        spec.origin = origin_id_;
        Result<Uuid> made = simulator_.run(pool_->create_volume(spec));
        EXPECT_TRUE(made.ok()) << made.error().message();
        content_[*made].resize(blocks);
        for (size_t i = 0; i < blocks; ++i) content_[*made][i] = FilledOrigin::byte_of(i);
        return *made;
    }
    void write(Uuid volume, size_t block, int value) {
        block::Volume* handle = *simulator_.run(pool_->attach(volume, false));
        const std::vector<std::byte> data(kBlock, static_cast<std::byte>(value));
        const Result<void> done = value == 0
                                      ? simulator_.run(handle->discard(block * kBlock, kBlock))
                                      : simulator_.run(handle->write(block * kBlock, data, {}));
        EXPECT_TRUE(done.ok()) << done.error().message();
        simulator_.run(pool_->detach(handle));
        content_[volume][block] = value;
    }
    Uuid snapshot(Uuid volume, const std::string& name) {
        SnapshotSpec spec;
        spec.volume = volume;
        spec.name = name;
        Result<std::vector<Uuid>> made = simulator_.run(pool_->snapshot({spec}));
        EXPECT_TRUE(made.ok()) << made.error().message();
        content_[made->front()] = content_[volume];
        return made->front();
    }
    Uuid clone(Uuid snapshot, const std::string& name, size_t blocks = 0) {
        VolumeSpec spec;
        spec.name = name;
        spec.size_bytes = blocks * kBlock;
        Result<Uuid> made = simulator_.run(pool_->clone(snapshot, spec));
        EXPECT_TRUE(made.ok()) << made.error().message();
        content_[*made] = content_[snapshot];
        for (size_t i = content_[*made].size(); i < blocks; ++i) {
            content_[*made].push_back(FilledOrigin::byte_of(i));
        }
        return *made;
    }
    void hydrate(Uuid volume) {
        const Result<void> done = simulator_.run(pool_->hydrate(volume));
        EXPECT_TRUE(done.ok()) << done.error().message();
    }
    void settle() {
        const Result<void> settled = simulator_.run(pool_->settle());
        EXPECT_TRUE(settled.ok()) << settled.error().message();
        EXPECT_TRUE(simulator_.run(pool_->checkpoint()).ok());
    }
    void expect_content() {
        for (const auto& [uuid, blocks] : content_) {
            Result<block::Volume*> handle = simulator_.run(pool_->attach(uuid, true));
            ASSERT_TRUE(handle.ok()) << handle.error().message();
            for (size_t i = 0; i < blocks.size(); ++i) {
                std::vector<std::byte> data(kBlock);
                const Result<void> done = simulator_.run((*handle)->read(i * kBlock, data));
                ASSERT_TRUE(done.ok()) << done.error().message();
                EXPECT_EQ(data, std::vector<std::byte>(kBlock, static_cast<std::byte>(blocks[i])))
                    << "block " << i;
            }
            simulator_.run(pool_->detach(*handle));
        }
    }
    // Each difference is listed, and nothing that only the hydration changed.
    void expect_diffs() {
        for (const auto& [from, before] : content_) {
            for (const auto& [to, now] : content_) {
                std::vector<bool> listed(now.size());
                const Result<DiffPage> page = simulator_.run(pool_->diff(from, to, 0, 1000));
                ASSERT_TRUE(page.ok()) << page.error().message();
                for (const DiffRange& range : page->ranges) {
                    const uint64_t end = range.offset_bytes + range.length_bytes;
                    for (uint64_t at = range.offset_bytes; at < end; at += kBlock) {
                        if (at / kBlock < listed.size()) listed[at / kBlock] = true;
                    }
                }
                for (size_t i = 0; i < std::min(now.size(), before.size()); ++i) {
                    if (now[i] != before[i]) EXPECT_TRUE(listed[i]) << "block " << i;
                    if (now[i] == before[i]) EXPECT_FALSE(listed[i]) << "block " << i;
                }
            }
        }
    }
    void remove(Uuid tree) {
        Result<void> done = Result<void>{};
        if (pool_->snapshot_info(tree).ok()) {
            done = simulator_.run(pool_->delete_snapshot(tree));
            content_.erase(tree);
        } else if (pool_->volume(tree).ok()) {
            for (const SnapshotInfo& info : pool_->snapshots(tree)) content_.erase(info.uuid);
            done = simulator_.run(pool_->delete_volume(tree));
            content_.erase(tree);
        }
        EXPECT_TRUE(done.ok()) << done.error().message();
    }

    struct Family {
        Uuid v, s1, s2, s3, c1, k1;
    };
    // Writes and discards between snapshots, a clone with a snapshot; a leaf boundary when large.
    Family make_family(size_t blocks = kBlocks) {
        Family f;
        f.v = make_volume(blocks);
        f.s1 = snapshot(f.v, "s1");
        write(f.v, 0, 1);
        write(f.v, 1, 0);
        f.s2 = snapshot(f.v, "s2");
        write(f.v, 2, 2);
        write(f.v, 0, 3);
        f.c1 = clone(f.s1, "c1");
        write(f.c1, 4, 4);
        f.k1 = snapshot(f.c1, "k1");
        write(f.c1, 5, 5);
        f.s3 = snapshot(f.v, "s3");
        write(f.v, 6, 6);
        return f;
    }
    static size_t distinct_blocks(size_t blocks) {
        size_t filled = 0;
        for (size_t i = 0; i < blocks; ++i) filled += FilledOrigin::byte_of(i) == 0 ? 0 : 1;
        return filled + 6;  // and those written
    }

    io::sim::Simulator simulator_;
    uint64_t seed_ = 0;
    Uuid origin_id_;
    FilledOrigin origin_;
    std::unique_ptr<io::sim::Disk> disk_;
    std::unique_ptr<Pool> pool_;
    std::map<Uuid, Content> content_;
};

TEST_F(HydrationTest, snapshots_and_clones_let_go_of_the_origin) {
    const Family f = make_family();
    expect_content();
    hydrate(f.v);
    origin_.gone = true;
    expect_content();
    expect_diffs();
    for (const VolumeInfo& info : pool_->volumes()) EXPECT_TRUE(info.hydrated) << info.name;
    settle();
    EXPECT_EQ(pool_->info().space.data, distinct_blocks(kBlocks));
    reopen();
    expect_content();
    close();
    check_fsck("closed");
}

TEST_F(HydrationTest, hydrating_a_clone_hydrates_what_it_was_made_from) {
    const Family f = make_family(600);
    settle();
    hydrate(f.c1);
    origin_.gone = true;
    settle();
    EXPECT_EQ(pool_->info().space.data, distinct_blocks(600));
    expect_content();
    expect_diffs();
    close();
    check_fsck("closed");
}

TEST_F(HydrationTest, larger_clones_fetch_what_lies_beyond) {
    const Family f = make_family();
    clone(f.s2, "wide", 300);
    clone(f.s2, "wider", 400);
    hydrate(f.v);
    origin_.gone = true;
    expect_content();
    expect_diffs();
    close();
    check_fsck("closed");
}

TEST_F(HydrationTest, deleting_in_any_order_gives_all_space_back) {
    for (uint64_t order = 0; order < 720; order += 7) {
        origin_.gone = false;
        const Family f = make_family();
        if (order % 2 == 0) settle();
        hydrate(f.v);
        origin_.gone = true;
        std::vector<Uuid> left{f.v, f.s1, f.s2, f.s3, f.c1, f.k1};
        uint64_t rest = order;
        while (!left.empty()) {
            const size_t at = rest % left.size();
            rest /= left.size();
            remove(left[at]);
            left.erase(left.begin() + static_cast<ptrdiff_t>(at));
            if (order % 3 == 0) settle();
            expect_content();
            for (const Uuid& volume : {f.v, f.c1}) {
                if (content_.contains(volume)) write(volume, 7 + left.size() % 4, 9);
            }
        }
        settle();
        ASSERT_EQ(pool_->info().space.data, 0U) << "order " << order;
        ASSERT_FALSE(HasFailure()) << "order " << order;
        reopen();
        check_fsck("reopened");
    }
}

TEST_F(HydrationTest, rollback_and_overwrite_after_hydration_keep_everything_right) {
    const Family f = make_family();
    hydrate(f.c1);
    origin_.gone = true;
    ASSERT_TRUE(simulator_.run(pool_->rollback(f.v, f.s1)).ok());
    content_[f.v] = content_[f.s1];
    for (size_t i = 0; i < kBlocks; ++i) write(f.v, i, 40 + static_cast<int>(i));
    for (size_t i = 0; i < kBlocks; ++i) write(f.c1, i, 60 + static_cast<int>(i));
    settle();
    expect_content();
    expect_diffs();
    ASSERT_TRUE(simulator_.run(pool_->resize_volume(f.v, 3 * kBlock, true)).ok());
    content_[f.v].resize(3);
    settle();
    expect_content();
    close();
    check_fsck("closed");
}

io::Task<void> hydrate_now(Pool& pool, Uuid volume) {
    const Result<void> done = co_await pool.hydrate(volume);
    EXPECT_TRUE(done.ok()) << done.error().message();
}

// The entries it has looked up are absent, but the volume asks no origin any more.
TEST_F(HydrationTest, a_read_that_the_hydration_overtakes_gets_the_content) {
    const Uuid volume = make_volume();
    const Uuid monday = snapshot(volume, "monday");
    write(volume, 1, 50);
    write(volume, 4, 51);
    for (const Uuid& tree : {volume, monday}) {
        origin_.before_read = [&]() { return hydrate_now(*pool_, volume); };
        block::Volume* handle = *simulator_.run(pool_->attach(tree, true));
        std::vector<std::byte> data(kBlocks * kBlock);
        const Result<void> done = simulator_.run(handle->read(0, data));
        EXPECT_TRUE(done.ok()) << done.error().message();
        for (size_t i = 0; i < kBlocks; ++i) {
            EXPECT_EQ(data[i * kBlock], static_cast<std::byte>(content_[tree][i])) << i;
        }
        simulator_.run(pool_->detach(handle));
    }
}

io::Task<void> take_away(FilledOrigin& origin) {
    origin.gone = true;
    co_return;
}

// What a hydration without its origin could not do is done when the pool opens with it.
TEST_F(HydrationTest, goes_on_by_itself_when_the_pool_opens) {
    const Family f = make_family();
    origin_.before_read = [this] { return take_away(origin_); };
    EXPECT_FALSE(simulator_.run(pool_->hydrate(f.v)).ok());
    origin_.gone = false;
    reopen();
    settle();
    origin_.gone = true;
    for (const VolumeInfo& info : pool_->volumes()) EXPECT_TRUE(info.hydrated) << info.name;
    for (const SnapshotInfo& info : pool_->snapshots(std::nullopt)) {
        EXPECT_TRUE(info.hydrated) << info.name;
    }
    expect_content();
}

// Power is lost at every event of the device; the hydration goes on by itself.
TEST_F(HydrationTest, survives_a_crash_at_every_event) {
    const Family f = make_family(280);
    settle();
    EXPECT_TRUE(simulator_.run(pool_->checkpoint()).ok());
    close();
    const io::sim::Image before = disk_->image();
    const std::map<Uuid, Content> content = content_;
    bool finished = false;
    for (uint64_t crash_at = 1; !finished; ++crash_at) {
        origin_.gone = false;
        content_ = content;
        insert(io::sim::Medium(io::sim::Image(before)));
        open();
        uint64_t left = crash_at;
        std::optional<io::sim::Image> image;
        disk_->add_observer([&](const io::sim::DiskEvent&) {
            if (image || --left > 0) return;
            io::sim::CrashPolicy policy;
            policy.keep = crash_at % 2 == 0 ? io::sim::CrashKeep::random : io::sim::CrashKeep::none;
            policy.seed = crash_at;
            image = disk_->crash_image(policy);
            disk_->kill();
        });
        const Result<void> done = simulator_.run(pool_->hydrate(f.v));
        if (!image) {
            EXPECT_TRUE(done.ok()) << done.error().message();
            finished = true;
            image = disk_->crash_image({});
        }
        disk_->kill();
        static_cast<void>(simulator_.run(pool_->close()));
        pool_.reset();
        insert(io::sim::Medium(std::move(*image)));
        check_fsck("crashed");
        open();
        expect_content();
        settle();
        hydrate(f.v);
        origin_.gone = true;
        expect_content();
        settle();
        EXPECT_EQ(pool_->info().space.data, distinct_blocks(280));
        for (const Uuid& tree : {f.s2, f.v, f.s1, f.c1}) {
            remove(tree);
            expect_content();
        }
        settle();
        EXPECT_EQ(pool_->info().space.data, 0U);
        close();
        check_fsck("closed");
        ASSERT_FALSE(HasFailure()) << "crash at event " << crash_at;
    }
}

}  // namespace
}  // namespace stoa::pool
