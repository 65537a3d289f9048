#include "apps/launch/keeper.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "apps/launch/child.h"
#include "apps/launch/proc.h"
#include "apps/launch/ring_log.h"
#include "controlplane/host/launch/pidfd.h"

namespace stoa::apps::launch {

namespace {

struct Ends {
    int reader = -1;
    int writer = -1;
};

std::optional<Ends> make_pipe(int flags) {
    std::array<int, 2> ends{};
    if (::pipe2(ends.data(), O_CLOEXEC | flags) != 0) return std::nullopt;
    return Ends{.reader = ends[0], .writer = ends[1]};
}

void leave_everything() {
    ::setsid();
    static_cast<void>(!::chdir("/"));
    // It ends with its program. At shutdown everybody gets SIGTERM; the program's last words count.
    for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGPIPE}) ::signal(number, SIG_IGN);
}

// The child inherits the groups.
bool join_cgroups(Channel& channel, const host::LaunchSpec& spec) {
    for (const std::string& group : spec.cgroups) {
        const std::string path = group + "/cgroup.procs";
        const int file = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
        const bool joined = file >= 0 && ::write(file, "0", 1) == 1;
        const int error = errno;
        if (file >= 0) ::close(file);
        if (joined) continue;
        channel.refuse_errno("cgroup", error, group);
        return false;
    }
    return true;
}

class Keeper {
public:
    Keeper(Channel& channel, Order order) : channel_(channel), order_(std::move(order)) {}

    int run() {
        if (!join_cgroups(channel_, order_.spec) || !open_log() || !start()) return 1;
        channel_.close();
        watch();
        return 0;
    }

private:
    bool open_log() {
        if (order_.spec.log.empty()) return true;
        log_ = std::make_unique<RingLog>(order_.spec.log, order_.spec.log_bytes_max);
        if (!log_->open()) {
            channel_.refuse_errno("log", errno, order_.spec.log);
            return false;
        }
        return true;
    }

    bool start() {
        const auto go = make_pipe(0);
        const auto report = make_pipe(0);
        // A full pipe must not stop the program: what does not fit is lost.
        const auto log = make_pipe(O_NONBLOCK);
        if (!go || !report || !log) {
            channel_.refuse_errno("pipe", errno);
            return false;
        }
        child_ = ::fork();
        if (child_ < 0) {
            channel_.refuse_errno("fork", errno);
            return false;
        }
        if (child_ == 0) {
            // The other end of `go` must be the keeper's alone: its death is the end of file.
            ::close(go->writer);
            channel_.close();
            become(order_,
                   {.go = go->reader, .report = report->writer, .log = log_ ? log->writer : -1});
        }
        for (const int one : {go->reader, report->writer, log->writer}) ::close(one);
        // Not ours: a tap lives as long as a copy is open.
        for (const int one : order_.descriptors) ::close(one);
        log_pipe_ = log->reader;
        const bool started = let_go(go->writer, report->reader);
        ::close(report->reader);
        return started;
    }

    // Steps 2 and 3.
    bool let_go(int go, int report) {
        const std::optional<host::ProcessIdentity> identity = identify(child_);
        pidfd_ = ::pidfd_open(child_, 0);
        status_.process = identity.value_or(host::ProcessIdentity{});
        std::string step = "status";
        int error = !identity || pidfd_ < 0 ? ESRCH : write_status(order_.spec.status, status_);
        if (error == 0 && !channel_.is_open()) error = ECANCELED;  // nobody waits for it any more
        host::LaunchReply reply;
        if (error == 0) {
            static_cast<void>(!::write(go, "g", 1));
            ::close(go);
            if (wait_for_exec(report, reply)) {
                reply.process = status_.process;
                channel_.reply(reply);
                return true;
            }
        } else {
            ::close(go);
            reply.step = step;
            reply.error = error;
            reply.message = order_.spec.status;
        }
        while (::waitpid(child_, nullptr, 0) < 0 && errno == EINTR) {
        }
        if (!order_.spec.status.empty()) ::unlink(order_.spec.status.c_str());
        channel_.reply(reply);
        return false;
    }

    // The end of file is a successful exec, or a death before it.
    bool wait_for_exec(int report, host::LaunchReply& reply) const {
        while (true) {
            ChildMessage message;
            const ssize_t got = ::read(report, &message, sizeof message);
            if (got < 0 && errno == EINTR) continue;
            if (got != static_cast<ssize_t>(sizeof message)) break;
            const std::string step = message.step.data();
            const std::string what = message.what.data();
            if (!message.is_warning) {
                reply.step = step;
                reply.error = message.error;
                reply.message = what;
                return false;
            }
            reply.warnings.push_back(step + " " + what + ": not permitted, left as it is");
        }
        return true;
    }

    void watch() {
        bool is_log_open = true;
        while (true) {
            std::array<pollfd, 2> polled{
                pollfd{.fd = pidfd_, .events = POLLIN, .revents = 0},
                pollfd{.fd = is_log_open ? log_pipe_ : -1, .events = POLLIN, .revents = 0}};
            if (::poll(polled.data(), polled.size(), -1) < 0) continue;
            if (polled[1].revents != 0) is_log_open = pump();
            if (polled[0].revents == 0) continue;
            while (is_log_open && pump_once()) {
            }
            break;
        }
        int how = 0;
        while (::waitpid(child_, &how, 0) < 0 && errno == EINTR) {
        }
        timespec now{};
        ::clock_gettime(CLOCK_REALTIME, &now);
        status_.ended = true;
        status_.ended_ns = int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
        if (WIFEXITED(how)) status_.exit_code = WEXITSTATUS(how);
        if (WIFSIGNALED(how)) status_.signal = WTERMSIG(how);
        static_cast<void>(write_status(order_.spec.status, status_));
    }

    // False at the end of the pipe.
    bool pump() {
        is_pipe_closed_ = false;
        pump_once();
        return !is_pipe_closed_;
    }
    // False if there is nothing (now, or ever).
    bool pump_once() {
        std::array<char, 16384> piece{};
        const ssize_t got = ::read(log_pipe_, piece.data(), piece.size());
        if (got > 0 && log_) log_->write({piece.data(), static_cast<size_t>(got)});
        if (got == 0) is_pipe_closed_ = true;
        return got > 0;
    }

    Channel& channel_;
    Order order_;
    std::unique_ptr<RingLog> log_;
    host::ProcessStatus status_;
    pid_t child_ = 0;
    int pidfd_ = -1;
    int log_pipe_ = -1;
    bool is_pipe_closed_ = false;
};

}  // namespace

int keep(Channel& channel, Order order) {
    leave_everything();
    return Keeper(channel, std::move(order)).run();
}

}  // namespace stoa::apps::launch
