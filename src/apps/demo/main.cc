// stoa-demo: a tour of the storage engine on real files, which checks all that it shows.
// Exit: 0 all was as it should be, 1 not. `stoa-demo writer` is its own child process.
#include <fmt/format.h>
#include <CLI/CLI.hpp>

#include <cstdio>
#include <filesystem>

#include "apps/demo/steps.h"
#include "apps/demo/writer.h"
#include "base/output.h"

namespace stoa::apps::demo {
namespace {

io::Task<Result<void>> run_steps(Tour& tour) {
    for (const auto step :
         {step_create, step_write, step_snapshot, step_difference, step_damaged_data,
          step_damaged_map, step_killed_process, step_dead_host, step_delete, step_close}) {
        CO_TRY(co_await step(tour));
    }
    co_return Result<void>{};
}

io::Task<Result<void>> run_tour(Tour& tour) {
    const Result<void> result = co_await run_steps(tour);
    const Result<void> closed = co_await tour.close();  // open only if a step failed
    co_return result.ok() ? closed : result;
}

std::string own_path() {
    std::error_code error;
    return std::filesystem::read_symlink("/proc/self/exe", error).string();
}

// Beside this program when installed, in its own folder when built.
std::string find_tool(const std::string& program) {
    const auto folder = std::filesystem::path(program).parent_path();
    const auto beside = folder / "stoa-pool";
    return std::filesystem::exists(beside) ? beside : folder.parent_path() / "pool" / "stoa-pool";
}

Result<int> run(const std::string& tool) {
    setvbuf(stdout, nullptr, _IOLBF, 0);  // in order with what children and errors say
    Narrator::catch_signals();
    TRY_ASSIGN(const auto workspace, Workspace::create());
    TRY_ASSIGN(const auto reactor, io::Reactor::create());
    Tour tour(*reactor, *workspace, own_path(), tool);
    stoa::print("A tour of Stoa's storage engine on real files, in {}.\n", workspace->folder());
    const uint64_t started_ns = tour.now_ns();
    TRY(reactor->run(run_tour(tour)));
    stoa::print("\nThe tour is over: {}, all good, in {:.1f} s.\n",
                count_of(static_cast<uint64_t>(tour.narrator.checks()), "check"),
                static_cast<double>(tour.now_ns() - started_ns) / 1e9);
    return 0;
}

int run_and_tell(const std::string& tool) {
    const auto result =
        run(tool.empty() ? find_tool(own_path()) : std::filesystem::absolute(tool).string());
    if (result.ok()) return *result;
    stoa::print_error("stoa-demo: FAILED: {}\n", result.error().message());
    return 1;
}

int run_command_line(int argc, char** argv) {
    CLI::App app("A tour of the storage engine on real files; takes about half a minute.",
                 "stoa-demo");
    app.set_version_flag("--version", "stoa-demo " STOA_VERSION);
    std::string tool;
    app.add_option("--tool", tool, "Path of stoa-pool");
    CLI::App* writer = app.add_subcommand("writer", "The process that is killed")->group("");
    WriterOptions options;
    writer->add_option("--ring", options.ring)->required();
    writer->add_option("--volume", options.volume)->required();
    writer->add_option("files", options.files)->required();
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 1;
    }
    return writer->parsed() ? run_writer(options) : run_and_tell(tool);
}

}  // namespace
}  // namespace stoa::apps::demo

int main(int argc, char** argv) {
    const int exit_code = stoa::apps::demo::run_command_line(argc, argv);
    return stoa::finish_output("stoa-demo") ? exit_code : 1;
}
