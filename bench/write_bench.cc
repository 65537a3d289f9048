// The latency of writes over many checkpoints: what a guest feels of the engine's own work.
// Goals and results: docs/performance.md.
#include "bench/fixture.h"

namespace stoa::bench {
namespace {

constexpr uint64_t kVolumeBytes = 4 * kGiB;
constexpr uint64_t kDurationNs = 10'000'000'000;

void BM_random_write_latency(benchmark::State& state) {
    Fixture fixture(12 * kGiB);
    const Guest guest = fixture.add("volume", kVolumeBytes);
    fixture.fill(guest, kVolumeBytes);
    Load load;
    load.volume = guest.volume;
    load.blocks = kVolumeBytes / kBlock;
    const auto depth = static_cast<size_t>(state.range(0));
    const pool::Counters before = fixture.pool().counters();
    for (auto _ : state) {
        fixture.run(
            run_beside(fixture.reactor(), load, depth, wait_ns(fixture.reactor(), kDurationNs)));
    }
    const pool::Counters after = fixture.pool().counters();
    report(state, "write", load.writes);
    state.counters["write_p999_us"] = load.writes.wall.quantile_us(0.999);
    state.counters["write_p999_cpu_us"] = load.writes.cpu.quantile_us(0.999);
    state.counters["write_p9999_us"] = load.writes.wall.quantile_us(0.9999);
    state.counters["write_p9999_cpu_us"] = load.writes.cpu.quantile_us(0.9999);
    state.counters["checkpoints"] = static_cast<double>(after.checkpoints - before.checkpoints);
    state.counters["commits"] = static_cast<double>(after.commits - before.commits);
}
BENCHMARK(BM_random_write_latency)
    ->ArgName("depth")
    ->Arg(1)
    ->Arg(32)
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace stoa::bench

BENCHMARK_MAIN();
