#include "controlplane/http/server.h"

#include <sys/stat.h>

#include <gtest/gtest.h>

#include "controlplane/http/test_server.h"

namespace stoa::http {
namespace {

using std::chrono::milliseconds;

constexpr std::string_view kHello = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";

std::string post(std::string_view path, std::string_view body) {
    return fmt::format("POST {} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}", path,
                       body.size(), body);
}

template <class Condition>
bool eventually(const Condition& condition) {
    for (int i = 0; i < 500; ++i) {
        if (condition()) return true;
        std::this_thread::sleep_for(milliseconds(10));
    }
    return false;
}

TEST(Server, answers_as_text) {
    TestServer server;
    RawClient client(server.socket_path());
    EXPECT_EQ(client.ask(kHello),
              "HTTP/1.1 200 OK\r\n"
              "Cache-Control: no-store\r\n"
              "X-Content-Type-Options: nosniff\r\n"
              "Content-Type: application/json\r\n"
              "Content-Length: 18\r\n"
              "\r\n"
              "{\"hello\":\"world\"}\n");
}

TEST(Server, a_connection_serves_request_after_request_also_sent_at_once) {
    TestServer server;
    RawClient client(server.socket_path());
    client.send(std::string(kHello) + post("/echo", R"({"a":1})") + std::string(kHello));
    EXPECT_EQ(body_of(client.answer()), "{\"hello\":\"world\"}\n");
    EXPECT_EQ(body_of(client.answer()), "{\"a\":1}\n");
    EXPECT_EQ(body_of(client.answer()), "{\"hello\":\"world\"}\n");
    EXPECT_EQ(server.connections(), 1U);
}

TEST(Server, closes_when_the_client_wants_that) {
    TestServer server;
    RawClient client(server.socket_path());
    client.send("GET /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const std::string all = client.rest();
    EXPECT_NE(all.find("Connection: close\r\n"), std::string::npos) << all;
    EXPECT_TRUE(all.ends_with("{\"hello\":\"world\"}\n")) << all;
}

TEST(Server, head_has_the_length_and_no_body) {
    TestServer server;
    RawClient client(server.socket_path());
    client.send("HEAD /hello HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const std::string all = client.rest();
    EXPECT_NE(all.find("Content-Length: 18\r\n"), std::string::npos) << all;
    EXPECT_TRUE(all.ends_with("\r\n\r\n")) << all;
}

TEST(Server, what_is_no_http_is_answered_and_the_connection_ends) {
    TestServer server;
    for (const char* text :
         {"hello\r\n\r\n", "GET\r\n\r\n", "GET /hello HTTP/9.9\r\n\r\n",
          "POST /echo HTTP/1.1\r\nContent-Length: many\r\n\r\n",
          "POST /echo HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
          "POST /echo HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: "
          "chunked\r\n\r\nabc"}) {
        RawClient client(server.socket_path());
        client.send(text);
        const std::string all = client.rest();
        EXPECT_TRUE(all.starts_with("HTTP/1.1 400 Bad Request\r\n")) << text << "->" << all;
        EXPECT_NE(all.find("application/problem+json"), std::string::npos) << all;
    }
    EXPECT_EQ(server.service().handled, 0);
}

TEST(Server, a_head_that_is_too_long_is_431) {
    TestServer server({.head_bytes_max = 1000});
    RawClient client(server.socket_path());
    client.send("GET /hello HTTP/1.1\r\nX: " + std::string(2000, 'x') + "\r\n\r\n");
    EXPECT_EQ(status_line(client.rest()).substr(0, 12), "HTTP/1.1 431");
}

TEST(Server, a_body_that_is_too_long_is_413_before_it_was_sent) {
    TestServer server;
    RawClient client(server.socket_path());
    client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n");
    const std::string all = client.rest();
    EXPECT_TRUE(all.starts_with("HTTP/1.1 413 ")) << all;
    EXPECT_NE(all.find("\"detail\":\"the body has 1001 bytes, and at most 1000 are taken here\""),
              std::string::npos)
        << all;
}

TEST(Server, a_chunked_body_is_limited_too) {
    TestServer server;
    RawClient client(server.socket_path());
    const std::string head = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    EXPECT_EQ(body_of(client.ask(head + "4\r\n{\"a\"\r\n3\r\n:1}\r\n0\r\n\r\n")), "{\"a\":1}\n");
    client.send(head + "400\r\n" + std::string(1024, ' ') + "\r\n0\r\n\r\n");
    EXPECT_TRUE(client.rest().starts_with("HTTP/1.1 413 "));
}

TEST(Server, a_client_that_asks_first_is_told_to_go_on) {
    TestServer server;
    RawClient client(server.socket_path());
    client.send(
        "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    EXPECT_EQ(client.answer(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("{}");
    EXPECT_EQ(body_of(client.answer()), "{}\n");
}

TEST(Server, the_answer_arrives_though_the_body_was_not_wanted) {
    TestServer server;
    RawClient client(server.socket_path());
    client.send("POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 300000\r\n\r\n");
    client.send(std::string(300'000, 'x'));
    EXPECT_TRUE(client.rest().starts_with("HTTP/1.1 404 "));
}

TEST(Server, slow_and_silent_clients_are_dropped) {
    TestServer server({.head_limit = milliseconds(60),
                       .idle_limit = milliseconds(150),
                       .transfer_limit = milliseconds(60)});
    RawClient silent(server.socket_path());
    RawClient slow_head(server.socket_path());
    slow_head.send("GET /hello HT");
    RawClient slow_body(server.socket_path());
    slow_body.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{");
    EXPECT_EQ(slow_head.rest(), "");
    EXPECT_EQ(slow_body.rest(), "");
    EXPECT_EQ(silent.rest(), "");
    EXPECT_TRUE(eventually([&] { return server.connections() == 0; }));
    RawClient good(server.socket_path());
    EXPECT_EQ(body_of(good.ask(kHello)), "{\"hello\":\"world\"}\n");
}

TEST(Server, a_client_that_takes_nothing_is_dropped) {
    TestServer server({.transfer_limit = milliseconds(100)});
    RawClient client(server.socket_path());
    client.send("GET /download?bytes=100000000 HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(eventually([&] { return server.service().handled == 1; }));
    EXPECT_TRUE(eventually([&] { return server.connections() == 0; }));
}

TEST(Server, connections_beyond_the_limit_wait_for_their_turn) {
    TestServer server({.connections_max = 2});
    auto first = std::make_unique<RawClient>(server.socket_path());
    RawClient second(server.socket_path());
    EXPECT_NE(first->ask(kHello), "");
    EXPECT_NE(second.ask(kHello), "");
    RawClient third(server.socket_path());
    third.send(kHello);
    std::this_thread::sleep_for(milliseconds(50));
    EXPECT_EQ(server.service().handled, 2);
    first.reset();
    EXPECT_EQ(body_of(third.answer()), "{\"hello\":\"world\"}\n");
}

TEST(Server, uploads_stream) {
    TestServer server;
    RawClient client(server.socket_path());
    client.send("PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n");
    for (int i = 0; i < 30; ++i) client.send(std::string(100'000, 'u'));
    EXPECT_EQ(body_of(client.answer()), "{\"bytes\":3000000}\n");
    client.send("PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 9000000\r\n\r\n");
    EXPECT_TRUE(client.rest().starts_with("HTTP/1.1 413 "));
}

TEST(Server, downloads_stream_in_chunks_or_with_their_length) {
    TestServer server;
    RawClient client(server.socket_path());
    client.send("GET /download?bytes=25000 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    const std::string chunked = client.rest();
    EXPECT_NE(chunked.find("Transfer-Encoding: chunked\r\n"), std::string::npos);
    EXPECT_NE(chunked.find("\r\n2710\r\nxxx"), std::string::npos);
    EXPECT_TRUE(chunked.ends_with("\r\n0\r\n\r\n"));
    RawClient known(server.socket_path());
    known.send("GET /download?bytes=25000&known=yes HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_EQ(body_of(known.answer()), std::string(25'000, 'x'));
    EXPECT_NE(known.ask(kHello), "");
}

TEST(Server, a_download_that_ends_early_ends_the_connection) {
    TestServer server;
    RawClient client(server.socket_path());
    client.send("GET /download?bytes=10&known=wrong HTTP/1.1\r\nHost: x\r\n\r\n");
    const std::string all = client.rest();
    EXPECT_NE(all.find("Content-Length: 11\r\n"), std::string::npos);
    EXPECT_TRUE(all.ends_with("\r\n\r\nxxxxxxxxxx")) << all;
}

TEST(Server, the_socket_is_for_owner_and_group_and_tells_who_asks) {
    TestServer server;
    struct stat file{};
    ASSERT_EQ(stat(server.socket_path().c_str(), &file), 0);
    EXPECT_EQ(file.st_mode & 0777U, 0660U);
    RawClient client(server.socket_path());
    EXPECT_EQ(body_of(client.ask("GET /peer HTTP/1.1\r\nHost: x\r\n\r\n")),
              fmt::format("{{\"uid\":{},\"address\":\"unix\"}}\n", getuid()));
}

TEST(Server, a_socket_takes_the_place_of_a_stale_one_and_its_path_is_checked) {
    TestServer server;
    RawClient before(server.socket_path());
    EXPECT_NE(before.ask(kHello), "");
    server.call([&](Server& one) {
        EXPECT_TRUE(one.listen_unix(server.socket_path()).ok());
        EXPECT_EQ(one.listen_unix("relative").error().code(), ErrorCode::invalid_argument);
        EXPECT_EQ(one.listen_unix("/" + std::string(107, 'x')).error().code(),
                  ErrorCode::invalid_argument);
        EXPECT_EQ(one.listen_unix(server.directory() + "/none/x").error().code(), ErrorCode::io);
    });
    RawClient after(server.socket_path());
    EXPECT_NE(after.ask(kHello), "");
    EXPECT_NE(before.ask(kHello), "");
}

TEST(Server, closing_lets_a_request_end_and_drops_who_is_idle) {
    TestServer server;
    RawClient idle(server.socket_path());
    EXPECT_NE(idle.ask(kHello), "");
    RawClient busy(server.socket_path());
    busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(eventually([&] { return server.service().handled == 2; }));
    auto closing = server.start_closing();
    EXPECT_EQ(idle.rest(), "");
    const std::string last = busy.rest();
    EXPECT_TRUE(last.ends_with("done\n")) << last;
    EXPECT_NE(last.find("Connection: close"), std::string::npos);
    closing.wait();
}

TEST(Server, closing_does_not_wait_for_ever) {
    TestServer server({.close_limit = milliseconds(30)});
    RawClient stuck(server.socket_path());
    stuck.send("PUT /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx");
    EXPECT_TRUE(eventually([&] { return server.service().handled == 1; }));
    server.close();
    EXPECT_EQ(server.connections(), 0U);
}

}  // namespace
}  // namespace stoa::http
