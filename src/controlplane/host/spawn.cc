#include "controlplane/host/spawn.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <utility>

#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/this_coro.hpp>

#include "base/check.h"
#include "controlplane/host/launch/pidfd.h"

namespace stoa::host {

namespace {

// posix_spawn's file actions and attributes, freed at the end.
class Plan {
public:
    Plan() {
        CHECK(::posix_spawn_file_actions_init(&actions_) == 0);
        CHECK(::posix_spawnattr_init(&attributes_) == 0);
    }
    Plan(const Plan&) = delete;
    Plan& operator=(const Plan&) = delete;
    ~Plan() {
        ::posix_spawn_file_actions_destroy(&actions_);
        ::posix_spawnattr_destroy(&attributes_);
    }

    void fill(const SpawnSpec& spec, const std::vector<Descriptor>& high) {
        sigset_t none;
        sigset_t all;
        ::sigemptyset(&none);
        ::sigfillset(&all);
        CHECK(::posix_spawnattr_setsigmask(&attributes_, &none) == 0);
        CHECK(::posix_spawnattr_setsigdefault(&attributes_, &all) == 0);
        int flags = POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF;
        flags |= spec.own_session ? static_cast<int>(POSIX_SPAWN_SETSID)
                                  : static_cast<int>(POSIX_SPAWN_SETPGROUP);
        CHECK(::posix_spawnattr_setflags(&attributes_, static_cast<short>(flags)) == 0);
        int number = 0;
        for (const Descriptor& one : high) {
            if (one.is_open()) {
                CHECK(::posix_spawn_file_actions_adddup2(&actions_, one.get(), number) == 0);
            } else {
                CHECK(::posix_spawn_file_actions_addopen(&actions_, number, "/dev/null", O_RDWR,
                                                         0) == 0);
            }
            ++number;
        }
        CHECK(::posix_spawn_file_actions_addclosefrom_np(&actions_, number) == 0);
    }

    [[nodiscard]] const posix_spawn_file_actions_t* actions() const { return &actions_; }
    [[nodiscard]] const posix_spawnattr_t* attributes() const { return &attributes_; }

private:
    posix_spawn_file_actions_t actions_{};
    posix_spawnattr_t attributes_{};
};

// Copies above all numbers of the child, so that no dup2 covers one that is still needed.
Result<std::vector<Descriptor>> copy_high(const std::vector<int>& descriptors) {
    std::vector<Descriptor> high;
    for (const int one : descriptors) {
        high.emplace_back(
            one < 0 ? -1 : ::fcntl(one, F_DUPFD_CLOEXEC, static_cast<int>(descriptors.size()) + 1));
        if (one >= 0 && !high.back().is_open()) return system_error("descriptor", errno);
    }
    return high;
}

std::vector<char*> pointers(const std::vector<std::string>& texts) {
    std::vector<char*> result;
    result.reserve(texts.size() + 1);
    for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
    result.push_back(nullptr);
    return result;
}

}  // namespace

struct Child::Watch {
    asio::posix::stream_descriptor pidfd;
};

Child::Child(int32_t pid, std::unique_ptr<Watch> watch) : pid_(pid), watch_(std::move(watch)) {}
Child::Child(Child&& other) noexcept
    : pid_(std::exchange(other.pid_, 0)), watch_(std::move(other.watch_)) {}
Child::~Child() { CHECK(pid_ == 0); }

Result<Child> Child::spawn(const asio::any_io_executor& executor, const SpawnSpec& spec) {
    TRY_ASSIGN(const std::vector<Descriptor> high, copy_high(spec.descriptors));
    Plan plan;
    plan.fill(spec, high);
    std::vector<std::string> arguments{spec.program};
    arguments.insert(arguments.end(), spec.arguments.begin(), spec.arguments.end());
    pid_t pid = 0;
    const int failed = ::posix_spawn(&pid, spec.program.c_str(), plan.actions(), plan.attributes(),
                                     pointers(arguments).data(), pointers(spec.environment).data());
    if (failed != 0) return system_error("program " + spec.program + ": cannot start", failed);
    Descriptor pidfd(::pidfd_open(pid, 0));
    if (!pidfd.is_open()) {
        Error error = system_error("program " + spec.program + ": cannot watch", errno);
        ::kill(pid, SIGKILL);
        while (::waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
        }
        return error;
    }
    return Child(
        pid, std::make_unique<Watch>(asio::posix::stream_descriptor(executor, pidfd.release())));
}

void Child::kill_group() const { ::kill(-pid_, SIGKILL); }

asio::awaitable<bool> Child::ended() {
    const auto [code] =
        co_await watch_->pidfd.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
    co_return !code;
}

asio::awaitable<ExitStatus> Child::reap() {
    siginfo_t how{};
    while (true) {
        how.si_pid = 0;
        const int failed = ::waitid(P_PIDFD, static_cast<id_t>(watch_->pidfd.native_handle()), &how,
                                    WEXITED | WNOHANG);
        if (failed == 0 && how.si_pid != 0) break;
        // ECHILD: somebody set SIGCHLD to be ignored; then there is no status.
        if (failed != 0 && errno != EINTR) break;
        co_await ended();
    }
    pid_ = 0;
    ExitStatus status;
    if (how.si_pid != 0 && how.si_code == CLD_EXITED) status.code = how.si_status;
    if (how.si_pid != 0 && how.si_code != CLD_EXITED) status.signal = how.si_status;
    co_return status;
}

Result<Pipe> make_pipe() {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) return system_error("pipe", errno);
    return Pipe{.reader = Descriptor(ends[0]), .writer = Descriptor(ends[1])};
}

}  // namespace stoa::host
