// Small and exhaustive: every sequence of up to `length` operations over 2 volumes and 3 blocks,
// crashed at every device event.
#pragma once

#include <cstdint>
#include <string>

#include "tests/sim/sequences.h"
#include "tests/sim/verdict.h"

namespace stoa::simtest {

struct ExhaustiveOptions {
    size_t length = 2;
    double seconds_max = 1e9;
    uint64_t seed = 1;
    uint64_t recovery_samples = 1;
    // Only sequences whose number is `shard` modulo `shards`.
    uint64_t shard = 0;
    uint64_t shards = 1;
};

struct ExhaustiveResult {
    Verdict verdict;
    CrashSearchCounts counts;
    std::string failed_sequence;
};

// Stops at the first failure, or well when the time is over.
[[nodiscard]] ExhaustiveResult run_exhaustive(const ExhaustiveOptions& options);
[[nodiscard]] std::string to_string(const CrashSearchCounts& counts);

}  // namespace stoa::simtest
