// Starting a program through stoa-launch: stoad's side. The helper's is in src/apps/launch/; the
// tests of both together are there, in launch_test.cc.
#include <fcntl.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <optional>

#include <fmt/format.h>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>

#include "controlplane/async/deadline.h"
#include "controlplane/host/files.h"
#include "controlplane/host/spawn.h"

namespace stoa::host {

namespace {

constexpr size_t kReplyBytesMax = 65536;
constexpr size_t kLogBytesMax = size_t{1} << 30;
constexpr size_t kLastWordsBytesMax = 500;
using Socket = asio::local::stream_protocol::socket;

// The first piece of the request, and with it the descriptors. What it returns is how much went.
Result<size_t> send_descriptors(int socket, std::string_view text, const std::vector<int>& passed) {
    iovec data{.iov_base = const_cast<char*>(text.data()), .iov_len = text.size()};
    msghdr message{};
    message.msg_iov = &data;
    message.msg_iovlen = 1;
    alignas(cmsghdr) std::array<char, CMSG_SPACE(kLaunchDescriptorsMax * sizeof(int))> control{};
    if (!passed.empty()) {
        message.msg_control = control.data();
        message.msg_controllen = CMSG_SPACE(passed.size() * sizeof(int));
        cmsghdr* header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(passed.size() * sizeof(int));
        std::memcpy(CMSG_DATA(header), passed.data(), passed.size() * sizeof(int));
    }
    const ssize_t sent = ::sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent < 0) return system_error("stoa-launch: cannot pass descriptors", errno);
    return static_cast<size_t>(sent);
}

Async<LaunchReply> converse(Socket& socket, std::string text, const std::vector<int>& passed) {
    text += '\0';
    CO_TRY_ASSIGN(const size_t sent, send_descriptors(socket.native_handle(), text, passed));
    // If the helper refuses early, its reply says why, not our broken pipe.
    co_await asio::async_write(socket, asio::buffer(text.data() + sent, text.size() - sent),
                               kAwait);
    std::string reply;
    std::array<char, 4096> piece{};
    while (!reply.ends_with('\0')) {
        const auto [code, got] = co_await socket.async_read_some(asio::buffer(piece), kAwait);
        if (code == asio::error::operation_aborted) co_return failed("stoa-launch", code);
        if (code || reply.size() + got > kReplyBytesMax) {
            co_return Error(ErrorCode::io, "stoa-launch: ended without an answer");
        }
        reply.append(piece.data(), got);
    }
    reply.pop_back();
    const auto json = parse_json(reply);
    LaunchReply answer;
    if (!json.ok() || !from_json(*json, answer).ok()) {
        co_return Error(ErrorCode::io,
                        "stoa-launch: answers with something else; is it of another "
                        "version?");
    }
    co_return answer;
}

Error refused(const LaunchSpec& spec, const LaunchReply& reply) {
    const std::string what = fmt::format("launch of {}: {}", spec.program, reply.step);
    if (reply.error == 0) {
        return {ErrorCode::invalid_argument, fmt::format("{}: {}", what, reply.message)};
    }
    return system_error(reply.message.empty() ? what : what + " " + reply.message, reply.error);
}

std::string last_words(const std::string& log) {
    const auto text = read_file(log, kLogBytesMax);
    if (!text.ok() || text->empty()) return "";
    std::string words = text->substr(text->size() - std::min(text->size(), kLastWordsBytesMax));
    while (words.ends_with('\n')) words.pop_back();
    return ": " + words;
}

// The keeper writes down how, within a moment.
asio::awaitable<Error> ended_at_once(const LaunchSpec& spec, const ProcessIdentity& process) {
    const ExitStatus how = co_await find_exit_status(spec.status, process);
    co_return Error(ErrorCode::io, fmt::format("launch of {}: it ended at once: {}{}", spec.program,
                                               how.to_string(), last_words(spec.log)));
}

Result<std::array<Descriptor, 2>> make_socket_pair() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
        return system_error("socket pair", errno);
    }
    return std::array<Descriptor, 2>{Descriptor(ends[0]), Descriptor(ends[1])};
}

}  // namespace

Async<Launched> launch(LaunchSpec spec, std::vector<int> passed, LaunchOptions options) {
    CO_TRY(check_launch(spec));
    if (passed.size() != spec.descriptors.size()) {
        co_return Error(ErrorCode::invalid_argument,
                        fmt::format("launch of {}: {} descriptors are passed, {} are named",
                                    spec.program, passed.size(), spec.descriptors.size()));
    }
    std::string text = to_text(to_json(spec));
    if (text.size() >= kLaunchRequestBytesMax) {
        co_return Error(ErrorCode::invalid_argument,
                        fmt::format("launch of {}: the command has more than {} bytes",
                                    spec.program, kLaunchRequestBytesMax));
    }
    const auto executor = co_await asio::this_coro::executor;
    CO_TRY_ASSIGN(auto ends, make_socket_pair());
    auto spawned = Child::spawn(executor, {.program = options.helper,
                                           .arguments = {},
                                           .environment = {},
                                           .descriptors = {-1, -1, -1, ends[1].get()},
                                           .own_session = true});
    if (!spawned.ok()) co_return spawned.take_error();
    Child helper = *std::move(spawned);
    ends[1].close();
    Socket socket(executor, asio::local::stream_protocol(), ends[0].release());
    socket.native_non_blocking(true);
    auto reply = co_await within(options.limit, "launch of " + spec.program,
                                 converse(socket, std::move(text), passed));
    // The program and its keeper have left the helper's group; without an answer it may be stuck.
    if (!reply.ok()) helper.kill_group();
    socket.close();
    co_await helper.reap();
    if (!reply.ok()) co_return reply.take_error();
    if (!reply->process) co_return refused(spec, *reply);
    auto process = Process::adopt(executor, *reply->process, "", spec.status);
    if (!process.ok() && process.error().code() != ErrorCode::not_found) {
        co_return process.take_error();
    }
    if (!process.ok()) co_return co_await ended_at_once(spec, *reply->process);
    co_return Launched{.process = *std::move(process), .warnings = std::move(reply->warnings)};
}

}  // namespace stoa::host
