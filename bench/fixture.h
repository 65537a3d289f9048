// What the engine's benchmarks share: a pool on one reactor, volumes filled in known ways, and
// guests that read or write them at random.
//
// The device is memory; with STOA_BENCH_FILE=PATH a new file there (removed afterwards), opened as
// the daemon does.
#pragma once

#include <benchmark/benchmark.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "bench/histogram.h"
#include "dataplane/io/device_file.h"
#include "dataplane/io/memory_device.h"
#include "dataplane/io/reactor.h"
#include "dataplane/io/sync.h"
#include "dataplane/pool/pool.h"

namespace stoa::bench {

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kGiB = uint64_t{1} << 30;
constexpr uint64_t kBlock = 4096;
constexpr uint64_t kLeaf = kMiB;  // what one leaf of the map covers

// A small generator: a benchmark must not measure the random numbers.
class Random {
public:
    explicit Random(uint64_t seed = 88172645463325252ULL) : state_(seed) {}
    uint64_t below(uint64_t bound) {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return static_cast<uint64_t>(static_cast<unsigned __int128>(state_) * bound >> 64);
    }

private:
    uint64_t state_;
};

inline void must(const Result<void>& result) {
    if (result.ok()) return;
    std::fprintf(stderr, "%s\n", result.error().message().c_str());
    std::exit(1);
}

template <class T>
T must(Result<T> result) {
    if (!result.ok()) must(Result<void>(result.take_error()));
    return *std::move(result);
}

// Writes `count` pieces of `bytes` each, `stride_bytes` apart.
struct Fill {
    uint64_t count = 0;
    uint64_t stride_bytes = 0;
    uint64_t bytes = 0;
    uint64_t next = 0;
};

inline io::Task<void> fill_worker(block::Volume& volume, Fill& fill) {
    AlignedBuffer data(fill.bytes);
    std::ranges::fill(data.bytes(), std::byte{7});
    while (fill.next < fill.count) {
        const uint64_t offset = fill.next++ * fill.stride_bytes;
        must(co_await volume.write(offset, data.bytes(), {}));
    }
}

inline io::Task<void> fill_all(io::Executor& executor, block::Volume& volume, Fill fill) {
    io::TaskGroup group(executor);
    for (size_t i = 0; i < 16; ++i) group.spawn(fill_worker(volume, fill));
    co_await group.join();
    must(co_await volume.flush());
}

struct Guest {
    Uuid id;
    block::Volume* volume = nullptr;
};

// A pool of its own, created in the constructor and closed in the destructor.
class Fixture {
public:
    explicit Fixture(uint64_t device_bytes) : reactor_(must(io::Reactor::create())) {
        if (const char* path = std::getenv("STOA_BENCH_FILE"); path != nullptr) {
            io::DeviceFileOptions options;
            options.create = true;
            options.size_bytes = device_bytes;
            path_ = path;
            device_ = must(io::open_device(*reactor_, path_, options));
        } else {
            device_ =
                must(io::MemoryDevice::create(*reactor_, "memory", {.size_bytes = device_bytes}));
        }
        pool::CreateOptions create;
        create.name = "bench";
        must(run(pool::Pool::create(*reactor_, {device_.get()}, create)));
        pool_ = must(run(pool::Pool::open(*reactor_, {device_.get()}, {})));
    }
    Fixture(const Fixture&) = delete;
    Fixture& operator=(const Fixture&) = delete;
    ~Fixture() {
        must(run(pool_->close()));
        if (!path_.empty()) unlink(path_.c_str());
    }

    template <class T>
    T run(io::Task<T> task) {
        return reactor_->run(std::move(task));
    }
    Guest add(std::string name, uint64_t size_bytes) {
        pool::VolumeSpec spec;
        spec.name = std::move(name);
        spec.size_bytes = size_bytes;
        Guest guest;
        guest.id = must(run(pool_->create_volume(spec)));
        guest.volume = must(run(pool_->attach(guest.id, false)));
        return guest;
    }
    // Every block, from the start on; in the end all is in a checkpoint.
    void fill(const Guest& guest, uint64_t bytes) {
        run(fill_all(*reactor_, *guest.volume, {bytes / kMiB, kMiB, kMiB}));
        must(run(pool_->checkpoint()));
    }
    // The first block of each of the first `leaves` leaves: a large map over little data.
    void fill_sparsely(const Guest& guest, uint64_t leaves) {
        run(fill_all(*reactor_, *guest.volume, {leaves, kLeaf, kBlock}));
        must(run(pool_->checkpoint()));
    }
    Uuid snapshot(const Guest& guest, std::string name) {
        pool::SnapshotSpec spec;
        spec.volume = guest.id;
        spec.name = std::move(name);
        return must(run(pool_->snapshot({spec}))).front();
    }
    [[nodiscard]] io::Reactor& reactor() { return *reactor_; }
    [[nodiscard]] pool::Pool& pool() { return *pool_; }

private:
    std::unique_ptr<io::Reactor> reactor_;
    std::string path_;
    std::unique_ptr<io::Device> device_;
    std::unique_ptr<pool::Pool> pool_;
};

// Guests at random 4k blocks until told to stop.
struct Load {
    enum class Kind : uint8_t { writes, alternating };

    block::Volume* volume = nullptr;
    uint64_t blocks = 0;
    Kind kind = Kind::writes;
    bool stop = false;
    Random random;
    uint64_t operations = 0;
    Latencies reads;
    Latencies writes;
};

inline io::Task<void> load_worker(Load& load) {
    AlignedBuffer buffer(kBlock);
    std::ranges::fill(buffer.bytes(), std::byte{5});
    while (!load.stop) {
        const uint64_t offset = load.random.below(load.blocks) * kBlock;
        const bool read = load.kind == Load::Kind::alternating && load.operations % 2 == 0;
        ++load.operations;
        const Stopwatch watch;
        if (read) {
            must(co_await load.volume->read(offset, buffer.bytes()));
            watch.record(load.reads);
        } else {
            store_le(buffer.data(), load.operations);
            must(co_await load.volume->write(offset, buffer.bytes(), {}));
            watch.record(load.writes);
        }
    }
}

inline io::Task<void> stop_after(io::Task<void> work, Load& load) {
    co_await std::move(work);
    load.stop = true;
}

// Runs `work`, and `depth` guests beside it until it ends.
inline io::Task<void> run_beside(io::Executor& executor, Load& load, size_t depth,
                                 io::Task<void> work) {
    load.stop = false;
    io::TaskGroup group(executor);
    for (size_t i = 0; i < depth; ++i) group.spawn(load_worker(load));
    group.spawn(stop_after(std::move(work), load));
    co_await group.join();
}

inline io::Task<void> wait_ns(io::Executor& executor, uint64_t duration_ns) {
    co_await executor.sleep_ns(duration_ns);
}

// NAME_p50_us, NAME_p99_us, NAME_max_us on the wall, NAME_p99_cpu_us and NAME_max_cpu_us without
// what other processes took.
inline void report(benchmark::State& state, const std::string& name, const Latencies& latencies) {
    state.counters[name + "_n"] = static_cast<double>(latencies.wall.count());
    state.counters[name + "_p50_us"] = latencies.wall.quantile_us(0.5);
    state.counters[name + "_p99_us"] = latencies.wall.quantile_us(0.99);
    state.counters[name + "_max_us"] = latencies.wall.max_us();
    state.counters[name + "_p99_cpu_us"] = latencies.cpu.quantile_us(0.99);
    state.counters[name + "_max_cpu_us"] = latencies.cpu.max_us();
}

}  // namespace stoa::bench
