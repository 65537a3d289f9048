// For tests: the other end of a Unix socket, which does exactly what the test says.
#pragma once

#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <boost/asio/buffer.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include "base/json.h"
#include "controlplane/async/async.h"
#include "controlplane/qemu/look.h"

namespace stoa::qemu {

class TestPeer {
public:
    TestPeer(const asio::any_io_executor& executor, const std::string& path)
        : acceptor_(executor, asio::local::stream_protocol::endpoint(path)), socket_(executor) {}

    AsyncVoid let_in() {
        socket_ = decltype(socket_)(acceptor_.get_executor());
        const auto [error] = co_await acceptor_.async_accept(socket_, kAwait);
        EXPECT_FALSE(error) << error.message();
        read_.clear();
    }
    // Without its end; empty when the connection is over.
    asio::awaitable<std::string> line() {
        const auto [error, count] =
            co_await asio::async_read_until(socket_, asio::dynamic_buffer(read_), '\n', kAwait);
        if (error) co_return std::string();
        std::string line = read_.substr(0, count - 1);
        read_.erase(0, count);
        co_return line;
    }
    AsyncVoid say(std::string text) {
        co_await asio::async_write(socket_, asio::buffer(text), kAwait);
    }
    void hang_up() {
        boost::system::error_code ignored;
        socket_.close(ignored);
    }

    // The next line as a command; null if it is none.
    asio::awaitable<Json> command() {
        const std::string text = co_await line();
        auto parsed = parse_json(std::string_view(text).substr(text.starts_with('\xff') ? 1 : 0));
        EXPECT_TRUE(parsed.ok()) << text;
        co_return parsed.ok() ? *parsed : Json();
    }

private:
    asio::local::stream_protocol::acceptor acceptor_;
    asio::local::stream_protocol::socket socket_;
    std::string read_;
};

}  // namespace stoa::qemu
