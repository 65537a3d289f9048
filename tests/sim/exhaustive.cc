#include "tests/sim/exhaustive.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

namespace stoa::simtest {

namespace {

constexpr uint64_t kBlocks = 3;
constexpr uint64_t kBlock = kSectorsPerBlock;  // in sectors

// The two volumes are the two oldest ones; what an operation needs and does not find makes it
// nothing.
Uuid volume_at(Actions& actions, size_t index) {
    const std::vector<Uuid> volumes = actions.model().volumes();
    return index < volumes.size() ? volumes[index] : Uuid{};
}

Uuid snapshot_at(Actions& actions, bool newest) {
    const std::vector<Uuid> snapshots = actions.model().snapshots();
    if (snapshots.empty()) return {};
    return newest ? snapshots.back() : snapshots.front();
}

struct Letter {
    const char* name;
    void (*run)(Actions& actions, Uuid a, Uuid b);
};

void delete_snapshot(Actions& actions, bool newest) {
    const Uuid snapshot = snapshot_at(actions, newest);
    if (!snapshot.is_nil()) actions.remove_snapshot(snapshot);
}

void roll_back(Actions& actions) {
    const Uuid snapshot = snapshot_at(actions, false);
    if (snapshot.is_nil()) return;
    const Uuid volume = actions.model().trees().at(snapshot).volume;
    if (actions.model().find(volume) != nullptr) actions.roll_back(volume, snapshot);
}

constexpr std::array kAlphabet{
    Letter{"write A0", [](Actions& x, Uuid a, Uuid) { x.run_write(a, 0, kBlock); }},
    Letter{"write A0-2", [](Actions& x, Uuid a, Uuid) { x.run_write(a, 0, kBlocks * kBlock); }},
    Letter{"write A1 part", [](Actions& x, Uuid a, Uuid) { x.run_write(a, kBlock + 3, 2); }},
    Letter{"write A0|1 part", [](Actions& x, Uuid a, Uuid) { x.run_write(a, kBlock - 2, 4); }},
    Letter{"write A1 fua", [](Actions& x, Uuid a, Uuid) { x.run_write(a, kBlock, kBlock, true); }},
    Letter{"zero write A0",
           [](Actions& x, Uuid a, Uuid) { x.run_write(a, 0, kBlock, false, true); }},
    Letter{"write B0", [](Actions& x, Uuid, Uuid b) { x.run_write(b, 0, kBlock); }},
    Letter{"discard A0-1", [](Actions& x, Uuid a, Uuid) { x.run_discard(a, 0, 2 * kBlock); }},
    Letter{"zeroes A1", [](Actions& x, Uuid a, Uuid) { x.run_write_zeroes(a, kBlock, kBlock); }},
    Letter{"flush", [](Actions& x, Uuid a, Uuid) { x.run_flush(a); }},
    Letter{"snapshot A", [](Actions& x, Uuid a, Uuid) { x.snapshot({a}); }},
    Letter{"snapshot A+B", [](Actions& x, Uuid a, Uuid b) { x.snapshot({a, b}); }},
    Letter{"clone", [](Actions& x, Uuid, Uuid) { x.clone(snapshot_at(x, false)); }},
    Letter{"roll back", [](Actions& x, Uuid, Uuid) { roll_back(x); }},
    Letter{"delete oldest", [](Actions& x, Uuid, Uuid) { delete_snapshot(x, false); }},
    Letter{"delete newest", [](Actions& x, Uuid, Uuid) { delete_snapshot(x, true); }},
    Letter{"delete B", [](Actions& x, Uuid, Uuid b) { x.remove_volume(b); }},
    Letter{"shrink A", [](Actions& x, Uuid a, Uuid) { x.resize(a, kBlockBytes + 1024); }},
    Letter{"grow A", [](Actions& x, Uuid a, Uuid) { x.resize(a, 5 * kBlockBytes); }},
    Letter{"rename A", [](Actions& x, Uuid a, Uuid) { x.rename(a); }},
    Letter{"checkpoint", [](Actions& x, Uuid, Uuid) { x.checkpoint(); }},
    Letter{"settle", [](Actions& x, Uuid, Uuid) { x.settle(); }},
    Letter{"detach A", [](Actions& x, Uuid a, Uuid) { x.detach(a); }},
    Letter{"protect A", [](Actions& x, Uuid a, Uuid) { x.protect(a, true); }},
};
static_assert(kAlphabet.size() <= 24);

void apply(Actions& actions, const Letter& letter) {
    const Uuid a = volume_at(actions, 0);
    const Uuid b = volume_at(actions, 1);
    if (actions.ended() || a.is_nil() || b.is_nil()) return;
    // An operation that would reach beyond a volume that was shrunk is nothing.
    const std::string_view name = letter.name;
    const bool content =
        name.starts_with("write") || name.starts_with("zero") || name.starts_with("discard");
    if (content && actions.model().trees().at(a).size_bytes < kBlocks * kBlockBytes) return;
    if (name == "clone" && snapshot_at(actions, false).is_nil()) return;
    letter.run(actions, a, b);
}

// Both volumes have content, one has a snapshot and is changed since: otherwise most operations
// would be nothing in so short a sequence.
void prepare(Actions& actions, Verdict&) {
    const auto a = actions.create_volume(kBlocks * kBlockBytes);
    const auto b = actions.create_volume(kBlocks * kBlockBytes);
    if (!a || !b) return;
    actions.run_write(*a, 0, 2 * kBlock);
    actions.run_write(*b, 0, kBlock);
    actions.snapshot({*a});
    actions.run_write(*a, kBlock, kBlock);
    actions.checkpoint();
    actions.run_write(*a, 0, 3);
    actions.run_write(*b, kBlock, kBlock);
}

}  // namespace

std::string to_string(const CrashSearchCounts& counts) {
    return fmt::format("{} sequences, {} crash points, {} recoveries, {} distinct images{}",
                       counts.sequences, counts.crash_points, counts.recoveries,
                       counts.distinct_images, counts.out_of_time ? ", stopped by time" : "");
}

ExhaustiveResult run_exhaustive(const ExhaustiveOptions& options) {
    ExhaustiveResult result;
    CrashSearch search({.every = 1,
                        .recovery_samples = options.recovery_samples,
                        .seed = options.seed,
                        .seconds_max = options.seconds_max});
    uint64_t number = 0;
    for (size_t length = 1; length <= options.length; ++length) {
        std::vector<size_t> word(length, 0);
        for (bool more = true; more && !result.verdict.failed() && !search.out_of_time();) {
            if (number++ % options.shards == options.shard) {
                std::string name;
                for (const size_t letter : word) {
                    name += (name.empty() ? "" : ", ") + std::string(kAlphabet[letter].name);
                }
                Sequence sequence{.name = name, .prepare = prepare, .run = {}};
                sequence.run = [&word](Actions& actions, Verdict&) {
                    for (const size_t letter : word) apply(actions, kAlphabet[letter]);
                };
                sequence.world.latency.in_order = true;
                sequence.world.knobs.idle_checkpoint_ns = 1'000'000'000'000;
                search.search(sequence, result.verdict);
                if (result.verdict.failed()) result.failed_sequence = name;
            }
            // The next word.
            more = false;
            for (size_t i = length; i-- > 0 && !more;) {
                if (++word[i] < kAlphabet.size()) more = true;
                else word[i] = 0;
            }
        }
    }
    result.counts = search.counts();
    return result;
}

}  // namespace stoa::simtest
