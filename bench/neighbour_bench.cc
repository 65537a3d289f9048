// What a guest feels of deletes and discards in the same pool.
//
// One guest reads and writes random blocks of its own volume in turn, one request at a time, from
// the start of the work until it is done; the manual time is that of the work. The first benchmark
// is the guest alone. Goals and results: docs/performance.md.
#include "bench/fixture.h"

namespace stoa::bench {
namespace {

constexpr uint64_t kNeighbourBytes = kGiB;
constexpr uint64_t kLeaves = 65'536;  // 64 GiB
constexpr size_t kRounds = 3;

enum class Work : uint8_t {
    none,
    delete_filled,
    delete_sparse,
    delete_snapshot,
    discard_filled,
    discard_sparse,
    discard_absent,
};

struct Scene {
    Fixture& fixture;
    Work work;
    Guest guest;  // that the work is done to
    Uuid snapshot;
    uint64_t size_bytes = 0;
    double done_ms = 0;  // on the wall
    double reply_ms = 0;
};

void prepare(Scene& scene) {
    Fixture& fixture = scene.fixture;
    const bool filled = scene.work == Work::delete_filled || scene.work == Work::discard_filled ||
                        scene.work == Work::delete_snapshot;
    if (filled) scene.size_bytes = 4 * kGiB;
    else if (scene.work == Work::discard_absent) scene.size_bytes = 16384 * kGiB;
    else scene.size_bytes = kLeaves * kLeaf;
    scene.guest = fixture.add("volume", scene.size_bytes);
    if (filled) fixture.fill(scene.guest, scene.size_bytes);
    else if (scene.work != Work::discard_absent && scene.work != Work::none) {
        fixture.fill_sparsely(scene.guest, kLeaves);
    }
    if (scene.work == Work::delete_snapshot) {
        // The volume is written anew, so that all the snapshot holds is its own.
        scene.snapshot = fixture.snapshot(scene.guest, "old");
        fixture.fill(scene.guest, scene.size_bytes);
    }
    if (scene.work == Work::delete_filled || scene.work == Work::delete_sparse) {
        fixture.run(fixture.pool().detach(scene.guest.volume));
    }
}

io::Task<void> do_work(Scene& scene) {
    pool::Pool& pool = scene.fixture.pool();
    const Stopwatch watch;
    switch (scene.work) {
        case Work::none: co_await scene.fixture.reactor().sleep_ns(1'000'000'000); break;
        case Work::delete_filled:
        case Work::delete_sparse: must(co_await pool.delete_volume(scene.guest.id)); break;
        case Work::delete_snapshot: must(co_await pool.delete_snapshot(scene.snapshot)); break;
        case Work::discard_filled:
        case Work::discard_sparse:
        case Work::discard_absent:
            must(co_await scene.guest.volume->discard(0, scene.size_bytes));
            must(co_await scene.guest.volume->flush());
            break;
    }
    scene.reply_ms = watch.wall_ms();
    must(co_await pool.settle());
    scene.done_ms = watch.wall_ms();
}

void BM_neighbour(benchmark::State& state, Work work) {
    Load load;
    load.kind = Load::Kind::alternating;
    load.blocks = kNeighbourBytes / kBlock;
    double done_ms = 0;
    double reply_ms = 0;
    for (auto _ : state) {
        Fixture fixture(12 * kGiB);
        const Guest neighbour = fixture.add("neighbour", kNeighbourBytes);
        fixture.fill(neighbour, kNeighbourBytes);
        Scene scene{.fixture = fixture, .work = work, .guest = {}, .snapshot = {}};
        prepare(scene);
        load.volume = neighbour.volume;
        fixture.run(run_beside(fixture.reactor(), load, 1, do_work(scene)));
        state.SetIterationTime(scene.done_ms / 1e3);
        done_ms += scene.done_ms / kRounds;
        reply_ms += scene.reply_ms / kRounds;
    }
    state.counters["done_ms"] = done_ms;
    state.counters["reply_ms"] = reply_ms;
    report(state, "read", load.reads);
    report(state, "write", load.writes);
}
#define STOA_NEIGHBOUR(work)                          \
    BENCHMARK_CAPTURE(BM_neighbour, work, Work::work) \
        ->Iterations(kRounds)                         \
        ->UseManualTime()                             \
        ->Unit(benchmark::kMillisecond)
STOA_NEIGHBOUR(none);
STOA_NEIGHBOUR(delete_filled);
STOA_NEIGHBOUR(delete_sparse);
STOA_NEIGHBOUR(delete_snapshot);
STOA_NEIGHBOUR(discard_filled);
STOA_NEIGHBOUR(discard_sparse);
STOA_NEIGHBOUR(discard_absent);

}  // namespace
}  // namespace stoa::bench

BENCHMARK_MAIN();
