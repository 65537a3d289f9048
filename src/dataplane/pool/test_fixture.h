// For tests of a pool seen from outside: one pool on one simulated disk.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/io/sim/disk.h"
#include "dataplane/io/sim/shared_memory.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/pool/pool.h"

namespace stoa::pool {

inline constexpr uint64_t kMiB = uint64_t{1} << 20;

inline std::vector<std::byte> filled(size_t bytes, int value) {
    std::vector<std::byte> data(bytes);
    for (size_t i = 0; i < bytes; ++i) {
        data[i] = static_cast<std::byte>(static_cast<size_t>(value) + i / 512);
    }
    return data;
}

class PoolTest : public ::testing::Test {
protected:
    PoolTest() : simulator_(7) { fresh_disk(io::sim::Medium(io::sim::Image(24 * kMiB))); }
    ~PoolTest() override {
        if (pool_) static_cast<void>(simulator_.run(pool_->close()));
    }

    void fresh_disk(io::sim::Medium medium) {
        io::sim::DiskOptions options;
        options.seed = ++seed_;
        disk_ = std::make_unique<io::sim::Disk>(simulator_, options, std::move(medium));
    }
    void create() {
        CreateOptions options;
        options.name = "fast";
        options.region_blocks = 64;
        options.journal_blocks = 64;
        const Result<void> made = simulator_.run(Pool::create(simulator_, {disk_.get()}, options));
        ASSERT_TRUE(made.ok()) << made.error().message();
        open();
    }
    void open(bool accept_damaged = false) {
        OpenOptions options;
        options.cache_bytes = kMiB;
        options.accept_damaged = accept_damaged;
        options.events = [](const std::string& text) { GTEST_LOG_(INFO) << text; };
        Result<std::unique_ptr<Pool>> opened =
            simulator_.run(Pool::open(simulator_, {disk_.get()}, options));
        ASSERT_TRUE(opened.ok()) << opened.error().message();
        pool_ = *std::move(opened);
    }
    void close() {
        const Result<void> closed = simulator_.run(pool_->close());
        EXPECT_TRUE(closed.ok()) << closed.error().message();
        pool_.reset();
    }
    // Loses power: what was not flushed is gone.
    void lose_power() {
        io::sim::Image image = disk_->crash_image({});
        disk_->kill();
        static_cast<void>(simulator_.run(pool_->close()));
        pool_.reset();
        fresh_disk(io::sim::Medium(std::move(image)));
        open();
    }
    Uuid make_volume(const std::string& name, uint64_t bytes = 4 * kMiB) {
        VolumeSpec spec;
        spec.name = name;
        spec.size_bytes = bytes;
        Result<Uuid> made = simulator_.run(pool_->create_volume(spec));
        EXPECT_TRUE(made.ok()) << made.error().message();
        return *made;
    }
    block::Volume* attach(Uuid id, bool read_only = false) {
        Result<block::Volume*> handle = simulator_.run(pool_->attach(id, read_only));
        EXPECT_TRUE(handle.ok()) << handle.error().message();
        return *handle;
    }
    void write(block::Volume* volume, uint64_t offset, const std::vector<std::byte>& data) {
        const Result<void> done = simulator_.run(volume->write(offset, data, {}));
        EXPECT_TRUE(done.ok()) << done.error().message();
    }
    std::vector<std::byte> read(block::Volume* volume, uint64_t offset, size_t bytes) {
        std::vector<std::byte> data(bytes);
        const Result<void> done = simulator_.run(volume->read(offset, data));
        EXPECT_TRUE(done.ok()) << done.error().message();
        return data;
    }
    Uuid snapshot(Uuid volume, const std::string& name) {
        SnapshotSpec spec;
        spec.volume = volume;
        spec.name = name;
        Result<std::vector<Uuid>> made = simulator_.run(pool_->snapshot({spec}));
        EXPECT_TRUE(made.ok()) << made.error().message();
        return made->front();
    }

    io::sim::Simulator simulator_;
    uint64_t seed_ = 0;
    std::unique_ptr<io::sim::Disk> disk_;
    std::unique_ptr<Pool> pool_;
};

}  // namespace stoa::pool
