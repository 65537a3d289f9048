#include "apps/launch/child.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace stoa::apps::launch {

namespace {

constexpr int kFailed = 127;
constexpr int kFirstSafeNumber = static_cast<int>(host::kPassedNumberMax) + 1;

class Reporter {
public:
    explicit Reporter(int pipe) : pipe_(pipe) {}

    void warn(std::string_view step, int error, std::string_view what = "") const {
        send(step, error, what, true);
    }
    [[noreturn]] void fail(std::string_view step, int error, std::string_view what = "") const {
        send(step, error, what, false);
        ::_exit(kFailed);
    }

private:
    void send(std::string_view step, int error, std::string_view what, bool is_warning) const {
        ChildMessage message;
        message.error = error;
        message.is_warning = is_warning;
        std::copy_n(step.data(), std::min(step.size(), message.step.size() - 1),
                    message.step.data());
        std::copy_n(what.data(), std::min(what.size(), message.what.size() - 1),
                    message.what.data());
        // Less than PIPE_BUF: whole or not at all. Nobody reads: then nobody wants to know.
        static_cast<void>(!::write(pipe_, &message, sizeof message));
    }

    int pipe_;
};

void reset_signals() {
    for (int number = 1; number < NSIG; ++number) ::signal(number, SIG_DFL);
    // The keeper reads what the program prints. If it is killed, the program must not die of that.
    ::signal(SIGPIPE, SIG_IGN);
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

int move_high(int number, const Reporter& reporter) {
    const int high = ::fcntl(number, F_DUPFD_CLOEXEC, kFirstSafeNumber);
    if (high < 0) reporter.fail("descriptors", errno);
    return high;
}

void place(int from, int number, const Reporter& reporter) {
    if (::dup2(from, number) < 0) reporter.fail("descriptors", errno);
}

// Afterwards only 0, 1, 2 and what was ordered outlives exec.
void place_descriptors(const Order& order, int log, const Reporter& reporter) {
    std::vector<int> high;
    for (const int one : order.descriptors) high.push_back(move_high(one, reporter));
    const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) reporter.fail("descriptors", errno, "/dev/null");
    if (::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC) != 0) reporter.fail("descriptors", errno);
    place(null, STDIN_FILENO, reporter);
    place(log >= 0 ? log : null, STDOUT_FILENO, reporter);
    place(STDOUT_FILENO, STDERR_FILENO, reporter);
    for (size_t i = 0; i < high.size(); ++i) {
        place(high[i], static_cast<int>(order.spec.descriptors[i]), reporter);
    }
}

int limit_number(std::string_view name) {
    if (name == "nofile") return RLIMIT_NOFILE;
    if (name == "nproc") return RLIMIT_NPROC;
    if (name == "core") return RLIMIT_CORE;
    if (name == "memlock") return RLIMIT_MEMLOCK;
    if (name == "as") return RLIMIT_AS;
    if (name == "fsize") return RLIMIT_FSIZE;
    return RLIMIT_STACK;  // check_launch() knows no other
}

void set_limits(const host::LaunchSpec& spec, const Reporter& reporter) {
    for (const host::ResourceLimit& limit : spec.limits) {
        const auto number = static_cast<__rlimit_resource_t>(limit_number(limit.name));
        rlimit wanted{.rlim_cur = limit.soft, .rlim_max = limit.hard};
        if (::setrlimit(number, &wanted) == 0) continue;
        // Without CAP_SYS_RESOURCE a hard limit cannot be raised: as much as there is, then.
        rlimit now{};
        const int error = errno;
        if (error != EPERM || ::getrlimit(number, &now) != 0) {
            reporter.fail("limit", error, limit.name);
        }
        wanted.rlim_max = std::min(wanted.rlim_max, now.rlim_max);
        wanted.rlim_cur = std::min(wanted.rlim_cur, wanted.rlim_max);
        if (::setrlimit(number, &wanted) != 0) reporter.fail("limit", errno, limit.name);
        reporter.warn("limit", error, limit.name);
    }
}

void adjust_oom(const host::LaunchSpec& spec, const Reporter& reporter) {
    if (!spec.oom_score_adjust) return;
    const std::string text = std::to_string(*spec.oom_score_adjust);
    const int file = ::open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (file < 0 || ::write(file, text.data(), text.size()) < 0) {
        reporter.warn("oom_score_adjust", errno, text);
    }
    if (file >= 0) ::close(file);
}

void become_user(const host::LaunchSpec& spec, const Reporter& reporter) {
    if (spec.uid) {
        if (::setgroups(0, nullptr) != 0) reporter.fail("groups", errno);
        if (::setresgid(*spec.gid, *spec.gid, *spec.gid) != 0) reporter.fail("gid", errno);
        if (::setresuid(*spec.uid, *spec.uid, *spec.uid) != 0) reporter.fail("uid", errno);
    }
    if (spec.no_new_privileges && ::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        reporter.fail("no_new_privileges", errno);
    }
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
    std::vector<char*> result;
    result.reserve(texts.size() + 1);
    for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
    result.push_back(nullptr);
    return result;
}

}  // namespace

void become(const Order& order, const ChildPipes& pipes) {
    const host::LaunchSpec& spec = order.spec;
    const Reporter reporter(::fcntl(pipes.report, F_DUPFD_CLOEXEC, kFirstSafeNumber));
    char go = 0;
    ssize_t got = 0;
    do {
        got = ::read(pipes.go, &go, 1);
    } while (got < 0 && errno == EINTR);
    if (got != 1) ::_exit(kFailed);  // the keeper died before it knew us

    reset_signals();
    if (::setsid() < 0) reporter.fail("session", errno);
    const int log = pipes.log >= 0 ? move_high(pipes.log, reporter) : -1;
    place_descriptors(order, log, reporter);
    set_limits(spec, reporter);
    adjust_oom(spec, reporter);
    become_user(spec, reporter);
    if (::chdir(spec.directory.c_str()) != 0) reporter.fail("directory", errno, spec.directory);
    ::umask(spec.umask);

    std::vector<std::string> arguments{spec.program};
    arguments.insert(arguments.end(), spec.arguments.begin(), spec.arguments.end());
    ::execve(spec.program.c_str(), pointers(arguments).data(), pointers(spec.environment).data());
    reporter.fail("exec", errno);
}

}  // namespace stoa::apps::launch
