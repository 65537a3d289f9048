// Servers that break the protocol: the client ends the connection with a reason, writes nowhere it
// should not, and goes on when a good server is back.
#include "dataplane/serve/nbd/client_link.h"

#include <functional>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "dataplane/io/sim/random.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/serve/nbd/client.h"
#include "dataplane/serve/nbd/test_client_server.h"

namespace stoa::nbd {
namespace {

using Act = TestServer::Act;
constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kOffset = 4096;
constexpr uint32_t kLength = 1024;

struct Lie {
    std::string says;  // a part of the client's complaint
    std::function<void(Writer&)> put;
};

void chunk(Writer& to, uint16_t flags, Chunk type, uint32_t length,
           uint64_t cookie = TestServer::kCookie) {
    to.put(kStructuredReplyMagic).put(flags).put(static_cast<uint16_t>(type)).put(cookie);
    to.put(length);
}
void data(Writer& to, uint64_t offset, uint32_t length, uint16_t flags = 0) {
    chunk(to, flags, Chunk::offset_data, 8 + length);
    to.put(offset).put_zeroes(length);
}
void hole(Writer& to, uint64_t offset, uint32_t length, uint16_t flags = 0) {
    chunk(to, flags, Chunk::offset_hole, 12);
    to.put(offset).put(length);
}
void end(Writer& to) { chunk(to, kChunkDone, Chunk::none, 0); }

class HostileTest : public ::testing::Test {
protected:
    ClientOptions impatient() {
        ClientOptions options;
        options.address = {"", "127.0.0.1", 10809};
        options.hold_ns = 0;
        options.request_timeout_ns = 2 * kSecond;
        options.connect_timeout_ns = 2 * kSecond;
        return options;
    }
    void lie(const Lie& lie, const std::function<io::Task<Result<void>>(NbdClient&)>& ask,
             bool structured = true) {
        SCOPED_TRACE(lie.says);
        TestServer::Options kind;
        kind.structured = structured;
        TestServer server(simulator_, kind);
        server.contexts["base:allocation"] = {{0, 1 << 20, 0}};
        server.contexts["other:one"] = {{0, 1 << 20, 0}};
        server.decide = [](const Request&) { return Act::send; };
        Writer raw;
        lie.put(raw);
        server.raw = raw.bytes();
        ClientOptions options = impatient();
        options.contexts = {"other:one"};
        auto client = *simulator_.run(NbdClient::open(simulator_, server.connector(), options));
        const auto failed = simulator_.run(ask(*client));
        ASSERT_FALSE(failed.ok());
        EXPECT_EQ(failed.error().code(), ErrorCode::io);
        EXPECT_TRUE(failed.error().message().contains(lie.says)) << failed.error().message();
        server.decide = nullptr;
        simulator_.run_for(5 * kSecond);
        const auto good = simulator_.run(ask(*client));
        EXPECT_TRUE(good.ok()) << good.error().message();
        simulator_.run(client->close());
        simulator_.run(server.join());
    }
    static io::Task<Result<void>> read(NbdClient& client) {
        // What lies around must not be touched: the sanitizer watches.
        std::vector<std::byte> into(kLength);
        co_return co_await client.read(kOffset, into);
    }
    static io::Task<Result<void>> write(NbdClient& client) {
        const std::vector<std::byte> from(kLength);
        co_return co_await client.write(kOffset, from, {});
    }
    static io::Task<Result<void>> extents(NbdClient& client) {
        const auto got = co_await client.extents(kOffset, kLength, 4);
        if (!got.ok()) co_return got.error();
        co_return Result<void>{};
    }

    io::sim::Simulator simulator_{1};
};

TEST_F(HostileTest, a_reply_to_a_read_that_is_none) {
    const std::vector<Lie> lies = {
        {"no reply where", [](Writer& to) { to.put(uint64_t{0}).put(uint64_t{0}); }},
        {"a chunk for nothing", [](Writer& to) { chunk(to, kChunkDone, Chunk::none, 0, 5); }},
        {"a chunk for nothing", [](Writer& to) { chunk(to, 1, Chunk::none, 0, UINT64_MAX); }},
        {"a reply to nothing",
         [](Writer& to) { to.put(kSimpleReplyMagic).put(uint32_t{0}).put(uint64_t{1} << 16 | 1); }},
        {"a simple reply to a read",
         [](Writer& to) {
             to.put(kSimpleReplyMagic).put(uint32_t{0}).put(TestServer::kCookie);
             to.put_zeroes(kLength);
         }},
        {"a chunk of type 7", [](Writer& to) { chunk(to, 0, static_cast<Chunk>(7), 0); }},
        {"a chunk of type 5", [](Writer& to) { chunk(to, 0, Chunk::block_status, 12); }},
        {"an empty chunk", [](Writer& to) { chunk(to, 0, Chunk::none, 0); }},
        {"an empty chunk", [](Writer& to) { chunk(to, kChunkDone, Chunk::none, 4); }},
        {"a content of 8", [](Writer& to) { chunk(to, 0, Chunk::offset_data, 8); }},
        {"a content of 0", [](Writer& to) { chunk(to, 0, Chunk::offset_data, 0); }},
        {"a content of 13", [](Writer& to) { chunk(to, 0, Chunk::offset_hole, 13); }},
        {"for a read of", [](Writer& to) { data(to, kOffset - 1, 2); }},
        {"for a read of", [](Writer& to) { data(to, kOffset, kLength + 1); }},
        {"for a read of", [](Writer& to) { data(to, kOffset + kLength, 1); }},
        {"for a read of", [](Writer& to) { data(to, UINT64_MAX - 1, 4); }},
        {"for a read of", [](Writer& to) { hole(to, kOffset + 1, UINT32_MAX); }},
        {"for a read of", [](Writer& to) { hole(to, kOffset, 0); }},
        {"for a read of",
         [](Writer& to) {
             chunk(to, 0, Chunk::offset_data, UINT32_MAX);
             to.put(kOffset);
         }},
        {"that overlap",
         [](Writer& to) {
             data(to, kOffset + 10, 20);
             hole(to, kOffset + 29, 1);
         }},
        {"that overlap",
         [](Writer& to) {
             data(to, kOffset + 10, 20);
             data(to, kOffset, 11);
         }},
        {"answered in part", [](Writer& to) { end(to); }},
        {"answered in part", [](Writer& to) { hole(to, kOffset, kLength - 1, kChunkDone); }},
        {"answered in part",
         [](Writer& to) {
             hole(to, kOffset, 10);
             hole(to, kOffset + 11, kLength - 11);
             end(to);
         }},
        {"a chunk for nothing",
         [](Writer& to) {
             // The first half of an answer to a request that has ended already.
             hole(to, kOffset, kLength - 1, 0);
             chunk(to, kChunkDone, Chunk::none, 0, 3);
         }},
        {"an error of 5", [](Writer& to) { chunk(to, 1, Chunk::error, 5); }},
        {"an error of 4294967295", [](Writer& to) { chunk(to, 1, Chunk::error, UINT32_MAX); }},
        {"an error that is none",
         [](Writer& to) {
             chunk(to, 1, Chunk::error, 6);
             to.put(uint32_t{0}).put(uint16_t{0});
         }},
        {"an error that is none",
         [](Writer& to) {
             chunk(to, 1, Chunk::error, 8);
             to.put(uint32_t{5}).put(uint16_t{3}).put("ab");
         }},
        {"an error that is none",
         [](Writer& to) {
             chunk(to, 1, Chunk::error, 60'000);
             to.put(uint32_t{5}).put(uint16_t{50'000}).put_zeroes(59'994);
         }},
        {"no answer within", [](Writer& to) { chunk(to, 1, Chunk::offset_data, 108); }},
        {"no answer within", [](Writer& to) { data(to, kOffset, kLength); }},
    };
    for (const Lie& each : lies) lie(each, read);
}

TEST_F(HostileTest, a_reply_to_another_request_that_is_none) {
    const auto simple = [](uint32_t error) {
        return
            [error](Writer& to) { to.put(kSimpleReplyMagic).put(error).put(TestServer::kCookie); };
    };
    lie({"a chunk of type 1", [](Writer& to) { data(to, kOffset, 10); }}, write);
    lie({"a reply to nothing",
         [&](Writer& to) { to.put(kSimpleReplyMagic).put(uint32_t{0}).put(uint64_t{77} << 16); }},
        write, false);
    lie({"no reply where", [](Writer& to) { end(to); }}, write, false);
    lie({"no answer within",
         [&](Writer& to) {
             simple(0)(to);
             to.put_zeroes(kLength - 1);
         }},
        read, false);
    lie({"a simple reply to a block", simple(0)}, extents);
}

TEST_F(HostileTest, a_block_status_that_is_none) {
    const auto status = [](uint32_t length, uint32_t id, const std::vector<uint32_t>& words) {
        return [=](Writer& to) {
            chunk(to, 0, Chunk::block_status, length);
            to.put(id);
            for (const uint32_t word : words) to.put(word);
        };
    };
    const std::vector<Lie> lies = {
        {"a block status of 4", status(4, 101, {})},
        {"a block status of 13", status(13, 101, {1, 1, 1})},
        {"a block status of 4294967284", status(4 + 8 * 536870910U, 101, {1, 1})},
        {"an unknown context", status(12, 7, {1024, 0})},
        {"the status of no bytes", status(20, 101, {0, 0, 1, 0})},
        {"without what was asked", [](Writer& to) { end(to); }},
        {"without what was asked",
         [&](Writer& to) {
             status(12, 102, {1024, 0})(to);
             end(to);
         }},
        {"comes twice",
         [&](Writer& to) {
             status(12, 101, {512, 0})(to);
             status(12, 101, {512, 0})(to);
         }},
        {"no answer within", status(4 + 8 * 1000, 101, {512, 0})},
    };
    for (const Lie& each : lies) lie(each, extents);
}

// Bytes instead of a greeting.
class Raw final : public Connector {
public:
    Raw(io::Executor& executor, std::vector<std::byte> bytes, bool hang_up)
        : executor_(executor), bytes_(std::move(bytes)), hang_up_(hang_up) {}
    io::Task<Result<std::unique_ptr<io::Stream>>> connect() override {
        auto [near, far] = io::MemoryStream::create(executor_, {.buffered_bytes = 1 << 20});
        CO_TRY(co_await io::write_all(*far, bytes_));
        if (!hang_up_) far_ = std::move(far);
        co_return std::unique_ptr<io::Stream>(std::move(near));
    }

private:
    io::Executor& executor_;
    std::vector<std::byte> bytes_;
    const bool hang_up_;
    std::unique_ptr<io::Stream> far_;
};

TEST_F(HostileTest, a_handshake_that_is_none) {
    const auto greeting = [](Writer& to) {
        to.put(kServerMagic).put(kOptionMagic).put<uint16_t>(kFixedNewstyle | kNoZeroes);
    };
    const auto no_structured = [&](Writer& to) {
        greeting(to);
        encode_option_reply(to, 8, OptionReply::error_unsupported, {});
    };
    const auto info = [&](Writer& to, std::initializer_list<uint16_t> words) {
        Writer body;
        for (const uint16_t word : words) body.put(word);
        no_structured(to);
        encode_option_reply(to, 7, OptionReply::info, body.bytes());
    };
    const auto error = [&](OptionReply kind) {
        return [=](Writer& to) {
            no_structured(to);
            const std::string text = "go\x1b away";
            encode_option_reply(to, 7, kind, std::as_bytes(std::span(text)));
        };
    };
    struct Case {
        ErrorCode code;
        Lie lie;
    };
    const std::vector<Case> cases = {
        {ErrorCode::io, {"hung up", [](Writer&) {}}},
        {ErrorCode::io, {"no NBD server", [](Writer& to) { to.put("SSH-2.0-OpenSSH_9.2p1"); }}},
        {ErrorCode::unsupported,
         {"old form",
          [](Writer& to) {
              to.put(kServerMagic).put(uint64_t{0x00420281861253}).put_zeroes(200);
          }}},
        {ErrorCode::unsupported,
         {"old form", [](Writer& to) { to.put(kServerMagic).put(kOptionMagic).put(uint16_t{0}); }}},
        {ErrorCode::io,
         {"no reply to the option",
          [&](Writer& to) {
              greeting(to);
              encode_option_reply(to, 7, OptionReply::ack, {});
          }}},
        {ErrorCode::io,
         {"a reply of 4294967295",
          [&](Writer& to) {
              greeting(to);
              to.put(kOptionReplyMagic).put(uint32_t{8}).put(uint32_t{1}).put(UINT32_MAX);
          }}},
        {ErrorCode::io,
         {"without a size",
          [&](Writer& to) {
              no_structured(to);
              encode_option_reply(to, 7, OptionReply::ack, {});
          }}},
        {ErrorCode::io, {"wrong length", [&](Writer& to) { info(to, {0, 1, 2}); }}},
        {ErrorCode::io, {"wrong length", [&](Writer& to) { info(to, {}); }}},
        {ErrorCode::io, {"blocks of 0", [&](Writer& to) { info(to, {3, 0, 0, 0, 1, 0, 4}); }}},
        {ErrorCode::io, {"blocks of 131072", [&](Writer& to) { info(to, {3, 2, 0, 2, 0, 8, 0}); }}},
        {ErrorCode::io,
         {"blocks of 4096", [&](Writer& to) { info(to, {3, 0, 4096, 0, 0, 0, 7}); }}},
        {ErrorCode::not_found, {"not there (go? away)", error(OptionReply::error_unknown)}},
        {ErrorCode::invalid_argument, {"wants TLS", error(OptionReply::error_tls_required)}},
        {ErrorCode::unsupported, {"cannot", error(OptionReply::error_block_size_required)}},
        {ErrorCode::io, {"refuses", error(OptionReply::error_policy)}},
        {ErrorCode::io,
         {"an export of 18446744073709551104",
          [&](Writer& to) {
              info(to, {0, 0xffff, 0xffff, 0xffff, 0xfe00, 1});
              encode_option_reply(to, 7, OptionReply::ack, {});
          }}},
        {ErrorCode::io,
         {"too much",
          [&](Writer& to) {
              no_structured(to);
              Writer body;
              body.put(uint16_t{99});
              for (int i = 0; i < 2000; ++i) {
                  encode_option_reply(to, 7, OptionReply::info, body.bytes());
              }
          }}},
    };
    for (const Case& each : cases) {
        for (const bool hang_up : {true, false}) {
            Writer raw;
            each.lie.put(raw);
            const bool has_end = !each.lie.says.starts_with("hung up");
            SCOPED_TRACE(each.lie.says);
            const auto opened = simulator_.run(NbdClient::open(
                simulator_, std::make_unique<Raw>(simulator_, raw.bytes(), hang_up), impatient()));
            ASSERT_FALSE(opened.ok());
            // A client that writes when the server has gone learns only that.
            if (hang_up) continue;
            if (has_end) EXPECT_EQ(opened.error().code(), each.code);
            const std::string wanted = has_end ? each.lie.says : "no end of the handshake";
            EXPECT_TRUE(opened.error().message().contains(wanted)) << opened.error().message();
        }
    }
}

// Damage of good servers at random: every request ends, with what was there or an error.
TEST_F(HostileTest, damaged_streams_never_hang_the_client) {
    io::sim::Random random(7);
    for (int round = 0; round < 300; ++round) {
        TestServer server(simulator_, {});
        server.contexts["base:allocation"] = {{0, 1 << 20, 0}};
        server.decide = [&](const Request& request) {
            Writer good;
            if (request.command == 0) hole(good, request.offset_bytes, request.length_bytes, 1);
            else end(good);
            server.raw = good.bytes();
            store_be(server.raw.data() + 8, TestServer::kCookie);
            if (random.next() % 3 != 0) {
                server.raw[random.next() % server.raw.size()] ^=
                    static_cast<std::byte>(1 << random.next() % 8);
            }
            if (random.next() % 5 == 0) server.raw.resize(random.next() % server.raw.size());
            return Act::send;
        };
        ClientOptions options = impatient();
        options.hold_ns = random.next() % 2 * kSecond;
        auto client = *simulator_.run(NbdClient::open(simulator_, server.connector(), options));
        const uint64_t before = simulator_.now_ns();
        for (int i = 0; i < 4; ++i) {
            static_cast<void>(simulator_.run(read(*client)));
            static_cast<void>(simulator_.run(write(*client)));
            static_cast<void>(simulator_.run(extents(*client)));
        }
        EXPECT_LT(simulator_.now_ns() - before, 60 * kSecond);
        simulator_.run(client->close());
        simulator_.run(server.join());
    }
}

}  // namespace
}  // namespace stoa::nbd
