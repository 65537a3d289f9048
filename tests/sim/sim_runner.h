// One seed, one run: a random pool, random operations, crashes, faults; everything is checked.
//
// Each seed enables its own subset of what can happen (the swarm), so that rare combinations get
// runs of their own. The same seed and the same options give the same run.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "dataplane/io/sim/random.h"
#include "tests/sim/actions.h"
#include "tests/sim/model.h"
#include "tests/sim/verdict.h"
#include "tests/sim/workload.h"
#include "tests/sim/world.h"

namespace stoa::simtest {

struct RunOptions {
    uint64_t seed = 1;
    uint64_t operations = 500;
    bool verbose = false;
};

struct RunResult {
    Verdict verdict;
    uint64_t operations = 0;
    uint64_t host_crashes = 0;
    uint64_t process_crashes = 0;
    uint64_t recovery_crashes = 0;
    uint64_t trace_hash = 0;
    std::string swarm;  // what this seed enabled, for the report
};

[[nodiscard]] RunResult run_seed(const RunOptions& options);
// The command that repeats a run.
[[nodiscard]] std::string replay_command(const RunOptions& options);

class SimRunner {
public:
    explicit SimRunner(const RunOptions& options);
    SimRunner(const SimRunner&) = delete;
    SimRunner& operator=(const SimRunner&) = delete;
    ~SimRunner();

    RunResult run();

private:
    void step();
    void after_step();
    void handle_crash();
    void maybe_arm_crash();
    void add_faults();
    void fill_host();
    void perform(OperationKind kind);
    void perform_object(OperationKind kind);
    void perform_check(OperationKind kind);
    void run_beside(size_t count);
    io::Task<void> random_io(Uuid volume, uint64_t around_block);
    void relieve(const io::TaskGroup& group);
    void disconnect();
    void reopen();
    void go_without();
    [[nodiscard]] bool knows_all() const;
    void end();
    [[nodiscard]] bool ended() const { return result_.verdict.failed(); }
    Uuid pick_volume();
    Uuid pick_snapshot();
    bool make_volume();

    RunOptions options_;
    io::sim::Random random_;
    io::sim::Random away_random_;
    Swarm swarm_;
    RunResult result_;
    std::unique_ptr<World> world_;
    Model model_;
    Actions actions_;
    CrashPlan plan_;
};

}  // namespace stoa::simtest
