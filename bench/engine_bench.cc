// The engine alone: user CPU of the reactor thread with a device in memory.
//
// Figures include the amortized commits, checkpoints, checksums and zero tests. Run by
// `make bench`; goals and results: docs/performance.md.
#include "bench/fixture.h"

namespace stoa::bench {
namespace {

struct Batch {
    Random random;
    uint64_t blocks = 0;
    uint64_t operations = 0;
    bool writes = false;
};

io::Task<void> worker(block::Volume& volume, Batch& batch) {
    AlignedBuffer buffer(4096);
    std::ranges::fill(buffer.bytes(), std::byte{5});
    while (batch.operations > 0) {
        --batch.operations;
        const uint64_t offset = batch.random.below(batch.blocks) * 4096;
        if (batch.writes) {
            store_le(buffer.data(), offset + batch.operations);
            must(co_await volume.write(offset, buffer.bytes(), {}));
        } else {
            must(co_await volume.read(offset, buffer.bytes()));
        }
    }
}

io::Task<void> run_workers(io::Executor& executor, block::Volume& volume, Batch& batch,
                           size_t depth) {
    io::TaskGroup group(executor);
    for (size_t i = 0; i < depth; ++i) group.spawn(worker(volume, batch));
    co_await group.join();
}

void random_4k(benchmark::State& state, bool writes) {
    Fixture fixture(12 * kGiB);
    const Guest guest = fixture.add("volume", 4 * kGiB);
    fixture.fill(guest, 4 * kGiB);
    Batch batch;
    batch.blocks = 4 * kGiB / 4096;
    batch.writes = writes;
    constexpr uint64_t kBatch = 200'000;
    for (auto _ : state) {
        batch.operations = kBatch;
        fixture.reactor().run(run_workers(fixture.reactor(), *guest.volume, batch, 32));
    }
    const auto total = static_cast<double>(state.iterations()) * static_cast<double>(kBatch);
    state.counters["us_per_io"] =
        benchmark::Counter(total / 1e6, benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
    const pool::Counters counters = fixture.pool().counters();
    state.counters["checkpoints"] = static_cast<double>(counters.checkpoints);
    state.counters["node_writes"] = static_cast<double>(counters.node_writes);
}

void BM_random_write_4k(benchmark::State& state) { random_4k(state, true); }
void BM_random_read_4k(benchmark::State& state) { random_4k(state, false); }
BENCHMARK(BM_random_write_4k)->Unit(benchmark::kMillisecond)->Iterations(10);
BENCHMARK(BM_random_read_4k)->Unit(benchmark::kMillisecond)->Iterations(10);

}  // namespace
}  // namespace stoa::bench

BENCHMARK_MAIN();
