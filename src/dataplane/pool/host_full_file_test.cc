// A pool in a real sparse file on a real file system that is full: a small tmpfs. What a full host
// does to all else a pool writes: host_full_test.cc, on simulated disks.
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/io/device_file.h"
#include "dataplane/io/reactor.h"
#include "dataplane/io/sync.h"
#include "dataplane/io/test_file_system.h"
#include "dataplane/pool/pool.h"

namespace stoa::pool {
namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kWrites = 10;  // of 1 MiB; four of them do not fit

io::Task<void> fill(block::Volume& volume, uint64_t& done) {
    for (uint64_t i = 0; i < kWrites; ++i) {
        const std::vector<std::byte> data(kMiB, static_cast<std::byte>(i + 1));
        const Result<void> written = co_await volume.write(i * kMiB, data, {});
        EXPECT_TRUE(written.ok()) << written.error().message();
        ++done;
    }
}

io::Task<void> until_host_is_full(io::Reactor& reactor, const Pool& pool) {
    constexpr int kTries = 10'000;
    for (int i = 0; i < kTries && !pool.info().devices[0].host_full; ++i) {
        co_await reactor.sleep_ns(1'000'000);
    }
}

io::Task<void> write_through_a_full_host(io::Reactor& reactor, Pool& pool,
                                         const std::string& ballast) {
    VolumeSpec spec;
    spec.name = "db";
    spec.size_bytes = 16 * kMiB;
    const Result<Uuid> id = co_await pool.create_volume(spec);
    const Result<block::Volume*> volume = co_await pool.attach(*id, false);
    uint64_t done = 0;
    io::TaskGroup group(reactor);
    group.spawn(fill(**volume, done));
    co_await until_host_is_full(reactor, pool);
    EXPECT_TRUE(pool.info().devices[0].host_full);
    EXPECT_LT(done, kWrites);
    EXPECT_FALSE(pool.info().read_only) << pool.info().read_only_reason;
    std::filesystem::remove(ballast);
    co_await group.join();
    EXPECT_TRUE((co_await (*volume)->flush()).ok());
    EXPECT_TRUE((co_await pool.checkpoint()).ok());
    EXPECT_EQ(pool.info().space.bad, 0U);
    EXPECT_TRUE(pool.damage().empty());
    for (uint64_t i = 0; i < kWrites; ++i) {
        std::vector<std::byte> data(kMiB);
        EXPECT_TRUE((co_await (*volume)->read(i * kMiB, data)).ok());
        EXPECT_EQ(data, std::vector<std::byte>(kMiB, static_cast<std::byte>(i + 1)));
    }
}

TEST(HostFullFile, writes_go_on_when_the_file_system_has_space_again) {
    const io::FileDescriptor small = io::detached_file_system("tmpfs", "16m");
    if (!small.is_open()) GTEST_SKIP() << "needs privilege to make a file system";
    const std::string directory = "/proc/self/fd/" + std::to_string(small.get());
    const auto reactor = *io::Reactor::create();
    const auto device =
        *io::open_device(*reactor, directory + "/pool", {.create = true, .size_bytes = 64 * kMiB});
    CreateOptions geometry;
    geometry.name = "fast";
    geometry.region_blocks = 256;
    geometry.journal_blocks = 64;
    ASSERT_TRUE(reactor->run(Pool::create(*reactor, {device.get()}, geometry)).ok());
    const std::string ballast = directory + "/ballast";
    {
        const auto file =
            *io::open_device(*reactor, ballast, {.create = true, .size_bytes = 8 * kMiB});
        struct Write {
            static io::Task<int> zeros(io::Device& to) {
                AlignedBuffer zeros(8 * kMiB);
                std::ranges::fill(zeros.bytes(), std::byte{0});
                co_return co_await to.write(0, zeros.bytes());
            }
        };
        ASSERT_EQ(reactor->run(Write::zeros(*file)), 0);
    }
    auto opened = reactor->run(Pool::open(*reactor, {device.get()}, {}));
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    const std::unique_ptr<Pool> pool = *std::move(opened);
    reactor->run(write_through_a_full_host(*reactor, *pool, ballast));
    EXPECT_TRUE(reactor->run(pool->close()).ok());
}

}  // namespace
}  // namespace stoa::pool
