#include "apps/demo/tour.h"

#include "apps/demo/process.h"

namespace stoa::apps::demo {

io::Task<Result<void>> Tour::open() {
    EngineOptions options;
    options.files = workspace.files();
    options.ring = workspace.ring();
    options.events = [this](const std::string& text) { say("the pool notes: {}", text); };
    co_return co_await engine.open(std::move(options));
}

Result<std::string> Tour::run_tool(const std::vector<std::string>& words, int expected_exit_code) {
    std::vector<std::string> command{tool};
    command.insert(command.end(), words.begin(), words.end());
    TRY_ASSIGN(Finished finished, run_program(command));
    const std::string line = fmt::format("stoa-pool {}", fmt::join(words, " "));
    narrator.show_command(line, finished.output);
    TRY(check(finished.exit_code == expected_exit_code,
              fmt::format("exit code {}", expected_exit_code),
              fmt::format("{} from: {}", finished.exit_code, line)));
    return std::move(finished.output);
}

Result<std::string> Tour::ask_tool(const std::vector<std::string>& words) {
    std::vector<std::string> command{tool};
    command.insert(command.end(), words.begin(), words.end());
    TRY_ASSIGN(Finished finished, run_program(command));
    if (finished.exit_code != 0) {
        return Error(ErrorCode::io,
                     fmt::format("stoa-pool {}: exit code {}: {}", fmt::join(words, " "),
                                 finished.exit_code, finished.output));
    }
    return std::move(finished.output);
}

io::Task<Result<void>> Tour::check_content(Uuid object, const Ledger& ledger,
                                           std::string_view name) {
    CO_TRY_ASSIGN(block::Volume * volume, co_await pool().attach(object, true));
    const Result<uint64_t> wrong = co_await count_wrong(*volume, ledger);
    co_await pool().detach(volume);
    if (!wrong.ok()) co_return wrong.error();
    co_return check(*wrong == 0,
                    fmt::format("all {} blocks of {} have the checksum that the demo remembers",
                                ledger.blocks(), name),
                    fmt::format("{} blocks differ", *wrong));
}

std::string mebibytes(uint64_t blocks) {
    return fmt::format("{:.1f} MiB", static_cast<double>(blocks) * kBlockBytes / (1 << 20));
}

std::string milliseconds(uint64_t duration_ns) {
    return fmt::format("{:.1f} ms", static_cast<double>(duration_ns) / 1e6);
}

std::string space_line(const stoa::pool::SpaceInfo& space) {
    return fmt::format("data {}, map {}, freed soon {}, free {}", mebibytes(space.data),
                       mebibytes(space.nodes), mebibytes(space.quarantine), mebibytes(space.free));
}

}  // namespace stoa::apps::demo
