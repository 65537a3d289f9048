// The difference of two snapshots: its cost must follow what changed, not how large the volume is.
//
// The changed blocks are spread at random, which is the dear case: with few of them each has a
// path of its own in both trees. Results: docs/performance.md.
#include "bench/fixture.h"

#include <unordered_set>

namespace stoa::bench {
namespace {

constexpr size_t kRangesPerPage = 4096;
constexpr size_t kRepeats = 20;

// `count` distinct blocks anywhere in the first `leaves` leaves get new content.
io::Task<void> change(block::Volume& volume, uint64_t leaves, uint64_t count) {
    Random random;
    std::unordered_set<uint64_t> chosen;
    AlignedBuffer data(kBlock);
    std::ranges::fill(data.bytes(), std::byte{3});
    while (chosen.size() < count) {
        const uint64_t block = random.below(leaves * kLeaf / kBlock);
        if (!chosen.insert(block).second) continue;
        must(co_await volume.write(block * kBlock, data.bytes(), {}));
    }
}

io::Task<uint64_t> count_changed(pool::Pool& pool, Uuid from, Uuid to) {
    uint64_t bytes = 0;
    pool::DiffPage page;
    do {
        page = must(co_await pool.diff(from, to, page.next_offset_bytes, kRangesPerPage));
        for (const pool::DiffRange& range : page.ranges) bytes += range.length_bytes;
    } while (!page.finished);
    co_return bytes / kBlock;
}

void BM_diff(benchmark::State& state) {
    const auto leaves = static_cast<uint64_t>(state.range(0));
    const auto changed = static_cast<uint64_t>(state.range(1));
    Fixture fixture(8 * kGiB);
    const Guest guest = fixture.add("volume", leaves * kLeaf);
    fixture.fill_sparsely(guest, leaves);
    const Uuid from = fixture.snapshot(guest, "from");
    fixture.run(change(*guest.volume, leaves, changed));
    const Uuid to = fixture.snapshot(guest, "to");
    must(fixture.run(fixture.pool().checkpoint()));
    const uint64_t misses = fixture.pool().counters().node_misses;
    Latencies times;
    for (auto _ : state) {
        for (size_t i = 0; i < kRepeats; ++i) {
            const Stopwatch watch;
            const uint64_t found = fixture.run(count_changed(fixture.pool(), from, to));
            watch.record(times);
            if (found != changed) state.SkipWithError("the difference is not what was changed");
        }
    }
    const double blocks = static_cast<double>(changed);
    const auto loaded = static_cast<double>(fixture.pool().counters().node_misses - misses);
    state.counters["diff_us"] = times.wall.quantile_us(0.5);
    state.counters["diff_cpu_us"] = times.cpu.quantile_us(0.5);
    state.counters["cpu_us_per_block"] = times.cpu.quantile_us(0.5) / blocks;
    state.counters["nodes_read_per_block"] = loaded / kRepeats / blocks;
}
// 1 GiB, 10 GiB and 100 GiB, each with one filled block a leaf before the changes.
BENCHMARK(BM_diff)
    ->ArgNames({"leaves", "changed"})
    ->ArgsProduct({{1'024, 10'240, 102'400}, {10, 1'000, 100'000}})
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace stoa::bench

BENCHMARK_MAIN();
