#include "controlplane/http/web_socket.h"

#include <gtest/gtest.h>
#include <boost/beast/core/buffers_to_string.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/websocket/stream.hpp>

#include "controlplane/http/test_server.h"

namespace stoa::http {
namespace {

using std::chrono::milliseconds;
namespace websocket = boost::beast::websocket;
using Unix = asio::local::stream_protocol;

template <class Condition>
bool eventually(const Condition& condition) {
    for (int i = 0; i < 500; ++i) {
        if (condition()) return true;
        std::this_thread::sleep_for(milliseconds(10));
    }
    return false;
}

// Beast's own client, blocking.
class Client {
public:
    Client(const std::string& socket_path, const std::string& target) : stream_(loop_) {
        stream_.next_layer().connect(Unix::endpoint(socket_path));
        stream_.handshake("localhost", target, error_);
    }
    void send(std::string_view text) {
        stream_.write(asio::buffer(text.data(), text.size()), error_);
    }
    std::string receive() {
        boost::beast::flat_buffer buffer;
        stream_.read(buffer, error_);
        return boost::beast::buffers_to_string(buffer.data());
    }
    [[nodiscard]] bool is_closed() const { return error_ == websocket::error::closed; }
    [[nodiscard]] const boost::system::error_code& error() const { return error_; }
    [[nodiscard]] websocket::close_reason reason() const { return stream_.reason(); }
    websocket::stream<Unix::socket>& stream() { return stream_; }

private:
    asio::io_context loop_;
    websocket::stream<Unix::socket> stream_;
    boost::system::error_code error_;
};

TEST(WebSocket, passes_messages_both_ways) {
    TestServer server;
    Client client(server.socket_path(), "/talk");
    client.send("one");
    EXPECT_EQ(client.receive(), "one");
    EXPECT_TRUE(client.stream().got_text());
    client.stream().binary(true);
    client.send(std::string("\0two", 4));
    EXPECT_EQ(client.receive(), std::string("\0two", 4));
    EXPECT_TRUE(client.stream().got_binary());
}

TEST(WebSocket, closes_with_the_code_that_the_handler_says) {
    TestServer server;
    Client client(server.socket_path(), "/talk");
    client.send("bye");
    client.receive();
    EXPECT_TRUE(client.is_closed()) << client.error().message();
    EXPECT_EQ(client.reason().code, 4410);
    EXPECT_EQ(std::string(client.reason().reason.c_str()), "begin anew");
    EXPECT_TRUE(eventually([&] { return server.connections() == 0; }));
}

TEST(WebSocket, a_failed_handler_closes_with_its_error) {
    TestServer server;
    Client client(server.socket_path(), "/talk");
    client.send("fail");
    client.receive();
    EXPECT_EQ(client.reason().code, 1011);
    EXPECT_EQ(std::string(client.reason().reason.c_str()), "it went wrong");
}

TEST(WebSocket, the_handler_ends_when_the_client_leaves) {
    TestServer server;
    {
        Client client(server.socket_path(), "/talk");
        EXPECT_TRUE(eventually([&] { return server.service().talks == 1; }));
    }
    EXPECT_TRUE(eventually([&] { return server.service().talks == 0; }));
    EXPECT_TRUE(eventually([&] { return server.connections() == 0; }));
}

TEST(WebSocket, the_queue_to_a_client_is_bounded) {
    TestServer server({.socket_queue_bytes_max = 50'000});
    Client client(server.socket_path(), "/talk");
    client.send("burst");
    client.send("after");
    int received = 0;
    while (client.receive() != "after" && !client.error()) ++received;
    EXPECT_EQ(received, server.service().burst_sent);
    EXPECT_GE(received, 49);
    EXPECT_LE(received, 51);
}

TEST(WebSocket, messages_that_are_too_long_end_it) {
    TestServer server({.socket_message_bytes_max = 1000});
    Client client(server.socket_path(), "/talk");
    client.send(std::string(1001, 'x'));
    client.receive();
    // The server may be gone before the client has answered its farewell.
    EXPECT_TRUE(client.is_closed() || client.error() == boost::asio::error::broken_pipe)
        << client.error().message();
    EXPECT_EQ(client.reason().code, 1009);
}

TEST(WebSocket, a_client_that_answers_no_ping_is_dropped) {
    TestServer server({.ping_limit = milliseconds(100)});
    Client client(server.socket_path(), "/talk");
    EXPECT_TRUE(eventually([&] { return server.service().talks == 1; }));
    EXPECT_TRUE(eventually([&] { return server.service().talks == 0; }));
}

TEST(WebSocket, closing_the_server_says_1001) {
    TestServer server;
    Client client(server.socket_path(), "/talk");
    client.send("x");
    EXPECT_EQ(client.receive(), "x");
    auto closing = server.start_closing();
    client.receive();
    EXPECT_EQ(client.reason().code, 1001);
    closing.wait();
}

TEST(WebSocket, what_asks_for_no_upgrade_is_told_so) {
    TestServer server;
    RawClient client(server.socket_path());
    const std::string answer = client.ask("GET /talk HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(status_line(answer), "HTTP/1.1 400 Bad Request");
    EXPECT_NE(answer.find("ask for an upgrade"), std::string::npos);
    EXPECT_NE(client.ask("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n"), "");
}

// A guest's console: says again what it hears, ends at "exit".
class Console {
public:
    explicit Console(const std::string& path) : acceptor_(loop_, Unix::endpoint(path)) {
        thread_ = std::thread([this] { serve(); });
    }
    Console(const Console&) = delete;
    Console& operator=(const Console&) = delete;
    ~Console() { thread_.join(); }

private:
    void serve() {
        boost::system::error_code error;
        Unix::socket guest(loop_);
        acceptor_.accept(guest, error);
        std::array<char, 100> piece{};
        while (!error) {
            const size_t count = guest.read_some(asio::buffer(piece), error);
            const std::string_view text(piece.data(), count);
            if (error || text == "exit") break;
            asio::write(guest, asio::buffer(text.data(), text.size()), error);
        }
    }
    asio::io_context loop_;
    Unix::acceptor acceptor_;
    std::thread thread_;
};

TEST(Proxy, passes_bytes_until_the_host_ends) {
    TestServer server;
    const std::string path = server.directory() + "/serial";
    Console console(path);
    Client client(server.socket_path(), "/proxy?path=" + percent_encode(path));
    client.send("login: ");
    EXPECT_EQ(client.receive(), "login: ");
    EXPECT_TRUE(client.stream().got_binary());
    client.send("exit");
    client.receive();
    EXPECT_TRUE(client.is_closed()) << client.error().message();
    EXPECT_EQ(client.reason().code, 1000);
}

TEST(Proxy, lets_go_of_the_host_when_the_client_leaves) {
    TestServer server;
    const std::string path = server.directory() + "/serial";
    Console console(path);  // its destructor waits for the end of the connection
    Client client(server.socket_path(), "/proxy?path=" + percent_encode(path));
    client.send("a");
    EXPECT_EQ(client.receive(), "a");
    client.stream().next_layer().close();
}

TEST(Proxy, says_when_nothing_listens) {
    TestServer server;
    Client client(server.socket_path(), "/proxy?path=" + percent_encode(server.directory() + "/x"));
    client.receive();
    EXPECT_EQ(client.reason().code, 1011);
}

}  // namespace
}  // namespace stoa::http
