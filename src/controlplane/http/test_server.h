// For tests: a table of routes without access check, a server with it on a thread of its own, and
// a client that sends and receives text.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/use_future.hpp>
#include <boost/asio/write.hpp>

#include "controlplane/http/problem.h"
#include "controlplane/http/proxy.h"
#include "controlplane/http/router.h"
#include "controlplane/http/server.h"

namespace stoa::http {

constexpr uint64_t kTestBodyBytesMax = 1000;

class CountedBytes : public ByteSource {
public:
    explicit CountedBytes(size_t bytes) : left_(bytes) {}
    Async<size_t> read(std::span<std::byte> into) override {
        const size_t count = std::min({into.size(), left_, size_t{10'000}});
        std::ranges::fill(into.first(count), std::byte{'x'});
        left_ -= count;
        co_return count;
    }

private:
    size_t left_;
};

// GET /hello, POST /echo (a JSON body), GET /slow (200 ms), PUT /upload (counts; up to 8 MiB),
// GET /download?bytes=&known=, GET /peer (who asks); WebSockets: GET /talk (says each message
// again; "bye" ends it, "burst" fills the queue, "fail" fails), GET /proxy?path=.
class TestService : public Service {
public:
    // Without the routes of these paths.
    explicit TestService(const std::vector<std::string>& without = {}) {
        std::vector<Route> all = routes();
        std::erase_if(all, [&](const Route& route) {
            return std::ranges::find(without, route.path) != without.end();
        });
        router_ = *Router::create(std::move(all));
    }

    asio::awaitable<Response> handle(Exchange& exchange) override {
        auto found = router_->match(exchange.head());
        if (std::holds_alternative<Response>(found)) co_return std::get<Response>(std::move(found));
        auto& match = std::get<Match>(found);
        ++handled;
        const Peer& peer = exchange.head().peer;
        if (match.route->path == "/peer") {
            co_return Response{.body = JsonObject{{"uid", peer.uid}, {"address", peer.address}}};
        }
        if (const auto* live = std::get_if<Live>(&match.route->handler)) {
            const Result<void> done = co_await exchange.upgrade(*live, match.request);
            co_return done.ok() ? Response{} : problem(done.error());
        }
        if (const auto* upload = std::get_if<Upload>(&match.route->handler)) {
            Result<Response> result =
                co_await upload->run(match.request, exchange.stream(upload->bytes_max));
            co_return result.ok() ? *std::move(result) : body_problem(result.error());
        }
        const Result<std::string> text = co_await exchange.body(kTestBodyBytesMax);
        if (!text.ok()) co_return body_problem(text.error());
        Result<Json> body = parse_body(*match.route, exchange.head(), *text);
        if (!body.ok()) co_return problem(body.error(), match.route);
        match.request.body = *std::move(body);
        Result<Response> result = co_await std::get<Read>(match.route->handler).run(match.request);
        co_return result.ok() ? *std::move(result) : problem(result.error());
    }

    std::atomic<int> handled = 0;
    std::atomic<int> talks = 0;       // that are open
    std::atomic<int> burst_sent = 0;  // messages that the queue took

private:
    static Async<Response> hello(const Request& /*request*/) {
        co_return Response{.body = JsonObject{{"hello", "world"}}};
    }
    static Async<Response> echo(const Request& request) {
        co_return Response{.body = request.body};
    }
    static Async<Response> slow(const Request& /*request*/) {
        asio::steady_timer timer(co_await asio::this_coro::executor,
                                 std::chrono::milliseconds(200));
        co_await timer.async_wait(kAwait);
        co_return Response{.text = "done\n", .text_type = "text/plain"};
    }
    static Async<Response> upload(const Request& /*request*/, ByteSource& body) {
        size_t total = 0;
        std::array<std::byte, 4096> piece{};
        for (;;) {
            CO_TRY_ASSIGN(const size_t count, co_await body.read(piece));
            if (count == 0) break;
            total += count;
        }
        co_return Response{.body = JsonObject{{"bytes", total}}};
    }
    static Async<Response> download(const Request& request) {
        const auto bytes = std::stoul(request.option("bytes"));
        Response response{.stream = std::make_unique<CountedBytes>(bytes)};
        if (request.has("known")) response.stream_bytes = bytes;
        if (request.option("known") == "wrong") response.stream_bytes = bytes + 1;
        co_return response;
    }
    Async<> talk(const Request& /*request*/, Socket& socket) {
        ++talks;
        for (;;) {
            Result<Message> message = co_await socket.receive();
            if (!message.ok()) break;
            if (message->data == "bye") {
                socket.close(CloseCode::resume_gone, "begin anew");
                break;
            }
            if (message->data == "fail") {
                --talks;
                co_return Error(ErrorCode::io, "it went wrong");
            }
            if (message->data == "burst") {
                while (socket.try_send({.data = std::string(1000, 'b')}).ok()) ++burst_sent;
                continue;
            }
            (void)co_await socket.send(*std::move(message));
        }
        --talks;
        co_return Result<void>();
    }

    std::vector<Route> routes() {
        std::vector<Route> all;
        all.push_back({.path = "/hello", .handler = Read{hello}});
        all.push_back({.method = Method::post,
                       .path = "/echo",
                       .handler = Read{echo},
                       .body_schema = JsonObject{{"type", "object"}}});
        all.push_back({.path = "/slow", .handler = Read{slow}});
        all.push_back({.path = "/peer", .handler = Read{hello}});
        all.push_back({.method = Method::put,
                       .path = "/upload",
                       .handler = Upload{.run = upload, .bytes_max = 8u << 20}});
        all.push_back({.path = "/download",
                       .handler = Read{download},
                       .query = {{.name = "bytes"}, {.name = "known"}}});
        all.push_back({.path = "/talk", .handler = Live{[this](const Request& r, Socket& s) {
                                            return talk(r, s);
                                        }}});
        all.push_back({.path = "/proxy",
                       .handler = Live{[](const Request& r, Socket& s) {
                           return proxy(s, r.option("path"));
                       }},
                       .query = {{.name = "path"}}});
        return all;
    }

    std::unique_ptr<Router> router_;
};

// Listens on `directory`/api.sock. Destroying it closes the server and joins the thread.
class TestServer {
public:
    explicit TestServer(ServerOptions options = {}) {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "stoa-http-XXXXXX").string();
        directory_ = mkdtemp(pattern.data());
        socket_path_ = directory_ + "/api.sock";
        server_ = Server::create(loop_.get_executor(), service_, std::move(options));
        thread_ = std::thread([this] { loop_.run(); });
        call([this](Server& server) {
            const Result<void> result = server.listen_unix(socket_path_);
            if (!result.ok()) fmt::print(stderr, "{}\n", result.error().message());
        });
    }
    TestServer(const TestServer&) = delete;
    TestServer& operator=(const TestServer&) = delete;
    ~TestServer() {
        if (!closed_) close();
        work_.reset();
        thread_.join();
        server_.reset();
        std::error_code ignored;
        std::filesystem::remove_all(directory_, ignored);
    }

    // On the server's thread; waits for it.
    void call(const std::function<void(Server&)>& what) {
        std::promise<void> done;
        asio::post(loop_, [&] {
            what(*server_);
            done.set_value();
        });
        done.get_future().wait();
    }
    std::future<void> start_closing() {
        closed_ = true;
        return asio::co_spawn(loop_, close_server(), asio::use_future);
    }
    void close() { start_closing().wait(); }
    size_t connections() {
        size_t count = 0;
        call([&](Server& server) { count = server.connections(); });
        return count;
    }

    [[nodiscard]] const std::string& socket_path() const { return socket_path_; }
    [[nodiscard]] const std::string& directory() const { return directory_; }
    [[nodiscard]] TestService& service() { return service_; }

private:
    AsyncVoid close_server() { co_await server_->close(); }

    std::string directory_;
    std::string socket_path_;
    asio::io_context loop_{1};
    asio::executor_work_guard<asio::io_context::executor_type> work_{loop_.get_executor()};
    TestService service_;
    std::unique_ptr<Server> server_;
    std::thread thread_;
    bool closed_ = false;
};

// A connection by the Unix socket, as bytes. Nothing waits longer than 5 s.
class RawClient {
public:
    explicit RawClient(const std::string& path) : socket_(loop_) {
        socket_.connect(asio::local::stream_protocol::endpoint(path));
    }

    void send(std::string_view text) {
        boost::system::error_code ignored;
        asio::write(socket_, asio::buffer(text.data(), text.size()), ignored);
    }
    // One answer: head, and a body of Content-Length. Less: the connection ended, or nothing came.
    std::string answer() {
        size_t end = std::string::npos;
        while (end == std::string::npos || buffer_.size() < end) {
            const size_t head = buffer_.find("\r\n\r\n");
            if (head != std::string::npos) {
                const size_t length = buffer_.find("Content-Length: ");
                end = head + 4 + (length < head ? std::stoul(buffer_.substr(length + 16)) : 0);
                if (buffer_.size() >= end) break;
            }
            if (!receive_more()) return std::exchange(buffer_, {});
        }
        std::string first = buffer_.substr(0, end);
        buffer_.erase(0, end);
        return first;
    }
    // All until the other side closes; "TIMEOUT" at the end if it does not.
    std::string rest() {
        while (receive_more()) {
        }
        if (!ended_) buffer_ += "TIMEOUT";
        return std::exchange(buffer_, {});
    }
    std::string ask(std::string_view request) {
        send(request);
        return answer();
    }

private:
    bool receive_more() {
        std::array<char, 16'384> piece{};
        boost::system::error_code error;
        size_t count = 0;
        bool came = false;
        socket_.async_read_some(asio::buffer(piece),
                                [&](const boost::system::error_code& code, size_t read) {
                                    error = code;
                                    count = read;
                                    came = true;
                                });
        loop_.restart();
        loop_.run_for(std::chrono::seconds(5));
        if (!came) {
            socket_.cancel();
            loop_.restart();
            loop_.run();
            return false;
        }
        if (error) ended_ = true;
        buffer_.append(piece.data(), count);
        return !error;
    }

    asio::io_context loop_;
    asio::local::stream_protocol::socket socket_;
    std::string buffer_;
    bool ended_ = false;
};

inline std::string body_of(const std::string& answer) {
    const size_t end = answer.find("\r\n\r\n");
    return end == std::string::npos ? std::string() : answer.substr(end + 4);
}

inline std::string status_line(const std::string& answer) {
    return answer.substr(0, answer.find("\r\n"));
}

}  // namespace stoa::http
