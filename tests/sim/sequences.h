// The sequences that every version must survive, each run with a crash at every device event.
//
// A sequence is a short program over Actions. It is run once to its end, while what a crash would
// leave is kept at each device event (several subsets of the unflushed writes); then each of these
// is recovered and judged by the model as it was at that event.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "tests/sim/actions.h"
#include "tests/sim/model.h"
#include "tests/sim/verdict.h"
#include "tests/sim/world.h"

namespace stoa::simtest {

// The pool is open; returns when done or when actions.ended().
using Program = std::function<void(Actions& actions, Verdict& verdict)>;

struct Sequence {
    std::string_view name;
    Program prepare;  // before the first crash
    Program run;
    bool crashes = true;  // at each event of `run`
    WorldOptions world{};
};

// All of them, in the order of the design.
[[nodiscard]] const std::vector<Sequence>& must_have_sequences();
// Those of them about commits and recovery.
[[nodiscard]] std::vector<Sequence> recovery_sequences();
// Those about a pool that is full.
[[nodiscard]] std::vector<Sequence> space_sequences();

struct CrashSearchOptions {
    uint64_t every = 1;             // only each n-th device event
    uint64_t recovery_samples = 2;  // crashes within each recovery
    uint64_t seed = 1;
    double seconds_max = 1e9;  // stops early, well
};

struct CrashSearchCounts {
    uint64_t sequences = 0;
    uint64_t crash_points = 0;
    uint64_t recoveries = 0;
    uint64_t distinct_images = 0;
    bool out_of_time = false;
};

// Remembers images across sequences, so that equal ones with equal expectations run once.
class CrashSearch {
public:
    explicit CrashSearch(const CrashSearchOptions& options);

    // Runs `sequence` to its end and recovers from each of its crashes.
    void search(const Sequence& sequence, Verdict& verdict);
    [[nodiscard]] const CrashSearchCounts& counts() const { return counts_; }
    [[nodiscard]] bool out_of_time() const;

private:
    struct Point {
        Remains remains;
        Model model;
        std::optional<Model> after;
        bool host_died = true;
        uint64_t event = 0;
        std::string policy;
    };
    void keep_points(World& world, const Actions& actions, std::vector<Point>& points);
    void recover(const Sequence& sequence, const Point& point, Verdict& verdict);
    void recover_again(const Sequence& sequence, const Point& point, uint64_t at_event,
                       Verdict& verdict);
    bool judge(Actions& actions, const Point& point, Verdict& verdict);

    CrashSearchOptions options_;
    CrashSearchCounts counts_;
    std::unordered_set<uint64_t> seen_;    // images with what is expected of them
    std::unordered_set<uint64_t> images_;  // images alone
    double started_;
};

}  // namespace stoa::simtest
