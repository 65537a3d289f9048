// The client as a volume, over a server in memory that goes away, lies and forgets.
#include "dataplane/serve/nbd/client.h"

#include <array>
#include <numeric>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/io/sim/random.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/serve/nbd/test_client_server.h"

namespace stoa::nbd {
namespace {

using Act = TestServer::Act;
constexpr uint64_t kSecond = 1'000'000'000;

std::vector<std::byte> filled(size_t size, unsigned value) {
    return std::vector<std::byte>(size, static_cast<std::byte>(value));
}

bool is(const Request& request, Command command) {
    return request.command == static_cast<uint16_t>(command);
}

class ClientTest : public ::testing::Test {
protected:
    void start(const TestServer::Options& options = {}) {
        server_ = std::make_unique<TestServer>(simulator_, options);
    }
    Result<void> open(ClientOptions options = {}) {
        options.address = {"", "127.0.0.1", 10809};
        options.export_name = "it";
        auto opened = simulator_.run(NbdClient::open(simulator_, server_->connector(), options));
        if (!opened.ok()) return opened.take_error();
        client_ = *std::move(opened);
        return {};
    }
    void TearDown() override {
        if (client_ != nullptr) simulator_.run(client_->close());
        client_.reset();
        if (server_ != nullptr) simulator_.run(server_->join());
    }
    template <class T>
    T run(io::Task<T> task) {
        return simulator_.run(std::move(task));
    }
    Result<void> write(uint64_t offset, unsigned value, size_t size = 512) {
        const auto bytes = filled(size, value);
        return run(client_->write(offset, bytes, {}));
    }
    Result<std::vector<std::byte>> read(uint64_t offset, size_t size) {
        std::vector<std::byte> bytes(size);
        TRY(run(client_->read(offset, bytes)));
        return bytes;
    }
    uint64_t count(Command command) const {
        return static_cast<uint64_t>(std::ranges::count_if(
            server_->log, [&](const Request& each) { return is(each, command); }));
    }

    io::sim::Simulator simulator_{1};
    std::unique_ptr<TestServer> server_;
    std::unique_ptr<NbdClient> client_;
    bool stop_ = false;
};

// Generated operations against a plain array.
io::Task<void> mixed_work(block::Volume& volume, std::vector<std::byte>& model, uint64_t first,
                          uint64_t end, uint64_t seed) {
    io::sim::Random random(seed);
    for (int step = 0; step < 60; ++step) {
        const uint64_t sectors = (end - first) / 512;
        const uint64_t from = random.next() % sectors;
        uint64_t length = 1 + random.next() % 40;
        if (random.next() % 8 == 0) length = 1 + random.next() % sectors;
        length = std::min(length, sectors - from) * 512;
        const uint64_t offset = first + from * 512;
        const auto there = model.begin() + static_cast<ptrdiff_t>(offset);
        Result<void> done;
        switch (random.next() % 4) {
            case 0: {
                std::vector<std::byte> bytes(length);
                done = co_await volume.read(offset, bytes);
                EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), there));
                break;
            }
            case 1: {
                done = co_await volume.write_zeroes(offset, length,
                                                    {.force_unit_access = step % 2 == 0});
                std::fill_n(there, length, std::byte{});
                break;
            }
            default: {
                const auto bytes = filled(length, static_cast<unsigned>(random.next() % 256));
                done = co_await volume.write(offset, bytes, {.force_unit_access = step % 3 == 0});
                std::ranges::copy(bytes, there);
            }
        }
        EXPECT_TRUE(done.ok()) << done.error().message();
    }
}

TEST_F(ClientTest, what_is_written_is_read_whatever_the_server_can) {
    constexpr uint16_t kPlain = kHasFlags | kSendFlush;
    const std::array<TestServer::Options, 6> kinds = {
        TestServer::Options{},
        TestServer::Options{.structured = false},
        TestServer::Options{.flags = kPlain, .structured = false, .knows_go = false},
        TestServer::Options{.block_min = 4096, .block_max = 8192},
        TestServer::Options{.flags = kPlain, .block_min = 65536, .block_max = 65536},
        TestServer::Options{.block_max = 4608, .stream = {.buffered_bytes = 100, .piece_bytes = 7}},
    };
    for (const TestServer::Options& kind : kinds) {
        start(kind);
        ASSERT_TRUE(open({.in_flight_max = 7}).ok());
        std::vector<std::byte> model(kind.size_bytes);
        run([](io::Executor& executor, block::Volume& volume,
               std::vector<std::byte>& bytes) -> io::Task<void> {
            io::TaskGroup group(executor);
            // Neighbours that share the server's blocks.
            const uint64_t middle = bytes.size() / 2 + 512;
            group.spawn(mixed_work(volume, bytes, 0, middle, 1));
            group.spawn(mixed_work(volume, bytes, middle, bytes.size(), 2));
            co_await group.join();
        }(simulator_, *client_, model));
        EXPECT_TRUE(server_->data == model);
        EXPECT_EQ(server_->misaligned, 0U);
        TearDown();
    }
}

TEST_F(ClientTest, many_requests_are_in_flight_and_no_more_than_wanted) {
    start();
    server_->decide = [](const Request&) { return Act::silent; };
    ASSERT_TRUE(open({.hold_ns = 0, .request_timeout_ns = kSecond, .in_flight_max = 10}).ok());
    run([](io::Executor& executor, block::Volume& volume) -> io::Task<void> {
        io::TaskGroup group(executor);
        std::vector<std::vector<std::byte>> buffers(25, std::vector<std::byte>(512));
        for (auto& each : buffers) {
            group.spawn([](block::Volume& from, std::vector<std::byte>& into) -> io::Task<void> {
                EXPECT_EQ((co_await from.read(0, into)).error().code(), ErrorCode::io);
            }(volume, each));
        }
        co_await group.join();
    }(simulator_, *client_));
    EXPECT_EQ(server_->log.size(), 10U);
}

TEST_F(ClientTest, requests_in_flight_are_sent_again_when_the_server_comes_back) {
    start();
    int left = 3;
    server_->decide = [&](const Request&) { return left-- > 0 ? Act::serve : Act::hang_up; };
    ASSERT_TRUE(open().ok());
    std::vector<std::byte> model(server_->options.size_bytes);
    // Three requests a connection; the rest waits for the next.
    const auto refill = [](io::Executor& executor, int& served,
                           const bool& stop) -> io::Task<void> {
        while (!stop) {
            co_await executor.sleep_ns(40'000'000);
            served = 3;
        }
    };
    run([](io::Executor& executor, block::Volume& volume, std::vector<std::byte>& bytes,
           io::Task<void> helper, bool& stop) -> io::Task<void> {
        io::TaskGroup group(executor);
        io::TaskGroup helpers(executor);
        helpers.spawn(std::move(helper));
        for (uint64_t part = 0; part < 4; ++part) {
            const uint64_t size = bytes.size() / 4;
            group.spawn(mixed_work(volume, bytes, part * size, (part + 1) * size, part));
        }
        co_await group.join();
        stop = true;
        co_await helpers.join();
    }(simulator_, *client_, model, refill(simulator_, left, stop_), stop_));
    EXPECT_TRUE(server_->data == model);
    EXPECT_GT(client_->reconnections(), 10U);
    left = 1 << 30;
}

TEST_F(ClientTest, without_holding_requests_fail_at_once_until_the_server_is_back) {
    start();
    bool dead = false;
    server_->decide = [&](const Request&) { return dead ? Act::hang_up : Act::serve; };
    ASSERT_TRUE(open({.hold_ns = 0}).ok());
    dead = true;
    server_->refuses_connections = true;
    const uint64_t before = simulator_.now_ns();
    EXPECT_EQ(read(0, 512).error().code(), ErrorCode::io);
    EXPECT_EQ(write(0, 1).error().code(), ErrorCode::io);
    EXPECT_LT(simulator_.now_ns() - before, kSecond / 10);
    dead = server_->refuses_connections = false;
    simulator_.run_for(3 * kSecond);
    EXPECT_TRUE(client_->is_connected());
    EXPECT_TRUE(write(0, 1).ok());
}

TEST_F(ClientTest, requests_are_held_for_their_time_and_no_longer) {
    start();
    bool dead = false;
    server_->decide = [&](const Request&) { return dead ? Act::hang_up : Act::serve; };
    ASSERT_TRUE(open({.hold_ns = 10 * kSecond}).ok());
    dead = server_->refuses_connections = true;
    const uint64_t before = simulator_.now_ns();
    const auto failed = read(0, 512);
    EXPECT_EQ(failed.error().code(), ErrorCode::io);
    EXPECT_TRUE(failed.error().message().contains("connection refused"));
    EXPECT_GE(simulator_.now_ns() - before, 10 * kSecond);
    EXPECT_LT(simulator_.now_ns() - before, 11 * kSecond);
    EXPECT_FALSE(read(0, 512).ok());
    EXPECT_LT(simulator_.now_ns() - before, 11 * kSecond);
}

TEST_F(ClientTest, a_server_that_never_answers_does_not_hold_a_request_for_ever) {
    start();
    server_->decide = [](const Request&) { return Act::silent; };
    ASSERT_TRUE(open({.hold_ns = 20 * kSecond, .request_timeout_ns = 3 * kSecond}).ok());
    const uint64_t before = simulator_.now_ns();
    EXPECT_EQ(read(0, 512).error().code(), ErrorCode::io);
    EXPECT_LT(simulator_.now_ns() - before, 24 * kSecond);
    EXPECT_GT(server_->connections, 4U);
}

TEST_F(ClientTest, a_request_without_an_answer_is_sent_again_on_a_new_connection) {
    start();
    int silent = 1;
    server_->decide = [&](const Request&) { return silent-- > 0 ? Act::silent : Act::serve; };
    ASSERT_TRUE(open().ok());
    EXPECT_TRUE(write(0, 7).ok());
    EXPECT_EQ(server_->connections, 2U);
    EXPECT_EQ(server_->data[0], std::byte{7});
}

TEST_F(ClientTest, a_flush_tells_once_that_writes_may_be_forgotten) {
    for (const bool keeps : {false, true}) {
        start();
        bool crash = false;
        server_->decide = [&](const Request&) {
            return std::exchange(crash, false) ? Act::crash : Act::serve;
        };
        ASSERT_TRUE(open({.server_keeps_acknowledged = keeps}).ok());
        EXPECT_TRUE(write(0, 1).ok());
        EXPECT_TRUE(run(client_->flush()).ok());
        crash = true;
        EXPECT_TRUE(write(512, 2).ok());
        EXPECT_TRUE(write(1024, 3).ok());
        EXPECT_EQ(client_->reconnections(), 1U);
        EXPECT_EQ(server_->data[512], std::byte{0});  // forgotten
        const auto flushed = run(client_->flush());
        EXPECT_EQ(flushed.ok(), keeps);
        if (!keeps) EXPECT_EQ(flushed.error().code(), ErrorCode::io);
        EXPECT_TRUE(run(client_->flush()).ok());
        // What was durable anyway is not missed.
        crash = true;
        const auto bytes = filled(512, 4);
        EXPECT_TRUE(run(client_->write(0, bytes, {.force_unit_access = true})).ok());
        EXPECT_TRUE(read(0, 512).ok());
        EXPECT_EQ(client_->reconnections(), 2U);
        EXPECT_TRUE(run(client_->flush()).ok());
        TearDown();
    }
}

TEST_F(ClientTest, another_export_under_the_name_is_not_taken) {
    const auto changes = std::to_array<void (*)(TestServer&)>({
        [](TestServer& server) { server.options.size_bytes += 512; },
        [](TestServer& server) { server.options.name = "other"; },
        [](TestServer& server) { server.options.flags |= kReadOnly; },
        [](TestServer& server) { server.options.flags = kHasFlags; },
        [](TestServer& server) { server.options.block_max = 4096; },
        [](TestServer& server) { server.contexts.clear(); },
    });
    for (const auto change : changes) {
        start();
        server_->contexts["base:allocation"] = {{0, 1 << 20, 0}};
        bool hang_up = false;
        server_->decide = [&](const Request&) {
            return std::exchange(hang_up, false) ? Act::hang_up : Act::serve;
        };
        ASSERT_TRUE(open().ok());
        hang_up = true;
        change(*server_);
        const auto failed = read(0, 512);
        EXPECT_EQ(failed.error().code(), ErrorCode::io);
        EXPECT_TRUE(failed.error().message().contains("has changed")) << failed.error().message();
        EXPECT_FALSE(write(0, 1).ok());
        TearDown();
    }
}

TEST_F(ClientTest, closing_cancels_what_is_in_flight) {
    for (const bool away : {false, true}) {
        start();
        server_->decide = [&](const Request&) { return away ? Act::hang_up : Act::silent; };
        ASSERT_TRUE(open({.in_flight_max = 2}).ok());
        server_->refuses_connections = away;
        const uint64_t before = simulator_.now_ns();
        run([](io::Executor& executor, NbdClient& client) -> io::Task<void> {
            io::TaskGroup group(executor);
            std::vector<std::byte> bytes(512);
            for (int i = 0; i < 5; ++i) {
                group.spawn([](NbdClient& from, std::vector<std::byte>& buffer) -> io::Task<void> {
                    const auto done = co_await from.write(0, buffer, {});
                    EXPECT_EQ(done.error().code(), ErrorCode::cancelled);
                }(client, bytes));
            }
            co_await executor.sleep_ns(kSecond);
            co_await client.close();
            EXPECT_EQ((co_await client.flush()).error().code(), ErrorCode::cancelled);
            co_await group.join();
        }(simulator_, *client_));
        EXPECT_LT(simulator_.now_ns() - before, 3 * kSecond);
        client_.reset();
        TearDown();
    }
}

TEST_F(ClientTest, closing_ends_a_write_that_the_server_does_not_take) {
    start({.stream = {.buffered_bytes = 4096}});
    server_->decide = [](const Request&) { return Act::deaf; };
    ASSERT_TRUE(open().ok());
    const uint64_t before = simulator_.now_ns();
    run([](io::Executor& executor, NbdClient& client) -> io::Task<void> {
        io::TaskGroup group(executor);
        const std::vector<std::byte> bytes(1 << 20);
        group.spawn([](NbdClient& from) -> io::Task<void> {
            EXPECT_FALSE((co_await from.flush()).ok());
        }(client));
        group.spawn([](NbdClient& to, const std::vector<std::byte>& from) -> io::Task<void> {
            EXPECT_FALSE((co_await to.write(0, from, {})).ok());
        }(client, bytes));
        co_await executor.sleep_ns(kSecond);
        co_await client.close();
        co_await group.join();
    }(simulator_, *client_));
    EXPECT_LT(simulator_.now_ns() - before, 3 * kSecond);
    client_.reset();
}

TEST_F(ClientTest, what_the_server_lacks_is_done_otherwise_or_not_at_all) {
    start({.flags = kHasFlags | kSendFlush});
    ASSERT_TRUE(open().ok());
    const auto bytes = filled(512, 1);
    EXPECT_TRUE(run(client_->write(0, bytes, {.force_unit_access = true})).ok());
    EXPECT_EQ(count(Command::flush), 1U);
    EXPECT_EQ(server_->durable[0], std::byte{1});
    EXPECT_TRUE(run(client_->write_zeroes(0, 1 << 20, {.force_unit_access = true})).ok());
    EXPECT_EQ(count(Command::write_zeroes), 0U);
    EXPECT_EQ(count(Command::flush), 2U);
    EXPECT_EQ(server_->durable[0], std::byte{0});
    EXPECT_TRUE(run(client_->discard(0, 1 << 20)).ok());
    EXPECT_EQ(count(Command::trim), 0U);
    TearDown();

    start();
    server_->error = static_cast<uint32_t>(WireError::not_supported);
    server_->decide = [](const Request& request) {
        return is(request, Command::write_zeroes) || is(request, Command::trim) ? Act::fail
                                                                                : Act::serve;
    };
    ASSERT_TRUE(open().ok());
    EXPECT_TRUE(write(0, 5).ok());
    EXPECT_TRUE(run(client_->write_zeroes(0, 4096, {})).ok());
    EXPECT_EQ(server_->data[0], std::byte{0});
    EXPECT_TRUE(run(client_->discard(0, 4096)).ok());
}

TEST_F(ClientTest, errors_of_the_server_reach_the_caller) {
    for (const bool structured : {true, false}) {
        start({.structured = structured});
        server_->decide = [](const Request&) { return Act::fail; };
        ASSERT_TRUE(open().ok());
        for (const auto& [error, code] :
             {std::pair{5U, ErrorCode::io}, std::pair{22U, ErrorCode::invalid_argument},
              std::pair{28U, ErrorCode::no_space}, std::pair{1U, ErrorCode::read_only},
              std::pair{777U, ErrorCode::io}}) {
            server_->error = error;
            const auto failed = write(0, 1);
            EXPECT_EQ(failed.error().code(), code);
            if (structured) EXPECT_TRUE(failed.error().message().contains("(b?d)"));
            EXPECT_EQ(read(0, 512).error().code(), code);
        }
        EXPECT_EQ(client_->reconnections(), 0U);
        TearDown();
    }
}

TEST_F(ClientTest, a_server_that_shuts_down_is_waited_for) {
    start();
    int failures = 1;
    server_->error = static_cast<uint32_t>(WireError::shutdown);
    server_->decide = [&](const Request&) { return failures-- > 0 ? Act::fail : Act::serve; };
    ASSERT_TRUE(open().ok());
    EXPECT_TRUE(write(0, 9).ok());
    EXPECT_EQ(client_->reconnections(), 1U);
}

TEST_F(ClientTest, extents_are_what_the_server_says_in_whole_sectors) {
    start();
    server_->contexts["base:allocation"] = {{0, 4096, 0},
                                            {4096, 8192, 3},
                                            {12288, 100, 2},
                                            {12388, 5000, 0},
                                            {17388, (1 << 20) - 17388, 3}};
    ASSERT_TRUE(open().ok());
    const auto extents = run(client_->extents(512, 40 * 1024, 10));
    ASSERT_TRUE(extents.ok()) << extents.error().message();
    ASSERT_EQ(extents->size(), 4U);
    const auto expect = [&](size_t i, uint64_t offset, uint64_t length, block::ExtentKind kind) {
        EXPECT_EQ((*extents)[i].offset_bytes, offset) << i;
        EXPECT_EQ((*extents)[i].length_bytes, length) << i;
        EXPECT_EQ((*extents)[i].kind, kind) << i;
    };
    expect(0, 512, 3584, block::ExtentKind::data);
    expect(1, 4096, 8192, block::ExtentKind::hole);
    expect(2, 12288, 5120, block::ExtentKind::data);
    expect(3, 17408, 41472 - 17408, block::ExtentKind::hole);
    EXPECT_EQ(run(client_->extents(512, 40 * 1024, 2))->size(), 2U);
    TearDown();

    start({.structured = false});
    ASSERT_TRUE(open().ok());
    const auto all = run(client_->extents(512, 8192, 10));
    ASSERT_EQ(all->size(), 1U);
    EXPECT_EQ(all->front().length_bytes, 8192U);
    EXPECT_EQ(all->front().kind, block::ExtentKind::data);
}

TEST_F(ClientTest, changed_ranges_come_from_the_named_context) {
    start({.block_min = 4096});
    server_->contexts["base:allocation"] = {{0, 1 << 20, 0}};
    server_->contexts["stoa:changed-since=x"] = {
        {0, 8192, 0}, {8192, 4096, 1}, {12288, (1 << 20) - 12288, 0}};
    ASSERT_TRUE(open({.contexts = {"stoa:changed-since=x", "stoa:changed-since=y"}}).ok());
    EXPECT_TRUE(client_->has_context("stoa:changed-since=x"));
    const auto changed = run(client_->changed("stoa:changed-since=x", 512, 20'480, 10));
    ASSERT_TRUE(changed.ok()) << changed.error().message();
    const std::vector<StatusRange> wanted = {{512, 7680, 0}, {8192, 4096, 1}, {12288, 8704, 0}};
    EXPECT_EQ(*changed, wanted);
    EXPECT_EQ(run(client_->changed("stoa:changed-since=y", 0, 512, 10)).error().code(),
              ErrorCode::unsupported);
}

TEST_F(ClientTest, what_is_wrong_in_a_request_never_reaches_the_server) {
    start();
    ASSERT_TRUE(open({.read_only = true}).ok());
    EXPECT_EQ(write(0, 1).error().code(), ErrorCode::read_only);
    EXPECT_EQ(run(client_->discard(0, 4096)).error().code(), ErrorCode::read_only);
    EXPECT_EQ(read(100, 512).error().code(), ErrorCode::invalid_argument);
    EXPECT_EQ(read(0, 100).error().code(), ErrorCode::invalid_argument);
    EXPECT_EQ(read(1 << 20, 512).error().code(), ErrorCode::out_of_range);
    EXPECT_TRUE(read(1 << 20, 0).ok());
    EXPECT_TRUE(server_->log.empty());
}

TEST_F(ClientTest, an_export_that_cannot_be_used_is_refused) {
    start({.flags = kHasFlags | kReadOnly});
    EXPECT_EQ(open().error().code(), ErrorCode::read_only);
    EXPECT_TRUE(open({.read_only = true}).ok());
    TearDown();
    start({.size_bytes = 1000});
    EXPECT_EQ(open().error().code(), ErrorCode::unsupported);
    TearDown();
    start({.size_bytes = 4096 + 512, .block_min = 4096});
    EXPECT_EQ(open().error().code(), ErrorCode::unsupported);
    TearDown();
    start({.block_min = 3});
    EXPECT_EQ(open().error().code(), ErrorCode::io);
    start();
    EXPECT_EQ(open({.in_flight_max = 0}).error().code(), ErrorCode::invalid_argument);
    server_->refuses_connections = true;
    EXPECT_EQ(open().error().code(), ErrorCode::io);
}

}  // namespace
}  // namespace stoa::nbd
