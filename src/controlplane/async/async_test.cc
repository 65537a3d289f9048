#include <chrono>
#include <thread>

#include <gtest/gtest.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>

#include "controlplane/async/deadline.h"
#include "controlplane/async/scope.h"
#include "controlplane/async/signal.h"
#include "controlplane/async/worker.h"

namespace stoa {
namespace {

using std::chrono::milliseconds;

class AsyncTest : public ::testing::Test {
protected:
    void run(AsyncVoid task) {
        asio::co_spawn(loop_, std::move(task), [](const std::exception_ptr& left) {
            if (left) std::rethrow_exception(left);
        });
        loop_.restart();
        loop_.run();
    }
    Async<int> answer(milliseconds after, int value) {
        asio::steady_timer timer(loop_, after);
        const auto [error] = co_await timer.async_wait(kAwait);
        if (error) co_return failed("the answer", error);
        co_return value;
    }

    asio::io_context loop_;
};

AsyncVoid count_after(asio::io_context& loop, milliseconds time, int& count) {
    asio::steady_timer timer(loop, time);
    const auto [error] = co_await timer.async_wait(kAwait);
    if (!error) ++count;
}

AsyncVoid count_three(asio::io_context& loop, int& count) {
    Scope scope(loop.get_executor());
    for (int i = 0; i < 3; ++i) scope.spawn(count_after(loop, milliseconds(1), count));
    co_await scope.join();
    EXPECT_EQ(count, 3);
}

TEST_F(AsyncTest, a_scope_waits_for_what_runs_in_it) {
    int count = 0;
    run(count_three(loop_, count));
    EXPECT_EQ(count, 3);
}

AsyncVoid close_early(asio::io_context& loop, int& count) {
    Scope scope(loop.get_executor());
    scope.spawn(count_after(loop, std::chrono::hours(1), count));
    co_await asio::post(loop, asio::use_awaitable);
    co_await scope.close();
    scope.spawn(count_after(loop, milliseconds(0), count));
    EXPECT_EQ(scope.running(), 0U);
}

TEST_F(AsyncTest, closing_a_scope_cancels_what_runs_and_starts_nothing) {
    int count = 0;
    run(close_early(loop_, count));
    EXPECT_EQ(count, 0);
}

AsyncVoid be_cancelled_while_busy(asio::io_context& loop, int& rounds) {
    for (;;) {
        asio::steady_timer timer(loop, std::chrono::hours(1));
        // Not cancellable: what was asked for meanwhile is not noticed.
        co_await asio::post(loop, asio::use_awaitable);
        ++rounds;
        const auto [error] = co_await timer.async_wait(kAwait);
        if (error) co_return;
    }
}

AsyncVoid close_a_busy_one(asio::io_context& loop, int& rounds) {
    Scope scope(loop.get_executor());
    scope.spawn(be_cancelled_while_busy(loop, rounds));
    co_await scope.close();
}

TEST_F(AsyncTest, one_that_was_busy_when_it_was_cancelled_ends_as_well) {
    int rounds = 0;
    run(close_a_busy_one(loop_, rounds));
    EXPECT_EQ(rounds, 1);
}

AsyncVoid too_late(Async<int> slow, Async<int> fast) {
    const Result<int> late = co_await within(milliseconds(5), "the guest agent", std::move(slow));
    EXPECT_EQ(late.error().code(), ErrorCode::timeout);
    EXPECT_EQ(late.error().message(), "the guest agent: no answer within 0.005 s");
    const Result<int> soon = co_await within(milliseconds(5000), "it", std::move(fast));
    EXPECT_EQ(*soon, 7);
}

TEST_F(AsyncTest, what_takes_too_long_is_cancelled_and_said) {
    run(too_late(answer(std::chrono::hours(1), 1), answer(milliseconds(1), 7)));
}

Async<int> busy_and_then(asio::io_context& loop) {
    // Started after it was told to end.
    std::this_thread::sleep_for(milliseconds(10));
    co_await asio::post(loop, asio::use_awaitable);
    asio::steady_timer timer(loop, std::chrono::hours(1));
    const auto [error] = co_await timer.async_wait(kAwait);
    if (error) co_return failed("it", error);
    co_return 1;
}

AsyncVoid limit_a_busy_one(asio::io_context& loop) {
    const Result<int> late = co_await within(milliseconds(1), "it", busy_and_then(loop));
    EXPECT_EQ(late.error().code(), ErrorCode::timeout);
}

TEST_F(AsyncTest, one_that_was_busy_at_its_limit_ends_as_well) { run(limit_a_busy_one(loop_)); }

AsyncVoid cancelled_inside(asio::io_context& loop, Async<int> slow, ErrorCode& code) {
    const Result<int> result = co_await within(std::chrono::hours(1), "it", std::move(slow));
    code = result.ok() ? ErrorCode::corrupt : result.error().code();
    co_await asio::post(loop, asio::use_awaitable);
}

AsyncVoid cancel_from_outside(asio::io_context& loop, Async<int> slow, ErrorCode& code) {
    Scope scope(loop.get_executor());
    scope.spawn(cancelled_inside(loop, std::move(slow), code));
    co_await asio::post(loop, asio::use_awaitable);
    co_await scope.close();
}

TEST_F(AsyncTest, who_waits_with_a_limit_can_be_cancelled) {
    ErrorCode code = ErrorCode::corrupt;
    run(cancel_from_outside(loop_, busy_and_then(loop_), code));
    EXPECT_EQ(code, ErrorCode::cancelled);
}

AsyncVoid on_another_thread(Worker& worker) {
    const auto here = std::this_thread::get_id();
    const auto there = co_await worker.run([] { return std::this_thread::get_id(); });
    EXPECT_NE(here, there);
    EXPECT_EQ(here, std::this_thread::get_id());
}

TEST_F(AsyncTest, a_worker_blocks_nobody_and_answers_where_it_was_asked) {
    Worker worker;
    run(on_another_thread(worker));
}

AsyncVoid use_until_cancelled(Worker& worker) {
    for (;;) {
        co_await worker.run([] {});
        const auto state = co_await asio::this_coro::cancellation_state;
        if (state.cancelled() != asio::cancellation_type::none) co_return;
    }
}

AsyncVoid cancel_users(asio::any_io_executor executor, Worker& worker) {
    Scope scope(executor);
    for (int i = 0; i < 4; ++i) scope.spawn(use_until_cancelled(worker));
    for (int i = 0; i < 3; ++i) co_await worker.run([] {});
    co_await scope.close();
}

TEST_F(AsyncTest, a_worker_may_be_awaited_by_who_is_cancelled) {
    Worker worker;
    for (int i = 0; i < 50; ++i) run(cancel_users(loop_.get_executor(), worker));
}

}  // namespace
}  // namespace stoa
