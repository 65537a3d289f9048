#include "controlplane/storage/blockd_client.h"

#include <functional>

#include <gtest/gtest.h>
#include <boost/asio/detached.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/write.hpp>

#include "controlplane/records/test_store.h"
#include "controlplane/storage/blockd.h"
#include "controlplane/storage/test_blockd.h"

namespace stoa::storage {
namespace {

using Acceptor = asio::local::stream_protocol::acceptor;
using Socket = asio::local::stream_protocol::socket;
using std::chrono::milliseconds;

// A daemon that says what the test wants: `answer` makes bytes of each line it gets.
class FakeDaemon {
public:
    using Answer = std::function<std::string(const std::string& line)>;
    FakeDaemon(asio::io_context& loop, const std::string& path, Answer answer)
        : acceptor_(loop, asio::local::stream_protocol::endpoint(path)),
          answer_(std::move(answer)) {
        asio::co_spawn(loop, take_connections(), asio::detached);
    }
    void close() {
        acceptor_.close();
        for (auto& one : sockets_) one->close();
    }
    // Ends the connections, and takes new ones.
    void hang_up() {
        for (auto& one : sockets_) one->close();
        sockets_.clear();
    }
    size_t connections = 0;
    std::vector<std::string> lines;

private:
    AsyncVoid take_connections() {
        for (;;) {
            auto [error, socket] = co_await acceptor_.async_accept(kAwait);
            if (error) co_return;
            ++connections;
            auto kept = std::make_shared<Socket>(std::move(socket));
            sockets_.push_back(kept);
            asio::co_spawn(acceptor_.get_executor(), serve(kept), asio::detached);
        }
    }
    AsyncVoid serve(std::shared_ptr<Socket> socket) {
        std::string buffer;
        for (;;) {
            const auto [error, count] = co_await asio::async_read_until(
                *socket, asio::dynamic_buffer(buffer), '\n', kAwait);
            if (error) co_return;
            const std::string line = buffer.substr(0, count);
            buffer.erase(0, count);
            lines.push_back(line);
            const std::string bytes = answer_(line);
            const auto [failed, written] =
                co_await asio::async_write(*socket, asio::buffer(bytes), kAwait);
            if (failed) co_return;
        }
    }

    Acceptor acceptor_;
    Answer answer_;
    std::vector<std::shared_ptr<Socket>> sockets_;
};

// The id of a request's line; 0 for events.subscribe.
uint64_t id_of(const std::string& line) {
    const auto json = parse_json(line);
    return json->at("id").to_number<uint64_t>();
}
std::string result_for(const std::string& line, const std::string& result) {
    return R"({"jsonrpc":"2.0","id":)" + std::to_string(id_of(line)) + R"(,"result":)" + result +
           "}\n";
}

AsyncVoid ask_for_own_id(BlockdClient& client, uint64_t id, size_t& right) {
    const auto answer = co_await client.call("x", JsonObject(), milliseconds(2000));
    if (answer.ok() && answer->to_number<uint64_t>() == id) ++right;
}

AsyncVoid ask_in_vain(BlockdClient& client, size_t& refused, size_t& over) {
    const auto answer = co_await client.call("x", JsonObject(), milliseconds(50));
    if (!answer.ok() && answer.error().code() == ErrorCode::busy) ++refused;
    ++over;
}

class BlockdClientTest : public ::testing::Test {
protected:
    void SetUp() override {
        BlockdClientOptions options;
        options.socket_path = directory_.file("socket");
        options.answer_bytes_max = 4096;
        options.notices_max = 8;
        options.calls_max = 16;
        options.reconnect_pause = milliseconds(5);
        client_ = BlockdClient::create(loop_.get_executor(), options);
    }
    void TearDown() override {
        records::await_on(loop_, client_->close());
        client_.reset();
        if (daemon_) daemon_->close();
        loop_.restart();
        loop_.poll();
        daemon_.reset();
    }
    void serve(FakeDaemon::Answer answer) {
        daemon_.emplace(loop_, directory_.file("socket"), std::move(answer));
    }
    Result<Json> call(milliseconds limit = milliseconds(2000)) {
        return records::await_on(loop_, client_->call("daemon.info", JsonObject(), limit));
    }

    asio::io_context loop_;
    records::TestDirectory directory_;
    std::unique_ptr<BlockdClient> client_;
    std::optional<FakeDaemon> daemon_;
};

TEST_F(BlockdClientTest, a_call_waits_for_a_daemon_that_comes_later) {
    EXPECT_FALSE(client_->is_connected());
    const auto late = call(milliseconds(30));
    ASSERT_FALSE(late.ok());
    EXPECT_EQ(late.error().code(), ErrorCode::timeout);
    EXPECT_NE(late.error().message().find(directory_.file("socket")), std::string::npos)
        << late.error().message();
    serve([](const std::string& line) { return result_for(line, "7"); });
    const auto answer = call();
    ASSERT_TRUE(answer.ok()) << answer.error().message();
    EXPECT_EQ(*answer, Json(7));
    EXPECT_TRUE(client_->is_connected());
}

TEST_F(BlockdClientTest, many_calls_wait_beside_each_other) {
    // The daemon answers in reverse, when all are there.
    std::vector<std::string> asked;
    serve([&asked](const std::string& line) {
        if (id_of(line) == 0) return std::string();
        asked.push_back(line);
        if (asked.size() < 10) return std::string();
        std::string bytes;
        for (auto at = asked.rbegin(); at != asked.rend(); ++at) {
            bytes += result_for(*at, std::to_string(id_of(*at)));
        }
        return bytes;
    });
    size_t right = 0;
    for (uint64_t id = 1; id <= 10; ++id)
        asio::co_spawn(loop_, ask_for_own_id(*client_, id, right), asio::detached);
    while (right < 10 && loop_.run_one_for(std::chrono::seconds(2)) > 0) {
    }
    EXPECT_EQ(right, 10);
}

TEST_F(BlockdClientTest, a_call_whose_connection_is_lost_is_asked_again) {
    size_t asked = 0;
    serve([&](const std::string& line) {
        if (id_of(line) == 0) return std::string();
        if (++asked == 1) {
            asio::post(loop_, [this] { daemon_->hang_up(); });
            return std::string();
        }
        return result_for(line, "true");
    });
    const auto answer = call();
    ASSERT_TRUE(answer.ok()) << answer.error().message();
    EXPECT_EQ(asked, 2);
    EXPECT_EQ(daemon_->connections, 2);
}

TEST_F(BlockdClientTest, a_silent_daemon_costs_no_more_than_the_deadline) {
    serve([](const std::string&) { return std::string(); });
    const auto answer = call(milliseconds(50));
    ASSERT_FALSE(answer.ok());
    EXPECT_EQ(answer.error().code(), ErrorCode::timeout);
}

TEST_F(BlockdClientTest, answers_nobody_asked_for_are_passed_over) {
    serve([](const std::string& line) {
        if (id_of(line) == 0) return std::string();
        return std::string(R"({"jsonrpc":"2.0","id":999,"result":1})") + "\n" +
               R"({"jsonrpc":"2.0","id":-1,"result":1})" + "\n" +
               R"({"jsonrpc":"2.0","id":"x","result":1})" + "\n" +
               R"({"jsonrpc":"2.0","method":"weather","params":{}})" + "\n" +
               result_for(line, "2") + result_for(line, "3");
    });
    const auto answer = call();
    ASSERT_TRUE(answer.ok()) << answer.error().message();
    EXPECT_EQ(*answer, Json(2));
    EXPECT_EQ(daemon_->connections, 1);
}

TEST_F(BlockdClientTest, bytes_that_are_no_message_end_the_connection_and_nothing_else) {
    size_t asked = 0;
    serve([&](const std::string& line) {
        if (id_of(line) == 0) return std::string();
        ++asked;
        if (asked == 1) return std::string("this is no JSON\n");
        if (asked == 2) return std::string(5000, 'x');  // longer than a message may be
        if (asked == 3) return std::string("{\"jsonrpc\":\"2.0\",\"id\":1}\n");
        return result_for(line, "4");
    });
    const auto answer = call(milliseconds(5000));
    ASSERT_TRUE(answer.ok()) << answer.error().message();
    EXPECT_EQ(*answer, Json(4));
    EXPECT_EQ(daemon_->connections, 4);
}

TEST_F(BlockdClientTest, an_answer_of_another_shape_is_an_error_of_this_call) {
    serve([](const std::string& line) { return result_for(line, R"({"surprise":1})"); });
    Blockd blockd(*client_);
    const auto info = records::await_on(loop_, blockd.daemon_info());
    ASSERT_FALSE(info.ok());
    EXPECT_EQ(info.error().code(), ErrorCode::io);
}

TEST_F(BlockdClientTest, an_error_keeps_its_code_and_text) {
    serve([](const std::string& line) {
        return R"({"jsonrpc":"2.0","id":)" + std::to_string(id_of(line)) +
               R"(,"error":{"code":-32000,"message":"no such pool","data":{"code":"not_found"}}})" +
               "\n";
    });
    const auto answer = call();
    ASSERT_FALSE(answer.ok());
    EXPECT_EQ(answer.error().code(), ErrorCode::not_found);
    EXPECT_EQ(answer.error().message(), "no such pool");
    Blockd blockd(*client_);
    const auto pool = records::await_on(loop_, blockd.pool_get(records::numbered(1)));
    ASSERT_TRUE(pool.ok());
    EXPECT_FALSE(pool->has_value());
}

TEST_F(BlockdClientTest, what_is_busy_is_asked_again_until_the_deadline) {
    size_t asked = 0;
    serve([&asked](const std::string& line) {
        if (id_of(line) == 0) return std::string();
        if (++asked == 3) return result_for(line, R"({"pools":[]})");
        return R"({"jsonrpc":"2.0","id":)" + std::to_string(id_of(line)) +
               R"(,"error":{"code":-32000,"message":"opening","data":{"code":"busy"}}})" + "\n";
    });
    Blockd blockd(*client_);
    EXPECT_TRUE(records::await_on(loop_, blockd.pool_list()).ok());
    EXPECT_EQ(asked, 3);
}

TEST_F(BlockdClientTest, events_come_in_order_and_losing_some_is_told) {
    std::string events;
    for (int i = 1; i <= 20; ++i) {
        events += R"({"jsonrpc":"2.0","method":"event","params":{"sequence":)" + std::to_string(i) +
                  R"(,"time_ns":1,"text":"e"}})" + "\n";
    }
    const std::string first = events.substr(0, events.find('\n') + 1);
    serve([&](const std::string& line) { return id_of(line) == 0 ? first : events; });
    const auto next = [&] { return records::await_on(loop_, client_->next_notice()); };
    EXPECT_EQ(next()->what, Notice::What::connected);
    const auto event = next();
    EXPECT_EQ(event->what, Notice::What::event);
    EXPECT_EQ(event->event.sequence, 1);
    static_cast<void>(call(milliseconds(100)));
    EXPECT_EQ(next()->what, Notice::What::lost);
    uint64_t last = 0;
    while (last != 20) last = next()->event.sequence;
    daemon_->hang_up();
    EXPECT_EQ(next()->what, Notice::What::disconnected);
    EXPECT_EQ(next()->what, Notice::What::connected);
}

TEST_F(BlockdClientTest, too_many_and_too_long_calls_are_refused) {
    size_t refused = 0;
    size_t over = 0;
    for (int i = 0; i < 20; ++i) {
        asio::co_spawn(loop_, ask_in_vain(*client_, refused, over), asio::detached);
    }
    while (over < 20 && loop_.run_one_for(std::chrono::seconds(1)) > 0) {
    }
    EXPECT_EQ(refused, 4);
    const JsonObject params{{"text", std::string(2 << 20, 'x')}};
    const auto answer = records::await_on(loop_, client_->call("x", params, milliseconds(1000)));
    EXPECT_EQ(answer.error().code(), ErrorCode::invalid_argument);
}

TEST(BlockdClient, a_real_daemon_answers_again_after_it_was_killed) {
    asio::io_context loop;
    TestBlockd daemon;
    BlockdClientOptions options;
    options.socket_path = daemon.socket_path();
    auto client = BlockdClient::create(loop.get_executor(), options);
    Blockd blockd(*client);
    const auto info = records::await_on(loop, blockd.daemon_info());
    ASSERT_TRUE(info.ok()) << info.error().message();
    daemon.kill();
    daemon.start();
    const auto again = records::await_on(loop, blockd.daemon_info());
    ASSERT_TRUE(again.ok()) << again.error().message();
    EXPECT_NE(info->pid, again->pid);
    EXPECT_EQ(info->instance, again->instance);
    // One that is stopped blocks nobody.
    daemon.pause();
    const auto silent =
        records::await_on(loop, client->call("daemon.info", JsonObject(), milliseconds(50)));
    EXPECT_EQ(silent.error().code(), ErrorCode::timeout);
    daemon.resume();
    EXPECT_TRUE(records::await_on(loop, blockd.daemon_info()).ok());
    records::await_on(loop, client->close());
}

}  // namespace
}  // namespace stoa::storage
