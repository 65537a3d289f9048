// The whole-system tests: many seeds, the must-have sequences, the exhaustive search.
//
// Environment: STOA_SIM_SEEDS (how many, 2000), STOA_SIM_SEED (the first one, 1),
// STOA_SIM_OPERATIONS (500), STOA_SIM_SHARD=i/n (only seeds and words that are i modulo n),
// STOA_SIM_SECONDS (stop well after these), STOA_SIM_EXHAUSTIVE (length, 2).
// A failing seed prints the command that repeats it.
#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/output.h"
#include "tests/sim/exhaustive.h"
#include "tests/sim/sequences.h"
#include "tests/sim/sim_runner.h"

namespace stoa::simtest {
namespace {

uint64_t from_environment(const char* name, uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

struct Shard {
    uint64_t index = 0;
    uint64_t count = 1;
};

Shard shard_from_environment() {
    Shard shard;
    if (const char* text = std::getenv("STOA_SIM_SHARD"); text != nullptr) {
        char* end = nullptr;
        shard.index = std::strtoull(text, &end, 10);
        if (*end == '/') shard.count = std::max<uint64_t>(std::strtoull(end + 1, nullptr, 10), 1);
    }
    return shard;
}

double seconds_now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

// Printed when a check of the engine aborts in the middle of a run.
std::string running;  // NOLINT: read by a signal handler

void name_the_run(int) {
    std::fputs("the engine stopped itself; repeat with: ", stdout);
    std::puts(running.c_str());
    std::fflush(stdout);
    std::_Exit(3);
}

TEST(Simulation, seeds_keep_every_promise) {
    RunOptions options;
    options.seed = from_environment("STOA_SIM_SEED", 1);
    options.operations = from_environment("STOA_SIM_OPERATIONS", 500);
    const uint64_t end = options.seed + from_environment("STOA_SIM_SEEDS", 2000);
    const Shard shard = shard_from_environment();
    const double until =
        seconds_now() + static_cast<double>(from_environment("STOA_SIM_SECONDS", 1'000'000));
    uint64_t runs = 0;
    RunResult total;
    std::signal(SIGABRT, name_the_run);
    for (; options.seed < end && seconds_now() < until; ++options.seed) {
        if (options.seed % shard.count != shard.index) continue;
        running = replay_command(options);
        const RunResult result = run_seed(options);
        ++runs;
        total.operations += result.operations;
        total.host_crashes += result.host_crashes;
        total.process_crashes += result.process_crashes;
        total.recovery_crashes += result.recovery_crashes;
        EXPECT_FALSE(result.verdict.failed())
            << "seed " << options.seed << ", operation " << result.operations << ": "
            << result.verdict.text() << "\n  " << result.swarm << "\n  repeat with: " << running;
        if (testing::Test::HasFailure()) break;
    }
    std::signal(SIGABRT, SIG_DFL);
    print("{} seeds, {} operations, {} host crashes, {} process crashes, {} of them in recovery\n",
          runs, total.operations, total.host_crashes, total.process_crashes,
          total.recovery_crashes);
}

TEST(Simulation, a_seed_gives_the_same_run_again) {
    for (uint64_t seed = 1; seed <= 5; ++seed) {
        const RunResult first = run_seed({.seed = seed, .operations = 100});
        const RunResult second = run_seed({.seed = seed, .operations = 100});
        EXPECT_EQ(first.trace_hash, second.trace_hash) << "seed " << seed;
    }
}

class MustHave : public testing::TestWithParam<size_t> {};

TEST_P(MustHave, survives) {
    const Sequence& sequence = must_have_sequences()[GetParam()];
    CrashSearch search({.seconds_max = 60});
    Verdict verdict;
    search.search(sequence, verdict);
    EXPECT_FALSE(verdict.failed()) << verdict.text() << "\n  repeat with: "
                                   << "build/release/bin/stoa-sim --sequence " << sequence.name;
    std::printf("%s\n", to_string(search.counts()).c_str());
}

INSTANTIATE_TEST_SUITE_P(Sequences, MustHave,
                         testing::Range(size_t{0}, must_have_sequences().size()),
                         [](const testing::TestParamInfo<size_t>& info) {
                             return std::string(must_have_sequences()[info.param].name);
                         });

TEST(Exhaustive, short_sequences_survive_every_crash) {
    const Shard shard = shard_from_environment();
    const ExhaustiveResult result = run_exhaustive(
        {.length = from_environment("STOA_SIM_EXHAUSTIVE", 2),
         .seconds_max = static_cast<double>(from_environment("STOA_SIM_SECONDS", 1200)),
         .shard = shard.index,
         .shards = shard.count});
    std::printf("%s\n", to_string(result.counts).c_str());
    EXPECT_FALSE(result.verdict.failed())
        << result.verdict.text() << "\n  in the sequence: " << result.failed_sequence;
}

}  // namespace
}  // namespace stoa::simtest
