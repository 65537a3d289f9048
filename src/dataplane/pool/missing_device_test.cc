// Devices that go away and return: what works meanwhile, what is resynchronized, who is refused.
#include <algorithm>
#include <map>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "dataplane/io/sim/disk.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/pool/pool.h"
#include "dataplane/pool/test_image_source.h"

namespace stoa::pool {
namespace {

using io::sim::CrashKeep;
using io::sim::Disk;
using io::sim::Image;
using io::sim::Medium;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kBlocks = 600;  // of the volume: three leaves
constexpr std::byte kUnreadable{0xEE};

class MissingDeviceTest : public ::testing::Test {
protected:
    MissingDeviceTest() : simulator_(11) {}
    ~MissingDeviceTest() override {
        if (pool_) lose_power();
    }

    void create(size_t devices) {
        for (size_t i = 0; i < devices; ++i) images_.emplace_back(16 * kMiB);
        insert();
        CreateOptions options;
        options.name = "fast";
        options.region_blocks = 64;
        options.journal_blocks = 64;
        const Result<void> made = simulator_.run(Pool::create(simulator_, all(), options));
        ASSERT_TRUE(made.ok()) << made.error().message();
        take_out({});
    }
    // Disks of what is in images_; a crash of all is armed by crash_at_.
    void insert() {
        disks_.clear();
        events_ = 0;
        for (size_t i = 0; i < images_.size(); ++i) {
            io::sim::DiskOptions options;
            options.name = fmt::format("disk{}", i);
            options.seed = ++seed_;
            disks_.push_back(std::make_unique<Disk>(simulator_, options, Medium(images_[i])));
            disks_.back()->add_observer([this](const io::sim::DiskEvent&) {
                if (++events_ == crash_at_) cut_power();
            });
        }
        crashed_ = false;
    }
    std::vector<io::Device*> all() {
        std::vector<io::Device*> list;
        for (const auto& disk : disks_) list.push_back(disk.get());
        return list;
    }
    void cut_power() {
        io::sim::CrashPolicy policy{.keep = keep_, .seed = ++seed_};
        for (size_t i = 0; i < disks_.size(); ++i) {
            images_[i] = disks_[i]->crash_image(policy);
            policy.seed = ++seed_;
        }
        crashed_ = true;
        for (const auto& disk : disks_) disk->kill();
    }
    void take_out(const io::sim::CrashPolicy& policy) {
        if (crashed_) return;
        for (size_t i = 0; i < disks_.size(); ++i) images_[i] = disks_[i]->crash_image(policy);
    }
    Result<void> open(const std::vector<size_t>& which, OpenOptions options = {}) {
        insert();
        std::vector<io::Device*> given;
        for (const size_t i : which) given.push_back(disks_[i].get());
        options.cache_bytes = kMiB;
        Result<std::unique_ptr<Pool>> opened =
            simulator_.run(Pool::open(simulator_, given, options));
        if (!opened.ok()) {
            take_out({.keep = CrashKeep::all});
            return opened.take_error();
        }
        pool_ = *std::move(opened);
        return {};
    }
    Result<void> open_without(const std::vector<size_t>& which) {
        OpenOptions options;
        options.accept_missing_devices = true;
        return open(which, options);
    }
    void close() {
        const Result<void> closed = simulator_.run(pool_->close());
        EXPECT_TRUE(closed.ok()) << closed.error().message();
        pool_.reset();
        take_out({});
    }
    void lose_power() {
        if (!crashed_) cut_power();
        static_cast<void>(simulator_.run(pool_->close()));
        pool_.reset();
    }
    fsck::Report check(const std::vector<size_t>& which) {
        std::vector<std::unique_ptr<ImageSource>> sources;
        std::vector<fsck::Source*> given;
        for (const size_t i : which) {
            sources.push_back(std::make_unique<ImageSource>(images_[i], fmt::format("disk{}", i)));
            given.push_back(sources.back().get());
        }
        fsck::Options options;
        options.verify_data = true;
        return fsck::check(given, options);
    }
    void expect_clean(const std::vector<size_t>& which) {
        const fsck::Report report = check(which);
        for (const std::string& text : report.problems) ADD_FAILURE() << text;
        for (const std::string& text : report.repairable) ADD_FAILURE() << text;
    }

    Uuid make_volume(const std::string& name) {
        VolumeSpec spec;
        spec.name = name;
        spec.size_bytes = kBlocks * 4096;
        Result<Uuid> made = simulator_.run(pool_->create_volume(spec));
        EXPECT_TRUE(made.ok()) << made.error().message();
        return made.ok() ? *made : Uuid{};
    }
    // Writes each block of the range by itself; true for those that went well.
    size_t write(Uuid id, uint64_t first, uint64_t count, int value) {
        block::Volume* volume = *simulator_.run(pool_->attach(id, false));
        size_t written = 0;
        for (uint64_t i = first; i < first + count; ++i) {
            std::vector<std::byte> data(4096, static_cast<std::byte>(value + static_cast<int>(i)));
            if (data[0] == std::byte{0} || data[0] == kUnreadable) data.assign(4096, std::byte{1});
            if (!simulator_.run(volume->write(i * 4096, data, {})).ok()) continue;
            expected_[id][i] = data[0];
            ++written;
        }
        EXPECT_TRUE(simulator_.run(volume->flush()).ok());
        simulator_.run(pool_->detach(volume));
        return written;
    }
    std::vector<std::byte> read(Uuid id) {
        std::vector<std::byte> seen(kBlocks);
        Result<block::Volume*> volume = simulator_.run(pool_->attach(id, true));
        EXPECT_TRUE(volume.ok());
        if (!volume.ok()) return seen;
        std::vector<std::byte> data(4096);
        for (uint64_t i = 0; i < kBlocks; ++i) {
            const bool ok = simulator_.run((*volume)->read(i * 4096, data)).ok();
            seen[i] = ok ? data[0] : kUnreadable;
            EXPECT_TRUE(!ok || std::ranges::count(data, data[0]) == 4096);
        }
        simulator_.run(pool_->detach(*volume));
        return seen;
    }
    // Blocks that cannot be read; those that can are right.
    size_t count_unreadable(Uuid id) {
        const std::vector<std::byte> seen = read(id);
        size_t unreadable = 0;
        for (uint64_t i = 0; i < kBlocks; ++i) {
            if (seen[i] == kUnreadable) ++unreadable;
            else EXPECT_EQ(seen[i], expected_[id][i]) << "block " << i;
        }
        return unreadable;
    }
    void expect_all_right() {
        for (const auto& [id, blocks] : expected_) EXPECT_EQ(count_unreadable(id), 0U);
    }
    Uuid snapshot(Uuid volume, const std::string& name) {
        SnapshotSpec spec;
        spec.volume = volume;
        spec.name = name;
        Result<std::vector<Uuid>> made = simulator_.run(pool_->snapshot({spec}));
        EXPECT_TRUE(made.ok()) << made.error().message();
        expected_[made->front()] = expected_[volume];
        return made->front();
    }
    void settle() {
        const Result<void> settled = simulator_.run(pool_->settle());
        EXPECT_TRUE(settled.ok()) << settled.error().message();
        EXPECT_TRUE(simulator_.run(pool_->checkpoint()).ok());
    }
    void expect_space_adds_up() {
        const SpaceInfo s = pool_->info().space;
        EXPECT_EQ(s.total, s.system + s.data + s.nodes + s.quarantine + s.bad + s.free + s.away);
    }

    // A pool of `devices` with a volume and a snapshot that lie on all of them, closed.
    void prepare(size_t devices) {
        create(devices);
        ASSERT_TRUE(open(everything()).ok());
        db_ = make_volume("db");
        write(db_, 0, kBlocks, 3);
        monday_ = snapshot(db_, "monday");
        write(db_, 100, 150, 40);
        old_ = make_volume("old");
        write(old_, 0, kBlocks, 77);
        close();
    }
    std::vector<size_t> everything() {
        std::vector<size_t> list;
        for (size_t i = 0; i < images_.size(); ++i) list.push_back(i);
        return list;
    }
    // What a user does while a device is away: some of it fails, none of it breaks anything.
    void use_without() {
        write(db_, 0, 40, 120);
        write(db_, 300, 100, 140);
        snapshot(db_, "tuesday");
        write(db_, 320, 100, 160);
        const Uuid fresh = make_volume("fresh");
        EXPECT_EQ(write(fresh, 0, 200, 9), 200U);
        EXPECT_TRUE(simulator_.run(pool_->delete_volume(old_)).ok());
        expected_.erase(old_);
        // Ends, or stops at a node that is away.
        static_cast<void>(simulator_.run(pool_->settle()));
        EXPECT_TRUE(simulator_.run(pool_->checkpoint()).ok());
        expect_space_adds_up();
        EXPECT_FALSE(pool_->info().read_only) << pool_->info().read_only_reason;
    }

    io::sim::Simulator simulator_;
    uint64_t seed_ = 0;
    std::vector<Image> images_;
    std::vector<std::unique_ptr<Disk>> disks_;
    std::unique_ptr<Pool> pool_;
    uint64_t events_ = 0;
    uint64_t crash_at_ = 0;
    CrashKeep keep_ = CrashKeep::none;
    bool crashed_ = false;
    std::map<Uuid, std::array<std::byte, kBlocks>> expected_;
    Uuid db_;
    Uuid monday_;
    Uuid old_;
};

TEST_F(MissingDeviceTest, needs_a_flag_and_goes_on_without_the_device) {
    prepare(2);
    Result<void> refused = open({0});
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), ErrorCode::invalid_argument);
    size_t lost = 0;
    for (const size_t here : {0U, 1U}) {
        ASSERT_TRUE(open_without({here}).ok());
        EXPECT_TRUE(pool_->info().devices[1 - here].missing);
        lost += count_unreadable(db_) + count_unreadable(monday_);
        expect_space_adds_up();
        lose_power();
        if (here == 0) ASSERT_TRUE(open({0, 1}).ok());
        if (here == 0) close();
    }
    EXPECT_GT(lost, 0U);
    EXPECT_LT(lost, 4 * kBlocks);  // the leaves are on one of them
}

TEST_F(MissingDeviceTest, a_returning_device_is_resynchronized) {
    for (const size_t away : {0U, 1U}) {
        images_.clear();
        expected_.clear();
        prepare(2);
        ASSERT_TRUE(open_without({1 - away}).ok());
        use_without();
        close();
        const Result<void> opened = open({0, 1});
        ASSERT_TRUE(opened.ok()) << opened.error().message();
        EXPECT_FALSE(pool_->info().devices[away].missing);
        EXPECT_EQ(pool_->info().space.away, 0U);
        expect_space_adds_up();
        expect_all_right();
        settle();
        expect_all_right();
        close();
        expect_clean({0, 1});
        // Nothing special any more.
        ASSERT_TRUE(open({0, 1}).ok());
        write(db_, 0, kBlocks, 50);
        expect_all_right();
        close();
        expect_clean({0, 1});
    }
}

TEST_F(MissingDeviceTest, a_scrub_takes_what_reads_right_again_off_the_list_of_damage) {
    prepare(2);
    for (const size_t away : {0U, 1U}) {
        const Result<void> opened = open_without({1 - away});
        ASSERT_TRUE(opened.ok()) << away << ": " << opened.error().message();
        static_cast<void>(simulator_.run(pool_->scrub({})));
        static_cast<void>(read(db_));
        EXPECT_FALSE(pool_->damage().empty());
        close();
        ASSERT_TRUE(open({0, 1}).ok());
        EXPECT_FALSE(pool_->damage().empty());
        const Result<ScrubReport> report = simulator_.run(pool_->scrub({}));
        ASSERT_TRUE(report.ok()) << report.error().message();
        EXPECT_EQ(report->blocks_damaged, 0U);
        EXPECT_TRUE(pool_->damage().empty());
        expect_all_right();
        close();
        expect_clean({0, 1});
    }
}

TEST_F(MissingDeviceTest, what_is_lost_on_a_returning_device_becomes_damage) {
    prepare(2);
    ASSERT_TRUE(open_without({0}).ok());
    use_without();
    close();
    // One data block of the device that is away changes behind the pool's back.
    ASSERT_TRUE(open({0, 1}).ok());
    Result<BlockExplanation> where = simulator_.run(pool_->explain(monday_, 50 * 4096));
    for (uint64_t block = 51; where->device != "disk1"; ++block) {
        ASSERT_LT(block, kBlocks);
        where = simulator_.run(pool_->explain(monday_, block * 4096));
    }
    close();
    ASSERT_TRUE(open_without({0}).ok());
    close();
    images_[1].flip_bit(where->device_offset_bytes + 7, 3);
    ASSERT_TRUE(open({0, 1}).ok());
    const Result<ScrubReport> report = simulator_.run(pool_->scrub({}));
    ASSERT_TRUE(report.ok());
    EXPECT_EQ(report->blocks_damaged, 1U);
    EXPECT_EQ(pool_->damage().size(), 1U);
    close();
}

TEST_F(MissingDeviceTest, not_opened_while_the_device_was_away_is_nothing_special) {
    prepare(2);
    ASSERT_FALSE(open({0}).ok());
    ASSERT_TRUE(open({0, 1}).ok());
    const uint64_t generation = pool_->info().generation;
    expect_all_right();
    close();
    OpenOptions look;
    look.read_only = true;
    look.accept_missing_devices = true;
    ASSERT_TRUE(open({1}, look).ok());
    static_cast<void>(read(db_));
    close();
    ASSERT_TRUE(open({0, 1}).ok());
    EXPECT_LE(pool_->info().generation, generation + 2);  // a close, an open: no resynchronization
    close();
    expect_clean({0, 1});
}

TEST_F(MissingDeviceTest, a_pool_opened_read_only_reads_the_returning_device_and_leaves_it) {
    prepare(2);
    ASSERT_TRUE(open_without({0}).ok());
    write(db_, 0, 40, 120);
    close();
    const uint64_t before = images_[1].hash();
    OpenOptions look;
    look.read_only = true;
    ASSERT_TRUE(open({0, 1}, look).ok());
    EXPECT_TRUE(pool_->info().devices[1].missing);
    expect_all_right();
    close();
    EXPECT_EQ(images_[1].hash(), before);
}

// Away or back, at every write of it: what was flushed is there.
TEST_F(MissingDeviceTest, a_crash_anywhere_while_it_returns_leaves_it_to_the_next_open) {
    prepare(2);
    ASSERT_TRUE(open_without({0}).ok());
    use_without();
    lose_power();  // the journal is replayed, too
    const std::vector<Image> start = images_;
    const auto expected = expected_;
    uint64_t steps = 0;
    for (const CrashKeep keep : {CrashKeep::none, CrashKeep::all, CrashKeep::random}) {
        keep_ = keep;
        for (crash_at_ = 1;; ++crash_at_) {
            images_ = start;
            const Result<void> opened = open({0, 1});
            const uint64_t at = std::exchange(crash_at_, 0);
            if (opened.ok()) {
                lose_power();
                steps = at;
                break;
            }
            ASSERT_TRUE(crashed_) << opened.error().message();
            // The survivor goes on alone, or both, or both after a second crash.
            const std::vector<Image> crashed = images_;
            for (const bool alone : {false, true}) {
                images_ = crashed;
                expected_ = expected;
                if (alone) {
                    const Result<void> degraded = open_without({0});
                    ASSERT_TRUE(degraded.ok()) << at << ": " << degraded.error().message();
                    write(make_volume("alone"), 0, 20, 33);
                    close();
                }
                const Result<void> again = open({0, 1});
                ASSERT_TRUE(again.ok()) << "step " << at << ": " << again.error().message();
                EXPECT_FALSE(pool_->info().devices[1].missing);
                expect_all_right();
                close();
                expect_clean({0, 1});
                if (::testing::Test::HasFailure()) FAIL() << "step " << at;
            }
            crash_at_ = at;
        }
    }
    EXPECT_GT(steps, 40U);
}

TEST_F(MissingDeviceTest, a_device_that_was_used_without_the_others_is_refused) {
    prepare(2);
    const std::vector<Image> start = images_;
    ASSERT_TRUE(open_without({0}).ok());
    write(db_, 0, 40, 120);
    close();
    const Image first = images_[0];
    images_ = start;
    // The other half, longer used: of a newer generation and incarnation.
    for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(open_without({1}).ok());
        static_cast<void>(make_volume(fmt::format("other{}", i)));
        close();
    }
    images_[0] = first;
    const Result<void> opened = open({0, 1});
    ASSERT_FALSE(opened.ok());
    EXPECT_EQ(opened.error().code(), ErrorCode::invalid_argument);
    EXPECT_NE(opened.error().message().find("disk1"), std::string::npos);
    EXPECT_NE(opened.error().message().find("two histories"), std::string::npos);
    const fsck::Report report = check({0, 1});
    EXPECT_NE(report.problem_count, 0U);
    // Either alone is a pool.
    ASSERT_TRUE(open_without({0}).ok());
    close();
}

// The device has a superblock that the others lack: power was lost while it was written.
TEST_F(MissingDeviceTest, a_newer_superblock_on_the_stale_device_does_not_count) {
    prepare(2);
    const std::vector<Image> closed = images_;
    ASSERT_TRUE(open({0, 1}).ok());
    for (int i = 0; i < 6; ++i) EXPECT_TRUE(simulator_.run(pool_->checkpoint()).ok());
    lose_power();
    // As if only device 1 had got these.
    images_[0] = closed[0];
    ASSERT_TRUE(open_without({0}).ok());
    const Uuid fresh = make_volume("fresh");
    write(fresh, 0, 10, 5);
    close();
    const Result<void> opened = open({0, 1});
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    EXPECT_FALSE(pool_->info().read_only) << pool_->info().read_only_reason;
    EXPECT_TRUE(pool_->volume(fresh).ok());
    close();
    expect_clean({0, 1});
}

TEST_F(MissingDeviceTest, older_foreign_duplicated_and_shrunk_devices_are_refused_by_name) {
    prepare(2);
    const std::vector<Image> old = images_;
    for (int i = 0; i < 4; ++i) {
        ASSERT_TRUE(open({0, 1}).ok());
        write(db_, 0, 20, i);
        close();
    }
    const std::vector<Image> now = images_;
    const auto expect_refused = [this](const std::vector<size_t>& which, const std::string& why) {
        const Result<void> opened = open_without(which);
        ASSERT_FALSE(opened.ok()) << why;
        EXPECT_EQ(opened.error().code(), ErrorCode::invalid_argument);
        EXPECT_NE(opened.error().message().find(why), std::string::npos)
            << opened.error().message();
    };
    images_[1] = old[1];
    expect_refused({0, 1}, "device disk1 is older");
    images_ = {now[0], old[0]};
    expect_refused({0, 1}, "both claim to be device 0");
    images_ = now;
    images_[1].resize(8 * kMiB);
    expect_refused({0, 1}, "bytes shorter than the pool needs it");
    images_.clear();
    expected_.clear();
    prepare(2);
    images_[1] = now[1];
    expect_refused({0, 1}, "device disk1 belongs to pool");
    // Out of the way it is resynchronized as any other, and what it lost is damage.
    images_ = {now[0], old[1]};
    ASSERT_TRUE(open_without({0}).ok());
    close();
    ASSERT_TRUE(open({0, 1}).ok());
    EXPECT_TRUE(simulator_.run(pool_->scrub({})).ok());
    close();
}

TEST_F(MissingDeviceTest, nothing_opens_without_the_devices_that_hold_the_journal) {
    prepare(3);
    const Result<void> opened = open_without({2});
    ASSERT_FALSE(opened.ok());
    EXPECT_NE(opened.error().message().find("journal"), std::string::npos)
        << opened.error().message();
}

// Of three devices, in turn, with crashes instead of closes.
TEST_F(MissingDeviceTest, devices_go_and_return_in_turn) {
    prepare(3);
    for (int round = 0; round < 12; ++round) {
        const auto away = static_cast<size_t>(round % 3);
        std::vector<size_t> rest = everything();
        std::erase(rest, away);
        ASSERT_TRUE(open_without(rest).ok());
        write(db_, static_cast<uint64_t>(round) * 10, 120, round * 13);
        const Uuid volume = make_volume(fmt::format("v{}", round));
        EXPECT_EQ(write(volume, 0, 100, round), 100U);
        if (round % 2 == 0) {
            EXPECT_TRUE(simulator_.run(pool_->delete_volume(volume)).ok());
            expected_.erase(volume);
            static_cast<void>(simulator_.run(pool_->settle()));
        }
        expect_space_adds_up();
        if (round % 3 != 0) close();
        else lose_power();
        const Result<void> opened = open(everything());
        ASSERT_TRUE(opened.ok()) << round << ": " << opened.error().message();
        expect_all_right();
        expect_space_adds_up();
        settle();
        if (round % 4 != 0) close();
        else lose_power();
        expect_clean(everything());
        if (::testing::Test::HasFailure()) FAIL() << "round " << round;
    }
}

}  // namespace
}  // namespace stoa::pool
