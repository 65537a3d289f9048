// stoa-sim: runs the simulation outside the tests: one seed again, many seeds for some minutes, the
// exhaustive search, one must-have sequence, or the hunt for one mutant.
//
// Exit: 0 well (with --mutant: caught), 1 not, or its output is not taken, 2 wrong use. What was
// found is printed as
// "<oracle>: <message>"; a check of the engine that aborts prints the command that repeats it.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "base/mutant.h"
#include "base/output.h"
#include "tests/sim/exhaustive.h"
#include "tests/sim/sequences.h"
#include "tests/sim/sim_runner.h"

namespace stoa::simtest {
namespace {

constexpr const char* kUsage =
    "stoa-sim --seed N [--seeds N] [--operations N] [--verbose]\n"
    "stoa-sim --minutes N [--seed N] [--operations N] [--verbose]\n"
    "stoa-sim --exhaustive LENGTH [--shards N --shard I] [--budget-seconds N]\n"
    "stoa-sim --sequence NAME|all [--budget-seconds N]\n"
    "stoa-sim --mutant N [--budget-seconds N]\n"
    "stoa-sim --help | --version\n";

[[noreturn]] void wrong_use(const std::string& why) {
    print_error("stoa-sim: {}\n{}", why, kUsage);
    std::exit(2);
}

struct Arguments {
    std::map<std::string, std::string> values;

    // Ends the program if the words are not what kUsage says.
    static Arguments parse(int count, char** words);

    [[nodiscard]] bool has(const std::string& name) const { return values.contains(name); }
    [[nodiscard]] uint64_t number(const std::string& name, uint64_t otherwise) const {
        const auto at = values.find(name);
        if (at == values.end()) return otherwise;
        uint64_t value = 0;
        const std::string& text = at->second;
        const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
        if (error != std::errc() || end != text.data() + text.size()) {
            wrong_use(fmt::format("--{} {}: not a number", name, text));
        }
        if (value == 0 && name != "seed") wrong_use(fmt::format("--{} 0: at least 1", name));
        return value;
    }
};

Arguments Arguments::parse(int count, char** words) {
    // Each mode with what goes with it; the first one that is given decides.
    static const std::vector<std::vector<std::string>> kModes = {
        {"help"},
        {"version"},
        {"mutant", "budget-seconds"},
        {"exhaustive", "shards", "shard", "budget-seconds"},
        {"sequence", "budget-seconds"},
        {"minutes", "seed", "operations", "verbose"},
        {"seed", "seeds", "operations", "verbose"}};
    Arguments arguments;
    for (int i = 1; i < count; ++i) {
        const std::string word = words[i];
        const std::string name = word.starts_with("--") ? word.substr(2) : "";
        const auto knows = [&name](const auto& mode) { return std::ranges::count(mode, name) > 0; };
        if (std::ranges::none_of(kModes, knows)) wrong_use(fmt::format("unknown: {}", word));
        const bool flag = name == "verbose" || name == "help" || name == "version";
        if (!flag && i + 1 == count) wrong_use(fmt::format("{} needs a value", word));
        if (!arguments.values.emplace(name, flag ? "" : words[++i]).second) {
            wrong_use(fmt::format("{} is given twice", word));
        }
    }
    const auto mode = std::ranges::find_if(
        kModes, [&arguments](const auto& each) { return arguments.has(each.front()); });
    if (mode == kModes.end()) wrong_use("nothing to do is given");
    for (const auto& [name, value] : arguments.values) {
        if (std::ranges::count(*mode, name) == 0) {
            wrong_use(fmt::format("--{} does not go with --{}", name, mode->front()));
        }
    }
    return arguments;
}

// What runs now; printed when the engine aborts or stands still.
char now_running[256] = "stoa-sim";

void set_running(const std::string& text) {
    std::snprintf(now_running, sizeof now_running, "%s", text.c_str());
    alarm(180);
}

void say_and_die(int signal) {
    const char* what = signal == SIGALRM ? "liveness: stands still; repeat with: "
                                         : "abort: the engine stopped itself; repeat with: ";
    static_cast<void>(!write(STDOUT_FILENO, what, std::strlen(what)));
    static_cast<void>(!write(STDOUT_FILENO, now_running, std::strlen(now_running)));
    static_cast<void>(!write(STDOUT_FILENO, "\n", 1));
    _exit(3);
}

class Clock {
public:
    explicit Clock(double seconds) : end_(now() + seconds) {}
    [[nodiscard]] double left() const { return end_ - now(); }
    [[nodiscard]] bool over() const { return left() <= 0; }

private:
    static double now() {
        return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
            .count();
    }
    double end_;
};

bool run_sequence(const Sequence& sequence, double seconds, Verdict& verdict) {
    set_running("stoa-sim --sequence " + std::string(sequence.name));
    CrashSearch search({.seconds_max = seconds});
    search.search(sequence, verdict);
    std::printf("%s: %s (%s)\n", std::string(sequence.name).c_str(), verdict.text().c_str(),
                to_string(search.counts()).c_str());
    return !verdict.failed();
}

int run_sequences(const std::string& name, double seconds) {
    bool found = false;
    bool good = true;
    const Clock clock(seconds);
    for (const Sequence& sequence : must_have_sequences()) {
        if (name != "all" && name != sequence.name) continue;
        found = true;
        Verdict verdict;
        good = run_sequence(sequence, clock.left(), verdict) && good;
    }
    if (!found) std::fprintf(stderr, "stoa-sim: no sequence %s\n", name.c_str());
    return found && good ? 0 : 1;
}

int run_exhaustively(const Arguments& arguments, double seconds) {
    const uint64_t length = arguments.number("exhaustive", 2);
    const uint64_t shards = arguments.number("shards", 1);
    const uint64_t shard = arguments.number("shard", 1);
    if (shard > shards) wrong_use(fmt::format("--shard {}: there are {}", shard, shards));
    set_running(fmt::format("stoa-sim --exhaustive {}", length));
    alarm(0);
    const ExhaustiveResult result = run_exhaustive(
        {.length = length, .seconds_max = seconds, .shard = shard - 1, .shards = shards});
    std::printf("exhaustive: %s\n", to_string(result.counts).c_str());
    if (!result.verdict.failed()) return 0;
    std::printf("%s\n  in: %s\n", result.verdict.text().c_str(), result.failed_sequence.c_str());
    return 1;
}

int run_seeds(const Arguments& arguments) {
    RunOptions options;
    options.seed = arguments.number("seed", 1);
    options.operations = arguments.number("operations", 500);
    options.verbose = arguments.has("verbose");
    const bool timed = arguments.has("minutes");
    const Clock clock(static_cast<double>(arguments.number("minutes", 0)) * 60);
    const uint64_t seeds = timed ? ~uint64_t{0} : arguments.number("seeds", 1);
    uint64_t done = 0;
    uint64_t failed = 0;
    RunResult total;
    for (; done < seeds && !(timed && clock.over()); ++done, ++options.seed) {
        set_running(replay_command(options));
        const RunResult result = run_seed(options);
        total.operations += result.operations;
        total.host_crashes += result.host_crashes;
        total.process_crashes += result.process_crashes;
        total.recovery_crashes += result.recovery_crashes;
        if (!result.verdict.failed()) continue;
        ++failed;
        std::printf("seed %llu, operation %llu: %s\n  %s\n  repeat with: %s\n",
                    static_cast<unsigned long long>(options.seed),
                    static_cast<unsigned long long>(result.operations),
                    result.verdict.text().c_str(), result.swarm.c_str(),
                    replay_command(options).c_str());
        std::fflush(stdout);
        if (timed) break;
    }
    print("{}, {}, {}, {}, {} of them in recovery, {} failed\n", count_of(done, "seed"),
          count_of(total.operations, "operation"),
          count_of(total.host_crashes, "host crash", "host crashes"),
          count_of(total.process_crashes, "process crash", "process crashes"),
          total.recovery_crashes, failed);
    return failed == 0 ? 0 : 1;
}

int caught(const Verdict& verdict) {
    std::printf("caught by %s: %s\n", verdict.failure().oracle.c_str(),
                verdict.failure().message.c_str());
    return 0;
}

int hunt_mutant(int number, double seconds) {
#ifdef STOA_MUTANTS
    select_mutant(number);
#else
    std::fprintf(stderr, "stoa-sim: mutant %d is not in this build (preset mutants)\n", number);
    static_cast<void>(seconds);
    return 2;
#endif
    const Clock clock(seconds);
    // What is quick comes first: sequences without a search, some seeds; then what takes long.
    RunOptions options;
    const auto seeds_catch = [&](uint64_t until) -> bool {
        for (; options.seed < until && !clock.over(); ++options.seed) {
            set_running(fmt::format("{} (mutant {})", replay_command(options), number));
            const RunResult result = run_seed(options);
            if (!result.verdict.failed()) continue;
            caught(result.verdict);
            return true;
        }
        return false;
    };
    for (const bool searched : {false, true}) {
        for (const Sequence& sequence : must_have_sequences()) {
            if (sequence.crashes != searched) continue;
            Verdict verdict;
            if (!run_sequence(sequence, std::min(5.0, clock.left()), verdict)) {
                return caught(verdict);
            }
        }
        if (!searched && seeds_catch(60)) return 0;
    }
    for (size_t length = 1; length <= 2 && !clock.over(); ++length) {
        set_running(fmt::format("STOA_MUTANT={} stoa-sim --exhaustive {}", number, length));
        const ExhaustiveResult result =
            run_exhaustive({.length = length, .seconds_max = std::min(clock.left(), seconds / 4)});
        if (result.verdict.failed()) return caught(result.verdict);
    }
    if (seeds_catch(~uint64_t{0})) return 0;
    std::printf("mutant %d was not caught\n", number);
    return 1;
}

int run(int count, char** words) {
    const Arguments arguments = Arguments::parse(count, words);
    if (arguments.has("help")) return print("{}", kUsage), 0;
    if (arguments.has("version")) return print("stoa-sim {}\n", STOA_VERSION), 0;
    std::signal(SIGABRT, say_and_die);
    std::signal(SIGSEGV, say_and_die);
    std::signal(SIGALRM, say_and_die);
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    const auto seconds = static_cast<double>(arguments.number("budget-seconds", 1'000'000));
    if (arguments.has("mutant")) {
        return hunt_mutant(static_cast<int>(arguments.number("mutant", 0)), seconds);
    }
    if (arguments.has("exhaustive")) {
        return run_exhaustively(arguments, seconds);
    }
    if (arguments.has("sequence")) return run_sequences(arguments.values.at("sequence"), seconds);
    return run_seeds(arguments);
}

}  // namespace
}  // namespace stoa::simtest

int main(int count, char** words) {
    const int exit_code = stoa::simtest::run(count, words);
    return stoa::finish_output("stoa-sim") ? exit_code : 1;
}
