// For tests: a client that does exactly what it is told, step by step, in simulated time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "dataplane/io/memory_stream.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/serve/nbd/server.h"
#include "dataplane/serve/nbd/test_export.h"

namespace stoa::nbd {

inline ConstBytes bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }
inline std::string text_of(ConstBytes bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class TestClient {
public:
    struct OptionAnswer {
        uint32_t option = 0;
        OptionReply reply = OptionReply::ack;
        std::string data;
        friend bool operator==(const OptionAnswer&, const OptionAnswer&) = default;
    };
    struct Piece {  // one chunk of a structured reply
        Chunk type = Chunk::none;
        uint64_t cookie = 0;
        std::string payload;
        // Of the parts of payload, by kind.
        [[nodiscard]] uint64_t offset() const { return Reader(bytes_of(payload)).take<uint64_t>(); }
        [[nodiscard]] std::string data() const { return payload.substr(8); }
        [[nodiscard]] uint32_t hole_bytes() const {
            return Reader(bytes_of(payload).subspan(8)).take<uint32_t>();
        }
        [[nodiscard]] uint32_t error() const { return Reader(bytes_of(payload)).take<uint32_t>(); }
        [[nodiscard]] uint64_t error_offset() const {
            return Reader(bytes_of(payload).last(8)).take<uint64_t>();
        }
        [[nodiscard]] uint32_t context() const { return error(); }
        // "length:flags length:flags"
        [[nodiscard]] std::string status() const {
            Reader from(bytes_of(payload).subspan(4));
            std::string text;
            while (from.left() > 0) {
                if (!text.empty()) text += " ";
                text += std::to_string(from.take<uint32_t>()) + ":";
                text += std::to_string(from.take<uint32_t>());
            }
            return text;
        }
    };

    TestClient(io::sim::Simulator& simulator, std::unique_ptr<io::Stream> stream)
        : simulator_(simulator), stream_(std::move(stream)) {}

    // ---- bytes
    // False: the server has hung up.
    bool send(ConstBytes bytes) { return simulator_.run(io::write_all(*stream_, bytes)).ok(); }
    // Empty: the server has hung up.
    std::string receive(size_t size_bytes) {
        std::string text(size_bytes, '\0');
        const auto into = std::as_writable_bytes(std::span(text));
        if (!simulator_.run(io::read_exactly(*stream_, into)).ok()) text.clear();
        return text;
    }
    // Reads until the server hangs up; true if it sent nothing more.
    bool has_been_left() {
        std::string more(1, '\0');
        const auto got =
            simulator_.run(stream_->read_some(std::as_writable_bytes(std::span(more))));
        return !got.ok() || *got == 0;
    }
    void hang_up() { stream_.reset(); }

    // ---- handshake
    bool greet(uint32_t flags = kFixedNewstyle | kNoZeroes) {
        const std::string hello = receive(kGreetingBytes);
        Writer expected;
        expected.put(kServerMagic).put(kOptionMagic).put<uint16_t>(kFixedNewstyle | kNoZeroes);
        Writer answer;
        answer.put(flags);
        return hello == text_of(expected.bytes()) && send(answer.bytes());
    }
    void send_option(Option option, ConstBytes data = {}) {
        Writer message;
        encode_option(message, option, data);
        send(message.bytes());
    }
    OptionAnswer option_answer() {
        const std::string header = receive(kOptionReplyHeaderBytes);
        const auto reply = decode_option_reply(bytes_of(header));
        if (!reply) return {0, OptionReply::error_platform, "not an answer"};
        return {reply->option, reply->reply, receive(reply->length_bytes)};
    }
    // All answers; the last one is an acknowledgement or an error.
    std::vector<OptionAnswer> option(Option option, ConstBytes data = {}) {
        send_option(option, data);
        std::vector<OptionAnswer> all;
        do {
            all.push_back(option_answer());
        } while (!is_error(all.back().reply) && all.back().reply != OptionReply::ack);
        return all;
    }
    std::vector<OptionAnswer> info(Option which, std::string_view name,
                                   std::vector<uint16_t> wanted = {}) {
        Writer data;
        encode_info_request(data, {std::string(name), std::move(wanted)});
        return option(which, data.bytes());
    }
    std::vector<OptionAnswer> meta(Option which, std::string_view name,
                                   std::vector<std::string> queries) {
        Writer data;
        encode_meta_request(data, {std::string(name), std::move(queries)});
        return option(which, data.bytes());
    }
    // The names in the answer to meta().
    static std::string names(const std::vector<OptionAnswer>& answers) {
        std::string all;
        for (const OptionAnswer& each : answers) {
            if (each.reply == OptionReply::meta_context) all += each.data.substr(4) + " ";
        }
        return answers.back().reply == OptionReply::ack ? all : "error";
    }
    // A handshake as most clients do it.
    TestClient& go(bool structured = true, std::vector<std::string> contexts = {}) {
        bool good = greet();
        if (structured) good = good && is_ack(option(Option::structured_reply));
        if (!contexts.empty()) {
            good = good && is_ack(meta(Option::set_meta_context, "", std::move(contexts)));
        }
        good = good && is_ack(info(Option::go, "", {static_cast<uint16_t>(Info::block_size)}));
        CHECK(good);
        return *this;
    }
    static bool is_ack(const std::vector<OptionAnswer>& answers) {
        return answers.back().reply == OptionReply::ack;
    }

    // ---- transmission
    bool request(Command command, uint64_t offset_bytes, uint32_t length_bytes, uint16_t flags = 0,
                 std::string_view data = {}, uint64_t cookie = 7) {
        std::vector<std::byte> message(kRequestBytes);
        encode_request(message.data(),
                       {flags, static_cast<uint16_t>(command), cookie, offset_bytes, length_bytes});
        const ConstBytes payload = bytes_of(data);
        message.insert(message.end(), payload.begin(), payload.end());
        return send(message);
    }
    // The error of a simple reply; 0xFFFFFFFF if there is none.
    uint32_t simple(uint64_t cookie = 7) {
        const std::string text = receive(kSimpleReplyBytes);
        Reader from(bytes_of(text));
        const bool magic = from.take<uint32_t>() == kSimpleReplyMagic;
        const auto error = from.take<uint32_t>();
        return magic && from.take<uint64_t>() == cookie ? error : UINT32_MAX;
    }
    // The chunks of one structured reply; none if the server has hung up.
    std::vector<Piece> structured() {
        std::vector<Piece> all;
        while (true) {
            const std::string text = receive(kChunkHeaderBytes);
            if (text.empty()) return {};
            const auto header = decode_chunk_header(bytes_of(text));
            if (!header) return {};
            std::string payload;
            if (header->length_bytes > 0) payload = receive(header->length_bytes);
            all.push_back({static_cast<Chunk>(header->type), header->cookie, std::move(payload)});
            if ((header->flags & kChunkDone) != 0) return all;
        }
    }
    // The error of a structured reply without data; 0: success.
    uint32_t outcome() {
        const auto pieces = structured();
        if (pieces.size() != 1) return UINT32_MAX;
        return pieces[0].type == Chunk::none ? 0 : pieces[0].error();
    }
    uint32_t ask(Command command, uint64_t offset_bytes, uint32_t length_bytes, uint16_t flags = 0,
                 std::string_view data = {}) {
        request(command, offset_bytes, length_bytes, flags, data);
        return outcome();
    }

private:
    io::sim::Simulator& simulator_;
    std::unique_ptr<io::Stream> stream_;
};

// A server with one export "disk" of 1 MiB, and clients of it.
struct TestBench {
    explicit TestBench(ServerOptions options = {}, BufferLimits limits = {})
        : buffers(simulator, limits), server(simulator, table, buffers, options) {}
    TestBench(const TestBench&) = delete;
    TestBench& operator=(const TestBench&) = delete;
    ~TestBench() {
        disk.disk().release();
        simulator.run(server.stop());
        simulator.run(buffers.stop());
    }
    TestClient connect(io::MemoryStream::Options options = {}) {
        auto [near, far] = io::MemoryStream::create(simulator, options);
        server.serve(std::move(far));
        return {simulator, std::move(near)};
    }

    io::sim::Simulator simulator{1};
    TestTable table;
    TestExport& disk = table.add(simulator, "disk", 1 << 20);
    Buffers buffers;
    Server server;
};

}  // namespace stoa::nbd
