// Kill tests made from the step table of a plan. Test-only.
//
//     class MyWorld final : public task::KillWorld { … };
//     TEST(MyKill, create_survives_every_kill) {
//         task::run_kill_tests([](const std::filesystem::path& directory) {
//             return std::make_unique<MyWorld>(directory);
//         });
//     }
//
// The plan is run once to learn its fault points: before, after, and between effect and record of
// every step; then once for each step that fails, to learn those of the undo. For each point a
// process of its own runs the plan in a new directory and gets SIGKILL there; a second one goes on
// and gets SIGKILL too, a few points later; then the engine goes on here, and the world is checked.
//
// The processes are forks of the test: it must have no other thread meanwhile, so that a world
// keeps nothing open outside open() and close().
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>

#include "base/check.h"
#include "controlplane/async/async.h"
#include "controlplane/records/records.h"
#include "controlplane/state/sqlite_store.h"
#include "controlplane/task/engine.h"
#include "controlplane/task/test_directory.h"

namespace stoa::task {

// What one process has beside store, records and engine, and what is outside of all processes.
class KillWorld {
public:
    KillWorld() = default;
    KillWorld(const KillWorld&) = delete;
    KillWorld& operator=(const KillWorld&) = delete;
    virtual ~KillWorld() = default;

    // Adds the step types to the engine, opens what they need.
    virtual AsyncVoid open(asio::any_io_executor executor, records::Records& records,
                           Engine& engine) = 0;
    // Once for each directory, in the first process. The same one each time.
    virtual Plan plan(const records::Records& records) = 0;
    // EXPECTs that all is done (`is_done`), or that nothing is left; the world is still open.
    virtual AsyncVoid check(records::Records& records, bool is_done) = 0;
    virtual AsyncVoid close() { co_return; }
};
using MakeWorld = std::function<std::unique_ptr<KillWorld>(const std::filesystem::path& directory)>;

struct KillTestOptions {
    bool kills_twice = true;
    // Each step fails once, too.
    bool with_undo = true;
};

namespace kill_detail {

using Fault = std::function<Result<void>(const FaultPoint&)>;

// One process's life, from the opening of the store to its closing.
class Session {
public:
    Session(const MakeWorld& make, const std::filesystem::path& directory, Fault fault)
        : world_(make(directory)), directory_(directory), fault_(std::move(fault)) {}

    // Submits the plan, or goes on with what is there, and waits until nothing runs. How the task
    // ended; none: there is no task.
    std::optional<model::TaskState> run(bool submits, bool checks) {
        asio::co_spawn(loop_, live(submits, checks), [](const std::exception_ptr& left) {
            if (left) std::rethrow_exception(left);
        });
        loop_.run();
        return ended_;
    }

private:
    AsyncVoid live(bool submits, bool checks) {
        state::SqliteOptions options;
        options.path = directory_ / "kill-test-state.db";
        options.new_uuid = [] { return Uuid::from_random(1, 1); };
        auto store = co_await state::SqliteStore::open(loop_.get_executor(), std::move(options));
        CHECK(store.ok());
        auto records = co_await records::Records::open(loop_.get_executor(), **store);
        CHECK(records.ok());
        EngineOptions engine_options;
        engine_options.now_ns = [this] { return now_ns_ += 1'000'000; };
        engine_options.random = [this] { return random_ += 0x9e3779b97f4a7c15; };
        engine_options.store = store->get();
        engine_options.pause_first = std::chrono::milliseconds(1);
        engine_options.fault = fault_;
        const auto engine =
            Engine::create(loop_.get_executor(), **records, std::move(engine_options));
        co_await world_->open(loop_.get_executor(), **records, *engine);
        const auto started = co_await engine->start();
        CHECK(started.ok());
        if (submits) {
            const auto task = co_await engine->submit(world_->plan(**records), "local/0");
            if (!task.ok()) ADD_FAILURE() << "submit: " << task.error().message();
        }
        std::vector<Uuid> tasks;
        for (const auto& [id, record] : (*records)->all<model::Task>()) tasks.push_back(id);
        for (const Uuid& id : tasks) static_cast<void>(co_await engine->wait(id));
        for (const auto& [id, record] : (*records)->all<model::Task>()) {
            ended_ = record.status.state;
        }
        if (checks) co_await world_->check(**records, ended_ == model::TaskState::done);
        co_await engine->close();
        co_await world_->close();
        co_await (*records)->close();
        co_await (*store)->close();
    }

    std::unique_ptr<KillWorld> world_;
    std::filesystem::path directory_;
    Fault fault_;
    asio::io_context loop_;
    int64_t now_ns_ = int64_t{1'700'000'000} * 1'000'000'000;
    uint64_t random_ = 1;
    std::optional<model::TaskState> ended_;
};

inline std::string text_of(const FaultPoint& point) {
    constexpr std::array<std::string_view, 8> kWords = {
        "when it was submitted", "before",         "between effect and record of",
        "after the record of",   "before undoing", "between undoing and record of",
        "after undoing",         "after the end"};
    return fmt::format("{} step {}", kWords.at(static_cast<size_t>(point.moment)), point.step);
}

// Of the effects of this step one failure is made up.
inline Fault failing(std::optional<uint32_t> step, Fault then) {
    return [step, then = std::move(then), failed = false](const FaultPoint& point) mutable {
        Result<void> result = then(point);
        if (failed || point.moment != FaultPoint::Moment::after_effect || point.step != step) {
            return result;
        }
        failed = true;
        return Result<void>(Error(ErrorCode::io, "a failure of the test"));
    };
}

inline Fault killing(size_t at) {
    return [at, seen = size_t{0}](const FaultPoint& /*point*/) mutable {
        if (seen++ == at) static_cast<void>(kill(getpid(), SIGKILL));
        return Result<void>();
    };
}

// True if the process was killed, false if it came to its end.
inline bool live_and_die(const MakeWorld& make, const std::filesystem::path& directory, Fault fault,
                         bool submits) {
    // tidy: allow syscall: the point of these tests is a process that dies
    const pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        Session(make, directory, std::move(fault)).run(submits, false);
        _exit(::testing::Test::HasFailure() ? 1 : 0);
    }
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) return true;
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "status " << status;
    return false;
}

// The points of a life without a kill, and how it ends.
inline std::vector<FaultPoint> points_of(const MakeWorld& make, std::optional<uint32_t> fails) {
    std::vector<FaultPoint> points;
    const auto note = [&points](const FaultPoint& point) {
        points.push_back(point);
        return Result<void>();
    };
    const TestDirectory directory;
    Session(make, directory.path(), failing(fails, note)).run(true, true);
    return points;
}

inline void kill_at(const MakeWorld& make, std::optional<uint32_t> fails, size_t point,
                    std::optional<size_t> again) {
    const TestDirectory directory;
    const bool was_killed =
        live_and_die(make, directory.path(), failing(fails, killing(point)), true);
    EXPECT_TRUE(was_killed);
    if (again) live_and_die(make, directory.path(), killing(*again), false);
    const auto nothing = [](const FaultPoint& /*point*/) { return Result<void>(); };
    const auto ended = Session(make, directory.path(), nothing).run(false, true);
    EXPECT_TRUE(ended == model::TaskState::done || ended == model::TaskState::failed);
}

inline void kill_everywhere(const MakeWorld& make, std::optional<uint32_t> fails,
                            const KillTestOptions& options) {
    const std::vector<FaultPoint> points = points_of(make, fails);
    // What is before the failure is the same as without it.
    size_t first = 0;
    while (fails && first < points.size() &&
           !(points[first].moment == FaultPoint::Moment::after_effect &&
             points[first].step == *fails)) {
        ++first;
    }
    for (size_t i = fails ? first + 1 : 0; i < points.size(); ++i) {
        SCOPED_TRACE(fmt::format("killed {}{}", text_of(points[i]),
                                 fails ? fmt::format(", after step {} failed", *fails) : ""));
        kill_at(make, fails, i, std::nullopt);
        if (options.kills_twice) kill_at(make, fails, i, i % 3);
        if (::testing::Test::HasFailure()) return;
    }
}

}  // namespace kill_detail

inline void run_kill_tests(const MakeWorld& make, const KillTestOptions& options = {}) {
    kill_detail::kill_everywhere(make, std::nullopt, options);
    if (!options.with_undo) return;
    std::vector<uint32_t> steps;
    for (const FaultPoint& point : kill_detail::points_of(make, std::nullopt)) {
        if (point.moment == FaultPoint::Moment::after_effect) steps.push_back(point.step);
    }
    for (const uint32_t step : steps) {
        if (::testing::Test::HasFailure()) return;
        kill_detail::kill_everywhere(make, step, options);
    }
}

}  // namespace stoa::task
