// Snapshot and clone of a large map: idle, and while a guest writes at random.
//
// A snapshot is durable when it resolves, so the flush is in the figure. Goals and results:
// docs/performance.md.
#include "bench/fixture.h"

namespace stoa::bench {
namespace {

constexpr uint64_t kLeaves = 102'400;
constexpr size_t kDepth = 32;
constexpr uint64_t kPauseNs = 10'000'000;

struct Rounds {
    size_t count = 0;
    uint64_t pause_ns = 0;
    Latencies snapshots;
    Latencies clones;
    Latencies both;
};

io::Task<void> take(Fixture& fixture, Uuid volume, Rounds& rounds) {
    for (size_t i = 0; i < rounds.count; ++i) {
        if (rounds.pause_ns > 0) co_await fixture.reactor().sleep_ns(rounds.pause_ns);
        pool::SnapshotSpec spec;
        spec.volume = volume;
        spec.name = "s" + std::to_string(i);
        pool::VolumeSpec clone;
        clone.name = "c" + std::to_string(i);
        const Stopwatch both;
        const std::vector<Uuid> made = must(co_await fixture.pool().snapshot({spec}));
        both.record(rounds.snapshots);
        const Stopwatch second;
        must(co_await fixture.pool().clone(made[0], clone));
        second.record(rounds.clones);
        both.record(rounds.both);
    }
}

void report_rounds(benchmark::State& state, Fixture& fixture, const Rounds& rounds) {
    report(state, "both", rounds.both);
    report(state, "snapshot", rounds.snapshots);
    report(state, "clone", rounds.clones);
    state.counters["checkpoints"] = static_cast<double>(fixture.pool().counters().checkpoints);
}

void BM_idle(benchmark::State& state) {
    Fixture fixture(12 * kGiB);
    const Guest guest = fixture.add("volume", kLeaves * kLeaf);
    fixture.fill_sparsely(guest, kLeaves);
    Rounds rounds;
    rounds.count = 200;
    for (auto _ : state) fixture.run(take(fixture, guest.id, rounds));
    report_rounds(state, fixture, rounds);
}
BENCHMARK(BM_idle)->Iterations(1)->Unit(benchmark::kMillisecond);

// The writes go to a filled volume beside the one that is copied.
void BM_beside_writes(benchmark::State& state) {
    Fixture fixture(12 * kGiB);
    const Guest guest = fixture.add("volume", kLeaves * kLeaf);
    fixture.fill_sparsely(guest, kLeaves);
    const Guest busy = fixture.add("busy", 2 * kGiB);
    fixture.fill(busy, 2 * kGiB);
    Load load;
    load.volume = busy.volume;
    load.blocks = 2 * kGiB / kBlock;
    Rounds rounds;
    rounds.count = 200;
    rounds.pause_ns = kPauseNs;
    for (auto _ : state) {
        fixture.run(run_beside(fixture.reactor(), load, kDepth, take(fixture, guest.id, rounds)));
    }
    report_rounds(state, fixture, rounds);
    report(state, "write", load.writes);
}
BENCHMARK(BM_beside_writes)->Iterations(1)->Unit(benchmark::kMillisecond);

// The writes go to the very volume, all over its map: after each snapshot its nodes are copied
// again, and the map is larger than the cache.
void BM_of_written_volume(benchmark::State& state) {
    Fixture fixture(16 * kGiB);
    const Guest guest = fixture.add("volume", kLeaves * kLeaf);
    fixture.fill_sparsely(guest, kLeaves);
    Load load;
    load.volume = guest.volume;
    load.blocks = kLeaves * kLeaf / kBlock;
    Rounds rounds;
    rounds.count = 200;
    rounds.pause_ns = kPauseNs;
    for (auto _ : state) {
        fixture.run(run_beside(fixture.reactor(), load, kDepth, take(fixture, guest.id, rounds)));
    }
    report_rounds(state, fixture, rounds);
    report(state, "write", load.writes);
}
BENCHMARK(BM_of_written_volume)->Iterations(1)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace stoa::bench

BENCHMARK_MAIN();
