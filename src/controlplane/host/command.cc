#include "controlplane/host/command.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <string_view>

#include <fmt/format.h>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>

#include "controlplane/async/deadline.h"
#include "controlplane/async/scope.h"
#include "controlplane/host/spawn.h"

namespace stoa::host {

namespace {

using Stream = asio::posix::stream_descriptor;

constexpr std::string_view kSystemPath =
    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
constexpr size_t kErrorShownBytesMax = 500;
// What a program started and left behind may hold its pipes open; that long we listen to it.
constexpr std::chrono::milliseconds kAfterEnd{200};

AsyncVoid read_all(Stream& from, std::string& into, size_t bytes_max, bool& was_cut) {
    std::array<char, 16384> piece{};
    while (true) {
        const auto [code, got] = co_await from.async_read_some(asio::buffer(piece), kAwait);
        if (code) co_return;
        const size_t fits = std::min(got, bytes_max - into.size());
        into.append(piece.data(), fits);
        if (fits < got) was_cut = true;  // and read on, so that the program does not wait
    }
}

// The input as a file in memory: nothing has to be written while the program runs, and one that
// does not read it breaks no pipe.
Result<Descriptor> make_input(const std::string& input) {
    Descriptor file(::memfd_create("input", MFD_CLOEXEC));
    if (!file.is_open()) return system_error("input of a program", errno);
    for (std::string_view rest = input; !rest.empty();) {
        const ssize_t written = ::write(file.get(), rest.data(), rest.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) return system_error("input of a program", errno);
        rest.remove_prefix(static_cast<size_t>(written));
    }
    if (::lseek(file.get(), 0, SEEK_SET) != 0) return system_error("input of a program", errno);
    return file;
}

// The streams of a running program, and what came through them.
struct Talk {
    explicit Talk(const asio::any_io_executor& executor)
        : output(executor), errors(executor), scope(executor) {}
    Stream output;
    Stream errors;
    CommandResult result;
    bool errors_cut = false;
    Scope scope;
};

AsyncVoid join_within(std::chrono::milliseconds limit, Scope& scope) {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    constexpr std::chrono::milliseconds kEvery{2};
    const auto end = std::chrono::steady_clock::now() + limit;
    while (scope.running() > 0 && std::chrono::steady_clock::now() < end) {
        timer.expires_after(kEvery);
        co_await timer.async_wait(kAwait);
    }
}

Async<> wait_for_end(Child& child) {
    if (co_await child.ended()) co_return Result<void>();
    co_return Error(ErrorCode::cancelled, "cancelled");
}

Result<Child> start(const CommandSpec& spec, const std::string& program,
                    const asio::any_io_executor& executor, Talk& talk) {
    TRY_ASSIGN(const Descriptor input, make_input(spec.input));
    TRY_ASSIGN(Pipe output, make_pipe());
    TRY_ASSIGN(Pipe errors, make_pipe());
    SpawnSpec spawn{.program = program,
                    .arguments = spec.arguments,
                    .environment = {fmt::format("PATH={}", kSystemPath), "LC_ALL=C"},
                    .descriptors = {input.get(), output.writer.get(), errors.writer.get()},
                    .own_session = false};
    spawn.environment.insert(spawn.environment.end(), spec.environment.begin(),
                             spec.environment.end());
    TRY_ASSIGN(Child child, Child::spawn(executor, spawn));
    talk.output.assign(output.reader.release());
    talk.errors.assign(errors.reader.release());
    return child;
}

}  // namespace

std::optional<std::string> find_program(const std::string& name) {
    if (name.starts_with('/')) {
        return ::access(name.c_str(), X_OK) == 0 ? std::optional(name) : std::nullopt;
    }
    if (name.empty() || name.contains('/')) return std::nullopt;
    const char* own = std::getenv("PATH");
    std::string places = fmt::format("{}:{}", own != nullptr ? own : "", kSystemPath);
    for (std::string_view rest = places; !rest.empty();) {
        const std::string_view place = rest.substr(0, rest.find(':'));
        rest.remove_prefix(std::min(place.size() + 1, rest.size()));
        if (!place.starts_with('/')) continue;
        std::string path = fmt::format("{}/{}", place, name);
        if (::access(path.c_str(), X_OK) == 0) return path;
    }
    return std::nullopt;
}

Async<CommandResult> run_command(CommandSpec spec) {
    const std::optional<std::string> program = find_program(spec.program);
    if (!program) {
        co_return Error(ErrorCode::not_found,
                        fmt::format("program {}: is not installed", spec.program));
    }
    const auto executor = co_await asio::this_coro::executor;
    Talk talk(executor);
    auto started = start(spec, *program, executor, talk);
    if (!started.ok()) co_return started.take_error();
    Child child = *std::move(started);
    talk.scope.spawn(
        read_all(talk.output, talk.result.output, spec.output_bytes_max, talk.result.output_cut));
    talk.scope.spawn(
        read_all(talk.errors, talk.result.error_output, spec.output_bytes_max, talk.errors_cut));
    const auto ended = co_await within(spec.limit, spec.program, wait_for_end(child));
    if (ended.ok()) co_await join_within(kAfterEnd, talk.scope);
    child.kill_group();  // also what it left behind: its pid is not free before it is reaped
    const ExitStatus status = co_await child.reap();
    co_await talk.scope.close();
    if (!ended.ok()) co_return ended.error();
    talk.result.code = status.code;
    talk.result.signal = status.signal;
    co_return std::move(talk.result);
}

Async<std::string> run_successfully(CommandSpec spec) {
    const std::string name = spec.program;
    CO_TRY_ASSIGN(CommandResult result, co_await run_command(std::move(spec)));
    if (result.code == 0) co_return std::move(result.output);
    std::string why = result.error_output.substr(0, kErrorShownBytesMax);
    while (why.ends_with('\n')) why.pop_back();
    const ExitStatus how{.code = result.code, .signal = result.signal};
    co_return Error(ErrorCode::io, why.empty()
                                       ? fmt::format("{}: {}", name, how.to_string())
                                       : fmt::format("{}: {}: {}", name, how.to_string(), why));
}

}  // namespace stoa::host
