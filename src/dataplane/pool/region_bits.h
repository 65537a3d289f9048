// Small tools of regions.cc and its parts: bitmaps in words, lists of runs.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <utility>
#include <vector>

#include "dataplane/pool/regions.h"

namespace stoa::pool {

inline void set_bits(std::vector<uint64_t>& words, uint64_t from, uint64_t count, bool on) {
    for (uint64_t i = from; i < from + count; ++i) {
        const uint64_t bit = uint64_t{1} << (i % 64);
        if (on) words[i / 64] |= bit;
        else words[i / 64] &= ~bit;
    }
}

inline bool get_bit(const std::vector<uint64_t>& words, uint64_t i) {
    return (words[i / 64] >> (i % 64) & 1) != 0;
}

inline uint32_t count_zeros(const std::vector<uint64_t>& words) {
    uint32_t zeros = 0;
    for (const uint64_t w : words) zeros += static_cast<uint32_t>(std::popcount(~w));
    return zeros;
}

inline void append_run(std::vector<Run>& runs, Run run) {
    if (!runs.empty() && runs.back().address + runs.back().count == run.address) {
        runs.back().count += run.count;
    } else {
        runs.push_back(run);
    }
}

// Gives the pieces of `runs`, each in one region, to `use`.
template <class Use>
void cut_at_regions(const std::vector<Run>& runs, uint32_t region_blocks, const Use& use) {
    for (Run run : runs) {
        while (run.count > 0) {
            const uint64_t left = region_blocks - run.address % region_blocks;
            const uint64_t take = std::min(run.count, left);
            use(Run{run.address, take});
            run.address += take;
            run.count -= take;
        }
    }
}

// Cut, and sorted by address.
inline std::vector<Run> by_address(const std::vector<Run>& runs, uint32_t region_blocks) {
    std::vector<Run> cut;
    cut.reserve(runs.size());
    cut_at_regions(runs, region_blocks, [&](const Run& run) { cut.push_back(run); });
    std::ranges::sort(cut, {}, &Run::address);
    return cut;
}

// Cut, and the runs of each region side by side, regions ascending: linear, for the hundreds of
// thousands of single blocks that a checkpoint of random writes has.
inline std::vector<Run> by_region(const std::vector<Run>& runs, uint32_t region_blocks) {
    std::vector<size_t> next;  // by region: first their counts, then where the next run goes
    size_t total = 0;
    cut_at_regions(runs, region_blocks, [&](const Run& run) {
        const uint64_t region = run.address / region_blocks;
        if (region >= next.size()) next.resize(region + 1, 0);
        ++next[region];
        ++total;
    });
    size_t start = 0;
    for (size_t& place : next) start += std::exchange(place, start);
    std::vector<Run> sorted(total);
    cut_at_regions(runs, region_blocks,
                   [&](const Run& run) { sorted[next[run.address / region_blocks]++] = run; });
    return sorted;
}

}  // namespace stoa::pool
