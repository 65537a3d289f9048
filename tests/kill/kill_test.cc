// A process that serves a pool is killed with SIGKILL at a random moment, in open and in recovery
// too; then every acknowledged sector, snapshot and deletion is verified, and fsck judges.
// The rules of what may be there: model.h.
//
// Environment: STOA_KILLS (how many, 10), STOA_KILL_SEED (random; printed). The operations follow
// from the seed, the moment in which the kill meets them does not. TMPDIR: where the files lie.
#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>

#include "dataplane/io/test_directory.h"
#include "tests/kill/child.h"
#include "tests/kill/events.h"
#include "tests/kill/files.h"
#include "tests/kill/model.h"

namespace stoa::killtest {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;

uint64_t from_environment(const char* name, uint64_t otherwise) {
    const char* text = std::getenv(name);
    return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// What one child told before it was killed.
struct Run {
    std::vector<Event> events;
    bool opened = false;
    bool killed = false;  // false: it ended by itself
    microseconds open_time{0};
    int status = 0;
};

class Killer {
public:
    explicit Killer(uint64_t seed) : random_(seed) {
        paths_.devices = {directory_.file("a"), directory_.file("b")};
        paths_.ring = directory_.file("ring");
    }

    void create() {
        const Result<void> made = create_files(paths_);
        ASSERT_TRUE(made.ok()) << made.error().message();
    }
    // Works, dies, is verified.
    void round();

    struct Totals {
        uint64_t kills = 0;
        uint64_t kills_in_open = 0;
        uint64_t kills_in_close = 0;
        uint64_t rings_lost = 0;
        uint64_t in_flight = 0;
    };
    [[nodiscard]] const Totals& totals() const { return totals_; }
    [[nodiscard]] const Model& model() const { return model_; }

private:
    uint64_t below(uint64_t limit) { return random_() % limit; }
    // Starts a child, listens for `life`, kills it, listens to the rest.
    Run start_and_kill(const ChildOptions& options, microseconds life);
    void listen(int pipe, int child, Clock::time_point end, Run& run);
    // `ring_lost`: before this run; then that it opened the pool says nothing about what was
    // acknowledged earlier.
    void note(const Run& run, bool ring_lost);
    // Kills a process in the middle of recovery, or soon after it.
    void kill_in_open(bool ring_lost);
    void lose_ring() { std::filesystem::remove(paths_.ring); }
    void verify(bool ring_kept);

    io::TestDirectory directory_;
    Paths paths_;
    std::mt19937_64 random_;
    Model model_;
    Totals totals_;
    microseconds open_time_{5000};
};

// Takes in what the pipe holds; false at its end.
bool drain(int pipe, Run& run) {
    Event event;
    const ssize_t got = ::read(pipe, &event, sizeof event);
    if (got != static_cast<ssize_t>(sizeof event)) return false;
    run.events.push_back(event);
    return true;
}

void Killer::listen(int pipe, int child, Clock::time_point end, Run& run) {
    const Clock::time_point started = Clock::now();
    bool open_end = true;
    while (open_end && Clock::now() < end) {
        pollfd wait{.fd = pipe, .events = POLLIN, .revents = 0};
        const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(end - Clock::now());
        timespec most{.tv_sec = 0, .tv_nsec = 0};
        most.tv_sec = std::max<int64_t>(left.count(), 0) / 1'000'000'000;
        most.tv_nsec = std::max<int64_t>(left.count(), 0) % 1'000'000'000;
        if (ppoll(&wait, 1, &most, nullptr) <= 0) continue;
        open_end = drain(pipe, run);
        if (open_end && run.events.back().kind == EventKind::opened && !run.opened) {
            run.opened = true;
            run.open_time = std::chrono::duration_cast<microseconds>(Clock::now() - started);
        }
    }
    run.killed = open_end;
    ::kill(child, SIGKILL);
    while (open_end) open_end = drain(pipe, run);
    ASSERT_EQ(waitpid(child, &run.status, 0), child);
}

Run Killer::start_and_kill(const ChildOptions& options, microseconds life) {
    Run run;
    int ends[2] = {-1, -1};
    CHECK(pipe2(ends, O_CLOEXEC) == 0);
    std::fflush(nullptr);
    const int parent = getpid();
    const int child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) ::_exit(4);
        ::close(ends[0]);
        ChildOptions mine = options;
        mine.pipe = ends[1];
        run_child(paths_, mine);
    }
    ::close(ends[1]);
    listen(ends[0], child, Clock::now() + life, run);
    ::close(ends[0]);
    return run;
}

void Killer::note(const Run& run, bool ring_lost) {
    for (const Event& event : run.events) {
        ASSERT_NE(event.kind, EventKind::failed) << "the child says why";
        if (!ring_lost) model_.take(event);
    }
    ASSERT_TRUE(run.killed) << "the child ended by itself, status " << run.status;
    ++totals_.kills;
    const EventKind last = run.events.empty() ? EventKind::opening : run.events.back().kind;
    totals_.kills_in_open += last == EventKind::opening ? 1 : 0;
    totals_.kills_in_close += last == EventKind::closing ? 1 : 0;
    if (run.opened) open_time_ = (open_time_ * 3 + run.open_time) / 4;
}

void Killer::kill_in_open(bool ring_lost) {
    ChildOptions options;
    options.only_open = true;
    const auto most = static_cast<uint64_t>(open_time_.count());
    const Run run = start_and_kill(options, microseconds(below(most * 5 / 4)));
    note(run, ring_lost);
}

void Killer::round() {
    ChildOptions options;
    options.seed = random_();
    options.first_id = model_.next_id();
    options.snapshots = model_.snapshots();
    options.operations = below(2) == 0 ? 20 + below(600) : 0;
    const Run work = start_and_kill(options, open_time_ + microseconds(1000 + below(700'000)));
    note(work, false);
    if (::testing::Test::HasFatalFailure()) return;
    // The ring goes, if it does, before or between kills in recovery.
    const bool loses_ring = below(3) == 0;
    const uint64_t opens = below(3);
    const uint64_t lost_before = loses_ring ? below(opens + 1) : UINT64_MAX;
    for (uint64_t i = 0; i <= opens; ++i) {
        if (i == lost_before) {
            lose_ring();
            ++totals_.rings_lost;
        }
        if (i == opens) break;
        kill_in_open(lost_before <= i);
        if (::testing::Test::HasFatalFailure()) return;
    }
    verify(!loses_ring);
}

io::Task<Result<void>> read_tree(pool::Pool& pool, Uuid tree, size_t volume, Content& into) {
    CO_TRY_ASSIGN(block::Volume * handle, co_await pool.attach(tree, true));
    AlignedBuffer buffer(kVolumeBytes);
    Result<void> done = co_await handle->read(0, buffer.bytes());
    co_await pool.detach(handle);
    if (!done.ok()) co_return done;
    into.resize(kVolumeSectors);
    for (uint64_t s = 0; s < kVolumeSectors; ++s) {
        const auto version = recognise(buffer.data() + s * kSectorBytes, {volume, s});
        if (!version) {
            co_return Error(
                ErrorCode::corrupt,
                fmt::format("volume {} sector {} holds what was never written there", volume, s));
        }
        into[s] = *version;
    }
    co_return Result<void>{};
}

io::Task<Result<void>> read_state(pool::Pool& pool, State& state) {
    if (pool.volumes().size() != kVolumes) {
        co_return Error(ErrorCode::not_found, "there are not the volumes that were made");
    }
    for (size_t v = 0; v < kVolumes; ++v) {
        CO_TRY(co_await read_tree(pool, volume_uuid(v), v, state.heads[v]));
        for (const pool::SnapshotInfo& info : pool.snapshots(volume_uuid(v))) {
            if (info.deleting) continue;
            const uint64_t id = std::strtoull(info.name.c_str() + 1, nullptr, 10);
            CO_TRY(co_await read_tree(pool, info.uuid, v, state.snapshots[id][v]));
        }
    }
    co_return Result<void>{};
}

void Killer::verify(bool ring_kept) {
    State found;
    auto open = open_pool(paths_);
    ASSERT_TRUE(open.ok()) << open.error().message();
    EXPECT_FALSE((*open)->pool->info().read_only) << (*open)->pool->info().read_only_reason;
    const Result<void> read = (*open)->reactor->run(read_state(*(*open)->pool, found));
    EXPECT_TRUE(read.ok()) << read.error().message();
    if (read.ok()) {
        for (const std::string& problem : model_.check(found, ring_kept)) ADD_FAILURE() << problem;
    }
    EXPECT_TRUE((*open)->pool->damage().empty());
    if (::testing::Test::HasFailure()) std::fputs((*open)->events.c_str(), stdout);
    const Result<void> closed = (*open)->reactor->run((*open)->pool->close());
    EXPECT_TRUE(closed.ok()) << closed.error().message();
    (*open).reset();
    const auto report = check_files(paths_);
    ASSERT_TRUE(report.ok()) << report.error().message();
    EXPECT_TRUE(report->closed_cleanly);
    for (const std::string& problem : report->problems) ADD_FAILURE() << "fsck: " << problem;
    for (const std::string& problem : report->repairable) ADD_FAILURE() << "fsck: " << problem;
    totals_.in_flight += model_.in_flight();
    model_.restart_from(std::move(found));
}

TEST(Kill, nothing_acknowledged_is_missing_after_any_kill) {
    // tidy: allow random: every run is another one, and its seed is printed
    const uint64_t seed = from_environment("STOA_KILL_SEED", std::random_device{}());
    const uint64_t kills = from_environment("STOA_KILLS", 10);
    fmt::print("kill: STOA_KILL_SEED={} STOA_KILLS={}\n", seed, kills);
    Killer killer(seed);
    killer.create();
    while (!HasFailure() && killer.totals().kills < kills) killer.round();
    const Killer::Totals& t = killer.totals();
    fmt::print(
        "kill: {} kills, {} in open, {} in close; {} rings lost; {} operations "
        "acknowledged, {} in flight\n",
        t.kills, t.kills_in_open, t.kills_in_close, t.rings_lost, killer.model().acknowledged(),
        t.in_flight);
    if (HasFailure()) fmt::print("kill: repeat with STOA_KILL_SEED={}\n", seed);
}

}  // namespace
}  // namespace stoa::killtest
