// stoad's side (controlplane/host/process.h) and the helper together, with real programs, killed at
// awkward moments.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <map>
#include <set>
#include <sstream>

#include "controlplane/async/deadline.h"
#include "controlplane/host/files.h"
#include "controlplane/host/kvm_probe.h"
#include "controlplane/host/launch/process_stat.h"
#include "controlplane/host/process.h"
#include "controlplane/host/test_host.h"

using namespace stoa;
using namespace stoa::host;

namespace {

constexpr const char* kShell = "/bin/sh";

class LaunchTest : public testing::Test {
protected:
    LaunchSpec shell(const std::string& script) {
        LaunchSpec spec;
        spec.program = kShell;
        spec.arguments = {"-c", script, marker_};
        spec.environment = {"PATH=/usr/bin:/bin"};
        spec.log = directory_.file("log");
        spec.status = directory_.file("status");
        return spec;
    }
    Result<Launched> start(const LaunchSpec& spec, std::vector<int> passed = {}) {
        return run(loop_, launch(spec, std::move(passed), options_));
    }
    ExitStatus wait(Process& process) {
        auto status = run(loop_, process.exited());
        EXPECT_TRUE(status.ok());
        return status.ok() ? *status : ExitStatus{};
    }
    std::string read(const std::string& name) {
        auto text = read_file(directory_.file(name), size_t{64} << 20);
        return text.ok() ? *text : "";
    }
    // The keeper is the parent of the program.
    static int32_t parent_of(int32_t pid) {
        const auto text = read_file("/proc/" + std::to_string(pid) + "/stat", 65536);
        const auto stat = text.ok() ? parse_process_stat(*text) : Error(ErrorCode::io, "");
        return stat.ok() ? stat->parent : -1;
    }
    static bool is_gone(int32_t pid) { return !identify(pid).ok(); }
    // Waits for the file that the script writes last.
    bool appears(const std::string& name) {
        return eventually([&] { return std::filesystem::exists(directory_.file(name)); });
    }

    TestDirectory directory_;
    asio::io_context loop_;
    LaunchOptions options_{.helper = std::getenv("STOA_PROGRAM")};
    std::string marker_ = "8c4f5a52-0000-4000-8000-" + std::to_string(::getpid() + 100000000000);
};

}  // namespace

TEST_F(LaunchTest, the_exit_code_and_the_last_words_are_known) {
    auto launched = start(shell("sleep 0.2; echo out; echo err >&2; exit 7"));
    ASSERT_TRUE(launched.ok()) << launched.error().message();
    const ExitStatus status = wait(launched->process);
    EXPECT_EQ(status.code, 7);
    EXPECT_EQ(status.to_string(), "exit code 7");
    EXPECT_EQ(read("log"), "out\nerr\n");
    EXPECT_TRUE(launched->warnings.empty());
}

TEST_F(LaunchTest, the_signal_that_killed_it_is_known) {
    auto launched = start(shell("exec sleep 100"));
    ASSERT_TRUE(launched.ok()) << launched.error().message();
    EXPECT_FALSE(launched->process.has_ended());
    ASSERT_TRUE(launched->process.kill().ok());
    const ExitStatus status = wait(launched->process);
    EXPECT_EQ(status.signal, SIGKILL);
    EXPECT_TRUE(launched->process.has_ended());
    EXPECT_EQ(launched->process.signal(SIGTERM).error().code(), ErrorCode::not_found);
}

TEST_F(LaunchTest, what_ends_at_once_says_how) {
    auto launched = start(shell("echo wrong argument >&2; exit 3"));
    if (launched.ok()) {
        EXPECT_EQ(wait(launched->process).code, 3);
    } else {
        EXPECT_NE(launched.error().message().find("exit code 3"), std::string::npos)
            << launched.error().message();
    }
}

TEST_F(LaunchTest, a_failed_exec_names_step_and_reason) {
    LaunchSpec spec = shell("");
    spec.program = "/nonexistent/program";
    auto launched = start(spec);
    ASSERT_FALSE(launched.ok());
    EXPECT_EQ(launched.error().code(), ErrorCode::not_found);
    EXPECT_EQ(launched.error().message(),
              "launch of /nonexistent/program: exec: no such file or directory");
    EXPECT_FALSE(std::filesystem::exists(spec.status));

    spec = shell("");
    spec.directory = "/nonexistent";
    launched = start(spec);
    ASSERT_FALSE(launched.ok());
    EXPECT_NE(launched.error().message().find("directory /nonexistent"), std::string::npos);

    spec = shell("");
    spec.program = directory_.file("plain");
    ASSERT_TRUE(replace_file(spec.program, "text").ok());
    launched = start(spec);
    ASSERT_FALSE(launched.ok());
    EXPECT_EQ(launched.error().code(), ErrorCode::denied);

    spec = shell("");
    spec.cgroups = {directory_.path()};
    launched = start(spec);
    ASSERT_FALSE(launched.ok());
    EXPECT_NE(launched.error().message().find("cgroup " + directory_.path()), std::string::npos);

    spec = shell("");
    spec.log = "/nonexistent/log";
    EXPECT_NE(start(spec).error().message().find("log /nonexistent/log"), std::string::npos);
    spec = shell("");
    spec.status = "/nonexistent/status";
    EXPECT_NE(start(spec).error().message().find("status /nonexistent/status"), std::string::npos);
}

TEST_F(LaunchTest, a_missing_or_foreign_helper_is_an_error_not_a_hang) {
    options_.helper = "/nonexistent/stoa-launch";
    EXPECT_EQ(start(shell("")).error().code(), ErrorCode::not_found);
    options_.helper = "/bin/true";
    EXPECT_EQ(start(shell("")).error().code(), ErrorCode::io);
    options_.helper = directory_.file("stuck");
    ASSERT_TRUE(replace_file(options_.helper, "#!/bin/sh\nsleep 100\n", {.mode = 0700}).ok());
    options_.limit = std::chrono::milliseconds(200);
    EXPECT_EQ(start(shell("")).error().code(), ErrorCode::timeout);
}

TEST_F(LaunchTest, it_leads_a_session_and_leaves_no_parent_to_reap_it) {
    auto launched = start(shell("exec sleep 100"));
    ASSERT_TRUE(launched.ok()) << launched.error().message();
    const int32_t pid = launched->process.identity().pid;
    EXPECT_EQ(::getsid(pid), pid);
    const int32_t keeper = parent_of(pid);
    EXPECT_NE(keeper, ::getpid());
    EXPECT_NE(parent_of(keeper), ::getpid());
    EXPECT_EQ(::getsid(keeper), keeper);
    EXPECT_LT(::waitpid(-1, nullptr, WNOHANG), 0) << "a child is left";
    ASSERT_TRUE(launched->process.kill().ok());
    wait(launched->process);
    EXPECT_TRUE(eventually([&] { return is_gone(keeper); }));
}

TEST_F(LaunchTest, it_outlives_its_keeper_and_may_still_print) {
    auto launched = start(shell("while [ ! -e " + directory_.file("go") +
                                " ]; do sleep 0.01; done; echo lost; echo lost >&2; touch " +
                                directory_.file("done") + "; exec sleep 100"));
    ASSERT_TRUE(launched.ok()) << launched.error().message();
    const int32_t keeper = parent_of(launched->process.identity().pid);
    ASSERT_EQ(::kill(keeper, SIGKILL), 0);
    ASSERT_TRUE(eventually([&] { return is_gone(keeper); }));
    ASSERT_TRUE(replace_file(directory_.file("go"), "").ok());
    EXPECT_TRUE(appears("done"));
    EXPECT_FALSE(launched->process.has_ended());
    ASSERT_TRUE(launched->process.kill().ok());
    const ExitStatus status = wait(launched->process);
    EXPECT_EQ(status.to_string(), "ended, exit status unknown");
}

TEST_F(LaunchTest, it_outlives_who_ordered_it_and_is_adopted_by_another) {
    const pid_t stoad = ::fork();
    ASSERT_GE(stoad, 0);
    if (stoad == 0) {
        asio::io_context loop;
        auto launched = run(loop, launch(shell("sleep 0.5; exit 9"), {}, options_));
        if (!launched.ok()) ::_exit(1);
        ::kill(::getpid(), SIGKILL);
    }
    int how = 0;
    ASSERT_EQ(::waitpid(stoad, &how, 0), stoad);
    ASSERT_TRUE(WIFSIGNALED(how));
    const auto status = read_process_status(directory_.file("status"));
    ASSERT_TRUE(status.ok());
    auto process =
        Process::adopt(loop_.get_executor(), status->process, marker_, directory_.file("status"));
    ASSERT_TRUE(process.ok()) << process.error().message();
    EXPECT_EQ(wait(*process).code, 9);
    // And a third one, who comes too late, learns it from the file.
    EXPECT_EQ(Process::adopt(loop_.get_executor(), status->process, marker_, "").error().code(),
              ErrorCode::not_found);
    EXPECT_EQ(read_process_status(directory_.file("status"))->exit_code, 9);
}

TEST_F(LaunchTest, only_the_same_process_is_adopted) {
    auto launched = start(shell("while :; do sleep 0.05; done"));
    ASSERT_TRUE(launched.ok()) << launched.error().message();
    const auto executor = loop_.get_executor();
    ProcessIdentity identity = launched->process.identity();
    EXPECT_TRUE(Process::adopt(executor, identity, marker_, "").ok());
    EXPECT_EQ(Process::adopt(executor, identity, "another uuid", "").error().code(),
              ErrorCode::conflict);
    ++identity.start_ticks;
    EXPECT_EQ(Process::adopt(executor, identity, marker_, "").error().code(), ErrorCode::conflict);
    --identity.start_ticks;
    identity.boot_id = "of another boot";
    EXPECT_EQ(Process::adopt(executor, identity, marker_, "").error().code(), ErrorCode::not_found);
    ASSERT_TRUE(launched->process.kill().ok());
    wait(launched->process);
}

TEST_F(LaunchTest, exited_ends_when_the_caller_is_cancelled) {
    auto launched = start(shell("exec sleep 100"));
    ASSERT_TRUE(launched.ok()) << launched.error().message();
    auto status =
        run(loop_, within(std::chrono::milliseconds(20), "it", launched->process.exited()));
    EXPECT_EQ(status.error().code(), ErrorCode::timeout);
    ASSERT_TRUE(launched->process.kill().ok());
    EXPECT_EQ(wait(launched->process).signal, SIGKILL);
}

TEST_F(LaunchTest, arguments_are_not_read_by_a_shell) {
    LaunchSpec spec = shell("");
    spec.program = "/usr/bin/printf";
    const std::string evil = "$(touch " + directory_.file("evil") + "); `id` 'a\" \\ \n ; & |";
    spec.arguments = {"%s\n%s\n", evil, ""};
    auto launched = start(spec);
    if (launched.ok()) wait(launched->process);
    EXPECT_TRUE(eventually([&] { return read("log") == evil + "\n\n"; })) << read("log");
    EXPECT_FALSE(std::filesystem::exists(directory_.file("evil")));
}

TEST_F(LaunchTest, it_has_only_the_descriptors_that_were_passed) {
    std::array<int, 2> ends{};
    ASSERT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
    const int leaked = ::open("/etc/passwd", O_RDONLY);  // without close-on-exec
    // No redirection: the shell would keep a copy for a moment.
    LaunchSpec spec = shell("echo through >&9; exec ls -l /proc/self/fd");
    spec.descriptors = {9};
    auto launched = start(spec, {ends[1]});
    ::close(ends[1]);
    ::close(leaked);
    if (launched.ok()) wait(launched->process);
    EXPECT_TRUE(eventually([&] { return read("log").contains(" 9 -> pipe:"); })) << read("log");
    std::istringstream lines(read("log"));
    std::set<std::string> numbers;
    for (std::string line; std::getline(lines, line);) {
        const size_t arrow = line.find(" -> ");
        // What ls itself opened is no matter.
        if (arrow == std::string::npos || line.find(" -> /proc/") == arrow) continue;
        const size_t begin = line.rfind(' ', arrow - 1) + 1;
        numbers.insert(line.substr(begin, arrow - begin));
    }
    EXPECT_EQ(numbers, (std::set<std::string>{"0", "1", "2", "9"})) << read("log");
    std::array<char, 64> text{};
    ASSERT_EQ(::read(ends[0], text.data(), text.size()), 8);
    // Nobody else kept the writing end: the keeper neither.
    EXPECT_EQ(::read(ends[0], text.data(), text.size()), 0);
    ::close(ends[0]);
}

TEST_F(LaunchTest, descriptors_may_change_places) {
    std::array<int, 2> first{};
    std::array<int, 2> second{};
    ASSERT_EQ(::pipe2(first.data(), O_CLOEXEC), 0);
    ASSERT_EQ(::pipe2(second.data(), O_CLOEXEC), 0);
    LaunchSpec spec = shell("echo one >&4; echo two >&3");
    spec.descriptors = {4, 3};
    auto launched = start(spec, {first[1], second[1]});
    if (launched.ok()) wait(launched->process);
    std::array<char, 64> text{};
    ASSERT_EQ(::read(first[0], text.data(), text.size()), 4);
    EXPECT_EQ(std::string(text.data(), 4), "one\n");
    ASSERT_EQ(::read(second[0], text.data(), text.size()), 4);
    EXPECT_EQ(std::string(text.data(), 4), "two\n");
    for (const int one : {first[0], first[1], second[0], second[1]}) ::close(one);
}

TEST_F(LaunchTest, the_log_keeps_the_newest_and_is_limited) {
    LaunchSpec spec = shell(
        "i=0; while [ $i -lt 4000 ]; do echo \"line $i of what a guest prints\"; "
        "i=$((i+1)); [ $((i % 200)) = 0 ] && sleep 0.002; done; echo end");
    spec.log_bytes_max = 16384;
    auto launched = start(spec);
    ASSERT_TRUE(launched.ok()) << launched.error().message();
    EXPECT_EQ(wait(launched->process).code, 0);
    EXPECT_TRUE(read("log").ends_with("end\n"));
    EXPECT_LE(read("log").size() + read("log.1").size(), 16384U);
    EXPECT_GE(read("log").size() + read("log.1").size(), 8000U);
}

TEST_F(LaunchTest, limits_umask_directory_and_environment_are_set) {
    LaunchSpec spec = shell(
        "ulimit -n; ulimit -c; umask; pwd; echo $WORD; env | grep -c LAUNCH; "
        "grep NoNewPrivs /proc/self/status; readlink /proc/self/fd/0");
    spec.limits = {{.name = "nofile", .soft = 100, .hard = 200},
                   {.name = "core", .soft = 0, .hard = 0}};
    spec.umask = 027;
    spec.directory = "/usr";
    spec.environment.emplace_back("WORD=a b");
    ::setenv("LAUNCH_TEST", "is not inherited", 1);
    auto launched = start(spec);
    if (launched.ok()) wait(launched->process);
    EXPECT_TRUE(eventually([&] { return read("log").contains("null"); }));
    EXPECT_EQ(read("log"), "100\n0\n0027\n/usr\na b\n0\nNoNewPrivs:\t1\n/dev/null\n");
}

TEST_F(LaunchTest, what_is_not_permitted_is_a_warning) {
    LaunchSpec spec = shell("sleep 0.3; cat /proc/self/oom_score_adj");
    spec.oom_score_adjust = 300;
    spec.limits = {{.name = "nofile", .soft = 1'000'000'000, .hard = 1'000'000'000}};
    auto launched = start(spec);
    ASSERT_TRUE(launched.ok()) << launched.error().message();
    ASSERT_EQ(launched->warnings.size(), 1U);
    EXPECT_EQ(launched->warnings[0], "limit nofile: not permitted, left as it is");
    wait(launched->process);
    EXPECT_EQ(read("log"), "300\n");
}

TEST_F(LaunchTest, it_becomes_another_user_without_groups) {
    if (::geteuid() != 0) GTEST_SKIP() << "needs root";
    LaunchSpec spec =
        shell("id -u; id -g; id -G; grep -c 'CapEff:.0000000000000000' /proc/self/status");
    spec.uid = 61234;
    spec.gid = 61235;
    auto launched = start(spec);
    if (launched.ok()) wait(launched->process);
    EXPECT_TRUE(eventually([&] { return read("log") == "61234\n61235\n61235\n1\n"; }))
        << read("log");
    // What it is told to write to belongs to us.
    struct stat there{};
    ASSERT_EQ(::stat(directory_.file("log").c_str(), &there), 0);
    EXPECT_EQ(there.st_uid, 0U);
    EXPECT_EQ(there.st_mode & 0777U, 0600U);
}

TEST_F(LaunchTest, many_launches_leave_nothing_behind) {
    const auto open_descriptors = [] { return list_directory("/proc/self/fd")->size(); };
    size_t before = 0;
    for (int i = 0; i < 12; ++i) {
        LaunchSpec spec = shell("exit 0");
        spec.status = directory_.file("status" + std::to_string(i));
        if (i % 4 == 3) spec.program = "/nonexistent";
        auto launched = start(spec);
        if (launched.ok()) wait(launched->process);
        if (i == 3) before = open_descriptors();
    }
    EXPECT_EQ(open_descriptors(), before);
    EXPECT_LT(::waitpid(-1, nullptr, WNOHANG), 0);
    // Nothing of ours runs any more.
    EXPECT_TRUE(eventually([&] {
        const auto processes = list_directory("/proc");
        return std::ranges::none_of(*processes, [&](const std::string& name) {
            return name.find_first_not_of("0123456789") == std::string::npos &&
                   command_line(std::stoi(name)).contains(marker_);
        });
    }));
}

// The keeper is killed at a random moment of the launch: there is either no program, or one that
// the status file names.
TEST_F(LaunchTest, a_helper_killed_at_any_moment_leaves_no_unnamed_program) {
    const std::string ran = directory_.file("ran");
    // A name of its own, so that no helper of another test is killed.
    std::filesystem::copy_file(options_.helper, directory_.file("helper"));
    options_.helper = directory_.file("helper");
    for (int i = 0; i < 25; ++i) {
        std::error_code ignored;
        std::filesystem::remove(directory_.file("status"), ignored);
        LaunchSpec spec = shell("echo $$ > " + ran + "; exec sleep 100");
        std::filesystem::remove(ran, ignored);
        options_.limit = std::chrono::milliseconds(2000);
        std::thread killer([&] {
            pause_for(std::chrono::microseconds(300 * i));
            for (const std::string& name : *list_directory("/proc")) {
                if (name.find_first_not_of("0123456789") != std::string::npos) continue;
                const int32_t pid = std::stoi(name);
                if (command_line(pid) == options_.helper) ::kill(pid, SIGKILL);
            }
        });
        auto launched = start(spec);
        killer.join();
        pause_for(std::chrono::milliseconds(30));
        const auto status = read_process_status(spec.status);
        if (std::filesystem::exists(ran)) {
            ASSERT_TRUE(status.ok()) << "a program runs that no file names";
        }
        if (!status.ok() || status->ended) continue;
        auto process = Process::adopt(loop_.get_executor(), status->process, "", spec.status);
        if (process.ok()) {
            ASSERT_TRUE(process->kill().ok());
            wait(*process);
        }
    }
}

// Whatever this machine's KVM does, the probe ends in time and says why.
TEST_F(LaunchTest, the_kvm_probe_ends_with_a_reason) {
    const auto probe = run(loop_, probe_kvm({.helper = options_.helper}));
    ASSERT_TRUE(probe.ok());
    EXPECT_FALSE(probe->reason.empty());
    EXPECT_EQ(probe->usable, probe->operations_per_second >= kKvmOperationsPerSecondMin);
}
