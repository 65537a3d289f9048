// What the steps of the tour share. Each step has its own file; they run in the order of steps.h
// and each leaves the pool open, sound and attached nowhere.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "apps/demo/content.h"
#include "apps/demo/engine.h"
#include "apps/demo/narrator.h"
#include "apps/demo/workspace.h"

namespace stoa::apps::demo {

inline constexpr uint64_t kVolumeBytes = uint64_t{128} << 20;

struct Tour {
    Tour(io::Reactor& reactor, Workspace& files, std::string program_path, std::string tool_path)
        : engine(reactor), workspace(files), program(std::move(program_path)),
          tool(std::move(tool_path)) {}

    Narrator narrator;
    Engine engine;
    Workspace& workspace;
    std::string program;  // this one, to start the writer with
    std::string tool;     // stoa-pool

    Uuid database;
    Ledger database_now{kVolumeBytes};
    Uuid monday;  // a snapshot of it
    Ledger database_monday{kVolumeBytes};
    Uuid copy;  // a clone of monday
    Ledger copy_now{kVolumeBytes};
    uint64_t version = 0;  // of the content written last

    // Opens or closes the pool; events are told.
    io::Task<Result<void>> open();
    io::Task<Result<void>> close() { return engine.close(); }
    [[nodiscard]] stoa::pool::Pool& pool() { return engine.pool(); }
    [[nodiscard]] uint64_t now_ns() { return engine.reactor().now_ns(); }

    template <class... Values>
    void say(fmt::format_string<Values...> text, Values&&... values) {
        narrator.say(fmt::format(text, std::forward<Values>(values)...));
    }
    Result<void> check(bool good, std::string_view what, std::string_view seen = "") {
        return narrator.check(good, what, seen);
    }
    // Runs stoa-pool (the pool must be closed), shows its output and checks the exit code.
    Result<std::string> run_tool(const std::vector<std::string>& words, int expected_exit_code);
    // The same, without showing the output.
    Result<std::string> ask_tool(const std::vector<std::string>& words);
    // Checks that every block of the volume or snapshot reads as the ledger says.
    io::Task<Result<void>> check_content(Uuid object, const Ledger& ledger, std::string_view name);
};

[[nodiscard]] std::string mebibytes(uint64_t blocks);
[[nodiscard]] std::string milliseconds(uint64_t duration_ns);
// One line: data, map, freed soon, free.
[[nodiscard]] std::string space_line(const stoa::pool::SpaceInfo& space);

}  // namespace stoa::apps::demo
