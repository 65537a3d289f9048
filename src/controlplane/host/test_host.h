// For tests of what needs a real machine: a directory of its own, and a loop that runs one
// coroutine.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>  // mkdtemp

#include <chrono>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/this_coro.hpp>

#include "base/check.h"
#include "controlplane/async/async.h"

namespace stoa::host {

class TestDirectory {
public:
    TestDirectory() {
        const char* parent = std::getenv("TMPDIR");
        path_ = std::string(parent != nullptr ? parent : "/tmp") + "/stoa-host-XXXXXX";
        CHECK(mkdtemp(path_.data()) != nullptr);
    }
    TestDirectory(const TestDirectory&) = delete;
    TestDirectory& operator=(const TestDirectory&) = delete;
    ~TestDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }

    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

private:
    std::string path_;
};

namespace test_detail {

template <class T>
AsyncVoid keep(asio::awaitable<T> task, std::optional<T>& result) {
    co_await asio::this_coro::throw_if_cancelled(false);
    result.emplace(co_await std::move(task));
}

}  // namespace test_detail

// Runs the loop until the coroutine has ended. Aborts after half a minute.
template <class T>
T run(asio::io_context& loop, asio::awaitable<T> task) {
    std::optional<T> result;
    asio::co_spawn(loop, test_detail::keep(std::move(task), result),
                   [](const std::exception_ptr& left) { CHECK(left == nullptr); });
    loop.restart();
    const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(30);
    while (!result) {
        CHECK(std::chrono::steady_clock::now() < give_up);
        loop.run_one_for(std::chrono::seconds(1));
    }
    return *std::move(result);
}

// For other processes to do something in.
inline void pause_for(std::chrono::microseconds time) { std::this_thread::sleep_for(time); }

// Until `is_so()`, at most 5 s.
template <class Condition>
bool eventually(Condition is_so) {
    for (int i = 0; i < 1000; ++i) {
        if (is_so()) return true;
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return is_so();
}

}  // namespace stoa::host
