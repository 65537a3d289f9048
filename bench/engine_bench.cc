// The engine alone: user CPU of the reactor thread with a device in memory.
//
// Figures include the amortized commits, checkpoints, checksums and zero tests. Run by
// `make bench`; goals and results: docs/performance.md.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "dataplane/io/memory_device.h"
#include "dataplane/io/reactor.h"
#include "dataplane/io/sync.h"
#include "dataplane/pool/pool.h"

namespace stoa::pool {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;
constexpr uint64_t kMiB = uint64_t{1} << 20;

// A small generator: the benchmark must not measure the random numbers.
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed) {}
    uint64_t below(uint64_t bound) {
        state_ ^= state_ << 13;
        state_ ^= state_ >> 7;
        state_ ^= state_ << 17;
        return static_cast<uint64_t>(static_cast<unsigned __int128>(state_) * bound >> 64);
    }

private:
    uint64_t state_;
};

void must(const Result<void>& result) {
    if (result.ok()) return;
    std::fprintf(stderr, "%s\n", result.error().message().c_str());
    std::exit(1);
}

template <class T>
T must(Result<T> result) {
    if (!result.ok()) {
        std::fprintf(stderr, "%s\n", result.error().message().c_str());
        std::exit(1);
    }
    return *std::move(result);
}

class Fixture {
public:
    Fixture(uint64_t device_bytes, uint64_t volume_bytes)
        : reactor_(must(io::Reactor::create())),
          device_(
              must(io::MemoryDevice::create(*reactor_, "memory", {.size_bytes = device_bytes}))) {
        CreateOptions create;
        create.name = "bench";
        must(reactor_->run(Pool::create(*reactor_, {device_.get()}, create)));
        OpenOptions options;
        pool = must(reactor_->run(Pool::open(*reactor_, {device_.get()}, options)));
        VolumeSpec spec;
        spec.name = "volume";
        spec.size_bytes = volume_bytes;
        id = must(reactor_->run(pool->create_volume(spec)));
        volume = must(reactor_->run(pool->attach(id, false)));
    }
    Fixture(const Fixture&) = delete;
    Fixture& operator=(const Fixture&) = delete;
    ~Fixture() { must(reactor_->run(pool->close())); }

    void fill(uint64_t bytes) {
        std::vector<std::byte> data(kMiB, std::byte{7});
        for (uint64_t at = 0; at < bytes; at += data.size()) {
            must(reactor_->run(volume->write(at, data, {})));
        }
        must(reactor_->run(volume->flush()));
    }
    io::Reactor& reactor() { return *reactor_; }

private:
    std::unique_ptr<io::Reactor> reactor_;
    std::unique_ptr<io::MemoryDevice> device_;

public:
    std::unique_ptr<Pool> pool;
    Uuid id;
    block::Volume* volume = nullptr;
};

struct Load {
    Random random{88172645463325252ULL};
    uint64_t blocks = 0;
    uint64_t operations = 0;
    bool writes = false;
};

io::Task<void> worker(block::Volume& volume, Load& load) {
    AlignedBuffer buffer(4096);
    std::ranges::fill(buffer.bytes(), std::byte{5});
    while (load.operations > 0) {
        --load.operations;
        const uint64_t offset = load.random.below(load.blocks) * 4096;
        if (load.writes) {
            store_le(buffer.data(), offset + load.operations);
            must(co_await volume.write(offset, buffer.bytes(), {}));
        } else {
            must(co_await volume.read(offset, buffer.bytes()));
        }
    }
}

io::Task<void> run_workers(io::Executor& executor, block::Volume& volume, Load& load,
                           size_t depth) {
    io::TaskGroup group(executor);
    for (size_t i = 0; i < depth; ++i) group.spawn(worker(volume, load));
    co_await group.join();
}

void random_4k(benchmark::State& state, bool writes) {
    Fixture fixture(12 * kGiB, 4 * kGiB);
    fixture.fill(4 * kGiB);
    Load load;
    load.blocks = 4 * kGiB / 4096;
    load.writes = writes;
    constexpr uint64_t kBatch = 200'000;
    for (auto _ : state) {
        load.operations = kBatch;
        fixture.reactor().run(run_workers(fixture.reactor(), *fixture.volume, load, 32));
    }
    const auto total = static_cast<double>(state.iterations()) * static_cast<double>(kBatch);
    state.counters["us_per_io"] =
        benchmark::Counter(total / 1e6, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    const Counters counters = fixture.pool->counters();
    state.counters["checkpoints"] = static_cast<double>(counters.checkpoints);
    state.counters["node_writes"] = static_cast<double>(counters.node_writes);
}

void BM_random_write_4k(benchmark::State& state) { random_4k(state, true); }
void BM_random_read_4k(benchmark::State& state) { random_4k(state, false); }
BENCHMARK(BM_random_write_4k)->Unit(benchmark::kMillisecond)->Iterations(10);
BENCHMARK(BM_random_read_4k)->Unit(benchmark::kMillisecond)->Iterations(10);

// One non-zero block in each of 102,400 leaves: the map is large, the data small.
void BM_snapshot_and_clone_100GiB_map(benchmark::State& state) {
    Fixture fixture(4 * kGiB, 100 * kGiB);
    AlignedBuffer block(4096);
    std::ranges::fill(block.bytes(), std::byte{9});
    for (uint64_t leaf = 0; leaf < 102'400; ++leaf) {
        must(fixture.reactor().run(fixture.volume->write(leaf * kMiB, block.bytes(), {})));
    }
    must(fixture.reactor().run(fixture.pool->checkpoint()));
    std::vector<double> times_ms;
    uint64_t n = 0;
    for (auto _ : state) {
        const uint64_t start = fixture.reactor().now_ns();
        SnapshotSpec spec;
        spec.volume = fixture.id;
        spec.name = "s" + std::to_string(n);
        const std::vector<Uuid> made = must(fixture.reactor().run(fixture.pool->snapshot({spec})));
        VolumeSpec clone;
        clone.name = "c" + std::to_string(n++);
        must(fixture.reactor().run(fixture.pool->clone(made[0], clone)));
        times_ms.push_back(static_cast<double>(fixture.reactor().now_ns() - start) / 1e6);
    }
    std::ranges::sort(times_ms);
    state.counters["median_ms"] = times_ms[times_ms.size() / 2];
    state.counters["p99_ms"] = times_ms[times_ms.size() * 99 / 100];
}
BENCHMARK(BM_snapshot_and_clone_100GiB_map)->Iterations(200)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace stoa::pool

BENCHMARK_MAIN();
