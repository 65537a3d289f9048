#include "controlplane/host/process.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <string_view>

#include <fmt/format.h>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include "controlplane/host/files.h"
#include "controlplane/host/launch/pidfd.h"
#include "controlplane/host/launch/process_stat.h"
#include "controlplane/host/spawn.h"

namespace stoa::host {

namespace {

constexpr size_t kProcFileBytesMax = size_t{4} << 20;
constexpr size_t kCommandLineBytesMax = 4096;
constexpr size_t kStatusBytesMax = 65536;
// The keeper needs a moment after the program's end to write how it was.
constexpr std::chrono::milliseconds kStatusEvery{5};
constexpr std::chrono::milliseconds kStatusWithin{1000};

bool is_readable(int pidfd) {
    pollfd poll{.fd = pidfd, .events = POLLIN, .revents = 0};
    return ::poll(&poll, 1, 0) == 1;
}

Result<ProcessStat> stat_of(int32_t pid) {
    const auto text = read_file(fmt::format("/proc/{}/stat", pid), kProcFileBytesMax);
    if (!text.ok()) {
        return Error(ErrorCode::not_found, fmt::format("process {}: does not exist", pid));
    }
    return parse_process_stat(*text);
}

}  // namespace

std::string ExitStatus::to_string() const {
    if (code) return fmt::format("exit code {}", *code);
    if (signal) {
        const char* name = ::sigdescr_np(*signal);
        return fmt::format("killed by signal {} ({})", *signal, name != nullptr ? name : "unknown");
    }
    return "ended, exit status unknown";
}

Result<std::string> boot_id() {
    TRY_ASSIGN(std::string text, read_file("/proc/sys/kernel/random/boot_id", kStatusBytesMax));
    text.resize(std::min(text.find('\n'), text.size()));
    return text;
}

std::string command_line(int32_t pid) {
    auto text = read_file(fmt::format("/proc/{}/cmdline", pid), kProcFileBytesMax);
    if (!text.ok()) return "";
    while (text->ends_with('\0')) text->pop_back();
    std::ranges::replace(*text, '\0', ' ');
    if (text->size() > kCommandLineBytesMax) text->resize(kCommandLineBytesMax);
    return *text;
}

Result<ProcessIdentity> identify(int32_t pid) {
    TRY_ASSIGN(const ProcessStat stat, stat_of(pid));
    if (stat.state == 'Z' || stat.state == 'X') {
        return Error(ErrorCode::not_found, fmt::format("process {}: has ended", pid));
    }
    TRY_ASSIGN(std::string boot, boot_id());
    return ProcessIdentity{.pid = pid, .start_ticks = stat.start_ticks, .boot_id = std::move(boot)};
}

Result<ProcessStatus> read_process_status(const std::string& path) {
    TRY_ASSIGN(const std::string text, read_file(path, kStatusBytesMax));
    const auto json = parse_json(text);
    ProcessStatus status;
    if (!json.ok() || !from_json(*json, status).ok()) {
        return Error(ErrorCode::corrupt, "file " + path + ": is no status of a process");
    }
    return status;
}

struct Process::State {
    ProcessIdentity identity;
    std::string status;
    asio::posix::stream_descriptor pidfd;
};

Process::Process(std::unique_ptr<State> state) : state_(std::move(state)) {}
Process::Process(Process&&) noexcept = default;
Process& Process::operator=(Process&&) noexcept = default;
Process::~Process() = default;

Result<Process> Process::adopt(asio::any_io_executor executor, const ProcessIdentity& identity,
                               const std::string& marker, std::string status) {
    const auto gone = [&identity] {
        return Error(ErrorCode::not_found, fmt::format("process {}: has ended", identity.pid));
    };
    const auto other = [&identity] {
        return Error(ErrorCode::conflict, fmt::format("process {}: is another one by now: {}",
                                                      identity.pid, command_line(identity.pid)));
    };
    TRY_ASSIGN(const std::string boot, boot_id());
    if (boot != identity.boot_id || identity.pid <= 0) return gone();
    // From here on the pidfd means one process; what /proc says is of it if it lives afterwards.
    Descriptor pidfd(::pidfd_open(identity.pid, 0));
    if (!pidfd.is_open() && (errno == ESRCH || errno == EINVAL)) return gone();
    if (!pidfd.is_open()) {
        return system_error(fmt::format("process {}: cannot open", identity.pid), errno);
    }
    const auto stat = stat_of(identity.pid);
    const auto command =
        read_file(fmt::format("/proc/{}/cmdline", identity.pid), kProcFileBytesMax);
    if (stat.ok() && stat->start_ticks != identity.start_ticks) return other();
    if (!stat.ok() || !command.ok() || is_readable(pidfd.get())) return gone();
    if (!command->contains(marker)) return other();
    return Process(std::make_unique<State>(
        State{.identity = identity,
              .status = std::move(status),
              .pidfd = asio::posix::stream_descriptor(executor, pidfd.release())}));
}

const ProcessIdentity& Process::identity() const { return state_->identity; }

bool Process::has_ended() const { return is_readable(state_->pidfd.native_handle()); }

Async<ExitStatus> Process::exited() {
    State& state = *state_;
    const auto [code] =
        co_await state.pidfd.async_wait(asio::posix::stream_descriptor::wait_read, kAwait);
    if (code) co_return failed("wait for a process", code);
    co_return co_await find_exit_status(state.status, state.identity);
}

asio::awaitable<ExitStatus> find_exit_status(std::string status_path, ProcessIdentity process) {
    if (status_path.empty()) co_return ExitStatus{};
    asio::steady_timer timer(co_await asio::this_coro::executor);
    for (auto waited = std::chrono::milliseconds(0); waited < kStatusWithin;
         waited += kStatusEvery) {
        const auto found = read_process_status(status_path);
        if (!found.ok() || found->process != process) break;
        if (found->ended) co_return ExitStatus{.code = found->exit_code, .signal = found->signal};
        timer.expires_after(kStatusEvery);
        const auto [cancelled] = co_await timer.async_wait(kAwait);
        if (cancelled) break;
    }
    co_return ExitStatus{};
}

Result<void> Process::signal(int number) {
    if (::pidfd_send_signal(state_->pidfd.native_handle(), number, nullptr, 0) == 0) return {};
    return system_error(
        fmt::format("process {}: cannot send signal {}", state_->identity.pid, number), errno);
}

Result<void> Process::kill() { return signal(SIGKILL); }

}  // namespace stoa::host
