// Sockets as a server and its clients use them.
#include "dataplane/io/socket.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <array>
#include <fstream>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/io/test_directory.h"

namespace stoa::io {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;

ListenOptions mode(mode_t mode) {
    ListenOptions options;
    options.mode = mode;
    return options;
}

ListenOptions backlog(int backlog) {
    ListenOptions options;
    options.backlog = backlog;
    return options;
}

class SocketTest : public ::testing::Test {
protected:
    struct Ends {
        std::unique_ptr<Socket> client;
        std::unique_ptr<Socket> server;
    };
    Address local(const std::string& name) { return {directory_.file(name), "", 0}; }
    Result<std::unique_ptr<Listener>> listen(const Address& address, ListenOptions options = {}) {
        return Listener::open(*reactor_, address, options);
    }
    Result<std::unique_ptr<Socket>> connect(const Address& address) {
        return reactor_->run(Socket::connect(*reactor_, address, kSecond));
    }
    Ends ends(Listener& listener) {
        auto client = connect(listener.address());
        EXPECT_TRUE(client.ok()) << client.error().message();
        auto server = reactor_->run(listener.accept());
        EXPECT_TRUE(server.ok());
        return {*std::move(client), *std::move(server)};
    }

    TestDirectory directory_;
    std::unique_ptr<Reactor> reactor_ = *Reactor::create();
};

std::vector<std::byte> pattern(size_t size) {
    std::vector<std::byte> bytes(size);
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i * 7 + i / 251);
    return bytes;
}

TEST_F(SocketTest, bytes_arrive_whole_and_in_order_over_unix_and_tcp) {
    for (const Address& address :
         {local("a"), Address{"", "127.0.0.1", 0}, Address{"", "::1", 0}}) {
        auto listener = listen(address);
        ASSERT_TRUE(listener.ok()) << listener.error().message();
        Ends both = ends(**listener);
        const std::vector<std::byte> sent = pattern(3'000'000);  // more than a socket buffers
        std::vector<std::byte> received(sent.size());
        reactor_->run([](Reactor& reactor, Ends& from, const std::vector<std::byte>& out,
                         std::vector<std::byte>& in) -> Task<void> {
            TaskGroup group(reactor);
            group.spawn([](Socket& to, const std::vector<std::byte>& bytes) -> Task<void> {
                std::array<ConstBytes, 3> parts{ConstBytes(bytes).first(1), ConstBytes{},
                                                ConstBytes(bytes).subspan(1)};
                EXPECT_TRUE((co_await to.write(parts)).ok());
            }(*from.client, out));
            EXPECT_TRUE((co_await read_exactly(*from.server, in)).ok());
            co_await group.join();
        }(*reactor_, both, sent, received));
        EXPECT_EQ(received, sent);
    }
}

TEST_F(SocketTest, the_end_of_the_peer_reads_as_nothing_and_fails_what_is_expected) {
    auto listener = *listen(local("a"));
    Ends both = ends(*listener);
    both.client.reset();
    std::array<std::byte, 8> buffer{};
    EXPECT_EQ(*reactor_->run(both.server->read_some(buffer)), 0U);
    const auto whole = reactor_->run(read_exactly(*both.server, buffer));
    EXPECT_EQ(whole.error().code(), ErrorCode::io);
    EXPECT_EQ(reactor_->run(write_all(*both.server, buffer)).error().code(), ErrorCode::io);
}

TEST_F(SocketTest, shutting_down_ends_what_waits) {
    auto listener = *listen(Address{"", "127.0.0.1", 0});
    Ends both = ends(*listener);
    reactor_->run([](Reactor& reactor, Socket& socket, Listener& waiting) -> Task<void> {
        TaskGroup group(reactor);
        group.spawn([](Socket& from) -> Task<void> {
            std::array<std::byte, 8> buffer{};
            EXPECT_EQ((co_await from.read_some(buffer)).error().code(), ErrorCode::cancelled);
        }(socket));
        group.spawn([](Socket& to) -> Task<void> {
            const std::vector<std::byte> more(64 << 20);  // nobody reads it
            EXPECT_EQ((co_await write_all(to, more)).error().code(), ErrorCode::cancelled);
        }(socket));
        group.spawn([](Listener& from) -> Task<void> {
            EXPECT_EQ((co_await from.accept()).error().code(), ErrorCode::cancelled);
        }(waiting));
        co_await reactor.sleep_ns(20'000'000);
        socket.shut_down();
        waiting.shut_down();
        co_await group.join();
    }(*reactor_, *both.server, *listener));
}

TEST_F(SocketTest, a_unix_socket_has_its_mode_and_tells_who_connected) {
    auto listener = *listen(local("a"), mode(0620));
    struct stat there{};
    ASSERT_EQ(::stat(listener->address().path.c_str(), &there), 0);
    EXPECT_EQ(there.st_mode & 0777, 0620U);
    Ends both = ends(*listener);
    const auto who = both.server->credentials();
    ASSERT_TRUE(who.ok());
    EXPECT_EQ(who->uid, ::getuid());
    EXPECT_EQ(who->pid, ::getpid());
}

TEST_F(SocketTest, a_new_listener_takes_the_place_of_a_dead_one_and_removes_only_its_own) {
    auto first = *listen(local("a"));
    EXPECT_EQ(listen(local("a")).error().code(), ErrorCode::in_use);
    ListenOptions options;
    options.takes_over = true;
    auto second = listen(local("a"), options);
    ASSERT_TRUE(second.ok()) << second.error().message();
    first.reset();
    EXPECT_TRUE(connect(local("a")).ok());
    second->reset();
    EXPECT_EQ(connect(local("a")).error().code(), ErrorCode::not_found);
}

TEST_F(SocketTest, a_file_is_not_replaced_by_a_socket) {
    std::ofstream(local("a").path) << "precious";
    EXPECT_EQ(listen(local("a")).error().code(), ErrorCode::in_use);
    EXPECT_EQ(listen(local("missing/a")).error().code(), ErrorCode::not_found);
    EXPECT_EQ(listen(local(std::string(108, 'x'))).error().code(), ErrorCode::invalid_argument);
}

TEST_F(SocketTest, a_port_that_is_taken_is_said_to_be) {
    auto listener = *listen(Address{"", "127.0.0.1", 0});
    EXPECT_NE(listener->address().port, 0);
    EXPECT_EQ(listen(listener->address()).error().code(), ErrorCode::in_use);
    const Address gone = listener->address();
    listener.reset();
    EXPECT_EQ(connect(gone).error().code(), ErrorCode::io);
}

TEST_F(SocketTest, connecting_gives_up_after_its_time) {
    auto listener = *listen(local("a"), backlog(0));
    std::vector<std::unique_ptr<Socket>> waiting;
    ErrorCode last = ErrorCode::io;
    for (int i = 0; i < 8 && last != ErrorCode::busy; ++i) {
        auto socket = reactor_->run(Socket::connect(*reactor_, listener->address(), kSecond / 20));
        if (socket.ok()) waiting.push_back(*std::move(socket));
        else last = socket.error().code();
    }
    EXPECT_EQ(last, ErrorCode::busy);
}

TEST_F(SocketTest, accepting_waits_while_descriptors_are_short) {
    auto listener = *listen(local("a"));
    auto client = *connect(listener->address());
    rlimit before{};
    getrlimit(RLIMIT_NOFILE, &before);
    const int next_free = ::dup(0);
    ::close(next_free);
    rlimit scarce = before;
    scarce.rlim_cur = static_cast<rlim_t>(next_free);
    setrlimit(RLIMIT_NOFILE, &scarce);
    reactor_->run([](Reactor& reactor, Listener& from, rlimit enough) -> Task<void> {
        TaskGroup group(reactor);
        bool accepted = false;
        group.spawn([](Listener& waiting, bool& done) -> Task<void> {
            EXPECT_TRUE((co_await waiting.accept()).ok());
            done = true;
        }(from, accepted));
        co_await reactor.sleep_ns(120'000'000);
        EXPECT_FALSE(accepted);
        setrlimit(RLIMIT_NOFILE, &enough);
        co_await group.join();
    }(*reactor_, *listener, before));
}

TEST_F(SocketTest, who_would_take_one_of_the_last_descriptors_is_turned_away) {
    ListenOptions options;
    options.spares_descriptors = true;
    auto listener = *listen(local("a"), options);
    auto client = *connect(listener->address());
    rlimit before{};
    getrlimit(RLIMIT_NOFILE, &before);
    const int next_free = ::dup(0);
    ::close(next_free);
    rlimit scarce = before;
    scarce.rlim_cur = static_cast<rlim_t>(next_free) + 2;
    setrlimit(RLIMIT_NOFILE, &scarce);
    const auto refused = reactor_->run(listener->accept());
    setrlimit(RLIMIT_NOFILE, &before);
    EXPECT_EQ(refused.error().code(), ErrorCode::busy);
    std::vector<std::byte> byte(1);
    const auto got = reactor_->run(client->read_some(byte));
    EXPECT_TRUE(!got.ok() || *got == 0);
    auto second = *connect(listener->address());
    EXPECT_TRUE(reactor_->run(listener->accept()).ok());
}

TEST(AddressTest, text_and_address_are_the_same) {
    for (const char* text : {"unix:/run/a.socket", "tcp:127.0.0.1:10809", "tcp:[::1]:0"}) {
        const auto address = Address::parse(text);
        ASSERT_TRUE(address.ok()) << address.error().message();
        EXPECT_EQ(address->to_string(), text);
    }
    EXPECT_EQ(Address::parse("tcp:localhost:7")->port, 7);
    for (const char* text : {"", "unix:", "tcp:1.2.3.4", "tcp:1.2.3.4:", "tcp:1.2.3.4:65536",
                             "tcp:1.2.3.4:1x", "tcp::1", "tcp:example.org:1", "1.2.3.4:5"}) {
        EXPECT_EQ(Address::parse(text).error().code(), ErrorCode::invalid_argument) << text;
    }
}

}  // namespace
}  // namespace stoa::io
