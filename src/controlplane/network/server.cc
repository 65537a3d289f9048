#include "controlplane/network/server.h"

#include <algorithm>
#include <chrono>
#include <csignal>
#include <vector>

#include <fmt/format.h>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>

#include "controlplane/async/deadline.h"
#include "controlplane/host/command.h"
#include "controlplane/host/files.h"

namespace stoa::network {

namespace {

using std::chrono::milliseconds;

constexpr uint16_t kDnsPort = 53;
constexpr milliseconds kReadyLimit{5'000};
constexpr milliseconds kReadyPoll{10};
constexpr milliseconds kEndLimit{3'000};
constexpr milliseconds kPauseMin{100};
constexpr milliseconds kPauseMax{30'000};
constexpr uint32_t kPauseDoublings = 9;
constexpr std::chrono::seconds kForgiven{60};
constexpr size_t kFileBytesMax = size_t{16} << 20;
constexpr size_t kCommandLineBytesMax = 4096;
constexpr uint64_t kLogBytesMax = uint64_t{256} << 10;
constexpr size_t kLastWordsBytesMax = 300;

AsyncVoid pause(milliseconds time) {
    asio::steady_timer timer(co_await asio::this_coro::executor, time);
    co_await timer.async_wait(kAwait);
}

// Not flushed to a disk: it is made again from the records.
Result<bool> write_if_changed(const std::string& path, const std::string& content) {
    const auto old = host::read_file(path, kFileBytesMax);
    if (old.ok() && *old == content) return false;
    host::WriteOptions options;
    options.mode = 0644;
    options.durable = false;
    TRY(host::replace_file(path, content, options));
    return true;
}

// The last line that it wrote, for people.
std::string last_words(const std::string& log_path) {
    const auto log = host::read_file(log_path, kFileBytesMax);
    if (!log.ok()) return "";
    std::string text = *log;
    while (!text.empty() && text.back() == '\n') text.pop_back();
    const size_t line = text.rfind('\n');
    if (line != std::string::npos) text.erase(0, line + 1);
    return text.substr(0, kLastWordsBytesMax);
}

AsyncVoid accepts(std::string address, bool& ready) {
    namespace ip = asio::ip;
    boost::system::error_code wrong;
    const auto parsed = ip::make_address(address, wrong);
    if (wrong) co_return;
    ip::tcp::socket client(co_await asio::this_coro::executor);
    const auto [code] = co_await client.async_connect({parsed, kDnsPort}, kAwait);
    ready = !code;
}

}  // namespace

Async<> Server::ensure(DnsmasqOptions wanted, DnsmasqFiles files, bool afresh) {
    const std::string& directory = wanted.directory;
    CO_TRY(host::make_directories(directory, 0755));
    CO_TRY_ASSIGN(const bool dhcp, write_if_changed(directory + "/dhcp-hosts", files.dhcp));
    CO_TRY_ASSIGN(const bool dns, write_if_changed(directory + "/dns-hosts", files.dns));

    const auto program = host::find_program("dnsmasq");
    if (!program) {
        co_return Error(ErrorCode::not_found,
                        "dnsmasq is not installed: install the package dnsmasq-base");
    }
    std::vector<std::string> arguments = dnsmasq_arguments(wanted);
    if (process_ == nullptr) CO_TRY(co_await adopt(directory + "/dnsmasq.status"));
    if (process_ != nullptr && !process_->has_ended()) {
        const std::string line = fmt::format("{} {}", *program, fmt::join(arguments, " "));
        if (!afresh &&
            host::command_line(process_->identity().pid) == line.substr(0, kCommandLineBytesMax)) {
            if (dhcp || dns) (void)process_->signal(SIGHUP);
            co_return Result<void>();
        }
        CO_TRY(co_await end_running());  // it serves something else
    }
    if (pausing_) {
        co_return Error(ErrorCode::io,
                        fmt::format("dnsmasq ended ({}): it is started again soon", last_words_));
    }
    co_return co_await start(wanted, std::move(arguments), *program);
}

// The one that an earlier run of this program started, if it still runs.
Async<> Server::adopt(const std::string& status_path) {
    const auto status = host::read_process_status(status_path);
    if (!status.ok() || status->ended) co_return Result<void>();
    auto process = host::Process::adopt(co_await asio::this_coro::executor, status->process,
                                        options_.marker, status_path);
    if (!process.ok()) {
        const ErrorCode code = process.error().code();
        if (code == ErrorCode::not_found || code == ErrorCode::conflict) co_return Result<void>();
        co_return process.take_error().with_context("dnsmasq");
    }
    process_ = std::make_shared<host::Process>(*std::move(process));
    watch();
    co_return Result<void>();
}

Async<> Server::start(const DnsmasqOptions& wanted, std::vector<std::string> arguments,
                      const std::string& program) {
    host::LaunchSpec spec;
    spec.program = program;
    spec.arguments = std::move(arguments);
    spec.umask = 022;
    spec.log = wanted.directory + "/dnsmasq.log";
    spec.log_bytes_max = kLogBytesMax;
    spec.status = wanted.directory + "/dnsmasq.status";
    const std::string log = spec.log;
    const std::string gateway = to_text(wanted.subnet.gateway());
    CO_TRY_ASSIGN(
        host::Launched launched,
        co_await host::launch(std::move(spec), {}, {options_.launch_helper, kReadyLimit}));
    const Running process = std::make_shared<host::Process>(std::move(launched.process));
    process_ = process;
    bool ready = false;
    for (milliseconds waited{0}; !ready && !process->has_ended() && waited < kReadyLimit;
         waited += kReadyPoll) {
        co_await accepts(gateway, ready);
        if (!ready) co_await pause(kReadyPoll);
        const auto state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) break;
    }
    watch();
    if (ready) co_return Result<void>();
    last_words_ = last_words(log);
    co_return Error(ErrorCode::io,
                    fmt::format("dnsmasq: {}: {}",
                                process->has_ended() ? "ended" : "does not answer", last_words_));
}

Async<> Server::end_running() {
    const Running process = std::exchange(process_, nullptr);
    if (process == nullptr || process->has_ended()) co_return Result<void>();
    (void)process->signal(SIGTERM);
    auto ended = co_await within(kEndLimit, "dnsmasq", process->exited());
    if (!ended.ok() && ended.error().code() == ErrorCode::timeout) {
        (void)process->kill();
        ended = co_await within(kEndLimit, "dnsmasq", process->exited());
    }
    if (!ended.ok()) co_return ended.take_error();
    co_return Result<void>();
}

Async<> Server::stop(std::string directory) {
    if (process_ == nullptr) CO_TRY(co_await adopt(directory + "/dnsmasq.status"));
    CO_TRY(co_await end_running());
    co_return host::remove_tree(directory);
}

void Server::watch() { scope_.spawn(wait_for_end(process_)); }

// Then it is to be started again: at once if it served for a while, else after a pause.
AsyncVoid Server::wait_for_end(Running process) {
    auto ended = co_await within(kForgiven, "dnsmasq", process->exited());
    if (!ended.ok() && ended.error().code() == ErrorCode::timeout) {
        if (process == process_) failures_ = 0;
        ended = co_await process->exited();
    }
    if (!ended.ok() || process != process_) co_return;  // closing, or it was ended on purpose
    process_ = nullptr;
    last_words_ = ended->to_string();
    const milliseconds time =
        std::min(kPauseMax, kPauseMin * (1U << std::min(failures_, kPauseDoublings)));
    ++failures_;
    pausing_ = true;
    co_await pause(time);
    pausing_ = false;
    options_.ended();
}

}  // namespace stoa::network
