#include "controlplane/qemu/stream.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include <fmt/format.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/write.hpp>

#include "controlplane/qemu/arguments.h"

namespace stoa::qemu {

namespace {
using std::chrono::milliseconds;
constexpr milliseconds kRetryFirst{2};
constexpr milliseconds kRetryMax{50};
constexpr size_t kReadBytes = size_t{64} << 10;
}  // namespace

void Stream::close() {
    boost::system::error_code ignored;
    socket_.close(ignored);
}

Async<> connect_once(Stream& stream, std::string socket) {
    if (socket.empty() || socket.size() > kSocketPathMax) {
        co_return Error(
            ErrorCode::invalid_argument,
            fmt::format("socket \"{}\": a path has 1 to {} characters", socket, kSocketPathMax));
    }
    const asio::local::stream_protocol::endpoint endpoint(socket);
    const auto [error] = co_await stream.socket_.async_connect(endpoint, kAwait);
    if (!error) co_return Result<void>();
    stream.close();
    // would_block: its backlog is full.
    const bool is_absent = error == boost::system::errc::no_such_file_or_directory ||
                           error == asio::error::connection_refused ||
                           error == asio::error::would_block || error == asio::error::try_again;
    if (is_absent) {
        co_return Error(ErrorCode::not_found, fmt::format("{}: nobody listens", socket));
    }
    co_return failed(socket, error);
}

Async<> connect_patiently(Stream& stream, std::string socket) {
    asio::steady_timer timer(co_await asio::this_coro::executor);
    milliseconds pause = kRetryFirst;
    for (;;) {
        const Result<void> connected = co_await connect_once(stream, socket);
        if (connected.ok() || connected.error().code() != ErrorCode::not_found) {
            co_return connected;
        }
        timer.expires_after(pause);
        const auto [stopped] = co_await timer.async_wait(kAwait);
        if (stopped) co_return failed(socket, stopped);
        pause = std::min(pause * 2, kRetryMax);
    }
}

Async<std::string> read_line(Stream& stream, std::string_view what) {
    for (;;) {
        if (auto line = stream.lines_.next()) co_return *std::move(line);
        std::string bytes(kReadBytes, '\0');
        const auto [error, count] =
            co_await stream.socket_.async_read_some(asio::buffer(bytes), kAwait);
        if (error == asio::error::eof) {
            co_return Error(ErrorCode::io, fmt::format("{} ended the connection", what));
        }
        if (error) co_return failed(what, error);
        stream.lines_.add(std::string_view(bytes).substr(0, count));
    }
}

Async<> write_bytes(Stream& stream, std::string_view bytes, std::string_view what) {
    const auto [error, count] = co_await asio::async_write(
        stream.socket_, asio::buffer(bytes.data(), bytes.size()), kAwait);
    if (error) co_return failed(what, error);
    co_return Result<void>();
}

}  // namespace stoa::qemu
