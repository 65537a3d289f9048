// For tests of the client: a server in memory that does what it is told, also what it must not.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "dataplane/io/memory_stream.h"
#include "dataplane/io/sync.h"
#include "dataplane/serve/nbd/client_options.h"
#include "dataplane/serve/nbd/client_request.h"
#include "dataplane/serve/nbd/wire.h"

namespace stoa::nbd {

class TestServer {
public:
    enum class Act {
        serve,
        silent,   // takes the request and never answers
        hang_up,  // without doing it
        deaf,     // reads nothing more, for a while
        crash,    // does it, answers, hangs up, and forgets what was not flushed
        fail,     // answers with `error`
        send,     // answers with `raw`
    };
    struct Options {
        uint64_t size_bytes = 1 << 20;
        uint16_t flags = kHasFlags | kSendFlush | kSendFua | kSendTrim | kSendWriteZeroes;
        bool structured = true;
        bool knows_go = true;
        uint32_t block_min = 1;
        uint32_t block_max = kPayloadBytesMax;
        std::string name = "it";
        io::MemoryStream::Options stream = {};
    };

    TestServer(io::Executor& executor, const Options& wanted)
        : options(wanted), data(wanted.size_bytes), durable(wanted.size_bytes), executor_(executor),
          tasks_(executor) {}

    // Of each request, in order of arrival; nullptr: serve.
    std::function<Act(const Request&)> decide;
    Options options;
    std::vector<std::byte> data;
    std::vector<std::byte> durable;
    std::map<std::string, std::vector<StatusRange>> contexts;
    bool refuses_connections = false;
    uint32_t error = 5;
    std::vector<std::byte> raw;  // cookies: kCookie is replaced
    std::vector<Request> log;
    uint64_t connections = 0;
    uint64_t misaligned = 0;

    static constexpr uint64_t kCookie = 0xC00C1E5EED0FC001;

    std::unique_ptr<Connector> connector() { return std::make_unique<Dial>(*this); }
    io::Task<void> join() { return tasks_.join(); }

private:
    class Dial final : public Connector {
    public:
        explicit Dial(TestServer& server) : server_(server) {}
        io::Task<Result<std::unique_ptr<io::Stream>>> connect() override {
            if (server_.refuses_connections) {
                co_return Error(ErrorCode::io, "connection refused");
            }
            ++server_.connections;
            auto [near, far] = io::MemoryStream::create(server_.executor_, server_.options.stream);
            server_.tasks_.spawn(server_.attend(std::move(far)));
            co_return std::unique_ptr<io::Stream>(std::move(near));
        }

    private:
        TestServer& server_;
    };

    io::Task<void> attend(std::unique_ptr<io::MemoryStream> stream) {
        const auto ended = co_await shake(*stream);
        if (ended.ok() && *ended) static_cast<void>(co_await serve(*stream));
        stream->shut_down();
    }

    // True: an export was chosen.
    io::Task<Result<bool>> shake(io::Stream& stream) {
        Writer hello;
        hello.put(kServerMagic).put(kOptionMagic).put<uint16_t>(kFixedNewstyle | kNoZeroes);
        CO_TRY(co_await io::write_all(stream, hello.bytes()));
        std::vector<std::byte> header(4);
        CO_TRY(co_await io::read_exactly(stream, header));
        while (true) {
            header.resize(kOptionHeaderBytes);
            CO_TRY(co_await io::read_exactly(stream, header));
            const auto option = decode_option(header);
            if (!option) co_return false;
            std::vector<std::byte> payload(option->length_bytes);
            if (!payload.empty()) CO_TRY(co_await io::read_exactly(stream, payload));
            Writer answer;
            const bool chosen = reply(static_cast<Option>(option->option), payload, answer);
            CO_TRY(co_await io::write_all(stream, answer.bytes()));
            if (chosen) co_return true;
        }
    }

    bool reply(Option option, ConstBytes payload, Writer& to) {
        const auto number = static_cast<uint32_t>(option);
        const auto say = [&](OptionReply kind, const Writer& with) {
            encode_option_reply(to, number, kind, with.bytes());
        };
        if (option == Option::structured_reply && options.structured) {
            say(OptionReply::ack, {});
        } else if (option == Option::set_meta_context && options.structured) {
            const auto request = decode_meta_request(payload);
            uint32_t id = 100;
            for (const auto& [name, ranges] : contexts) {
                ++id;
                if (std::ranges::find(request->queries, name) == request->queries.end()) continue;
                Writer one;
                one.put(id).put(name);
                say(OptionReply::meta_context, one);
            }
            say(OptionReply::ack, {});
        } else if (option == Option::go && options.knows_go) {
            Writer size;
            size.put(static_cast<uint16_t>(Info::exported)).put(options.size_bytes);
            size.put(options.flags);
            say(OptionReply::info, size);
            Writer block;
            block.put(static_cast<uint16_t>(Info::block_size)).put(options.block_min);
            block.put(std::max(options.block_min, 4096U)).put(options.block_max);
            say(OptionReply::info, block);
            Writer name;
            name.put(static_cast<uint16_t>(Info::name)).put(options.name);
            say(OptionReply::info, name);
            say(OptionReply::ack, {});
            return true;
        } else if (option == Option::export_name) {
            to.put(options.size_bytes).put(options.flags);
            return true;
        } else {
            say(OptionReply::error_unsupported, {});
        }
        return false;
    }

    io::Task<Result<void>> serve(io::Stream& stream) {
        std::vector<std::byte> header(kRequestBytes);
        while (true) {
            CO_TRY(co_await io::read_exactly(stream, header));
            const auto request = decode_request(header);
            if (!request) co_return Error(ErrorCode::io, "no request");
            const auto command = static_cast<Command>(request->command);
            if (command == Command::disconnect) co_return Result<void>{};
            std::vector<std::byte> payload(command == Command::write ? request->length_bytes : 0);
            if (!payload.empty()) CO_TRY(co_await io::read_exactly(stream, payload));
            log.push_back(*request);
            if (request->offset_bytes % options.block_min != 0 ||
                request->length_bytes % options.block_min != 0 ||
                (command <= Command::write && request->length_bytes > options.block_max)) {
                ++misaligned;
            }
            const Act act = decide ? decide(*request) : Act::serve;
            if (act == Act::silent) continue;
            if (act == Act::deaf) co_await executor_.sleep_ns(10'000'000'000);
            if (act == Act::hang_up || act == Act::deaf) co_return Result<void>{};
            Writer answer;
            if (act == Act::send) {
                put_raw(answer, request->cookie);
            } else if (act == Act::fail) {
                put_error(answer, request->cookie);
            } else {
                perform(*request, payload, answer);
            }
            CO_TRY(co_await io::write_all(stream, answer.bytes()));
            if (act == Act::crash) {
                data = durable;
                co_return Result<void>{};
            }
        }
    }

    void put_raw(Writer& to, uint64_t cookie) const {
        std::vector<std::byte> bytes = raw;
        for (size_t i = 0; i + 8 <= bytes.size(); ++i) {
            if (load_be<uint64_t>(bytes.data() + i) == kCookie) {
                store_be(bytes.data() + i, cookie);
            }
        }
        to.bytes() = bytes;
    }
    void put_error(Writer& to, uint64_t cookie) const {
        if (!options.structured) {
            to.put(kSimpleReplyMagic).put(error).put(cookie);
            return;
        }
        chunk(to, kChunkDone, Chunk::error, cookie, 9);
        to.put(error).put(uint16_t{3}).put("b\nd");
    }
    static void chunk(Writer& to, uint16_t flags, Chunk type, uint64_t cookie, size_t length) {
        to.put(kStructuredReplyMagic).put(flags).put(static_cast<uint16_t>(type)).put(cookie);
        to.put(static_cast<uint32_t>(length));
    }

    void perform(const Request& request, ConstBytes payload, Writer& to) {
        const auto command = static_cast<Command>(request.command);
        const auto at = data.begin() + static_cast<ptrdiff_t>(request.offset_bytes);
        if (command == Command::write) std::ranges::copy(payload, at);
        if (command == Command::write_zeroes) std::fill_n(at, request.length_bytes, std::byte{});
        if (command == Command::trim) std::fill_n(at, request.length_bytes, std::byte{});
        if (command == Command::flush || (request.flags & kFua) != 0) durable = data;
        const ConstBytes wanted =
            ConstBytes(data).subspan(request.offset_bytes, request.length_bytes);
        if (!options.structured) {
            to.put(kSimpleReplyMagic).put(uint32_t{0}).put(request.cookie);
            if (command == Command::read) append(to, wanted);
        } else if (command == Command::read) {
            // The second half first.
            const size_t half = wanted.size() / 2;
            const uint64_t middle = request.offset_bytes + half;
            content(to, 0, request.cookie, middle, wanted.subspan(half));
            content(to, 0, request.cookie, request.offset_bytes, wanted.first(half));
            chunk(to, kChunkDone, Chunk::none, request.cookie, 0);
        } else if (command == Command::block_status) {
            uint32_t id = 100;
            for (const auto& [name, ranges] : contexts) status(to, request, ++id, ranges);
            chunk(to, kChunkDone, Chunk::none, request.cookie, 0);
        } else {
            chunk(to, kChunkDone, Chunk::none, request.cookie, 0);
        }
    }
    static void append(Writer& to, ConstBytes bytes) {
        to.bytes().insert(to.bytes().end(), bytes.begin(), bytes.end());
    }
    static void content(Writer& to, uint16_t flags, uint64_t cookie, uint64_t offset,
                        ConstBytes bytes) {
        if (is_zero(bytes)) {
            chunk(to, flags, Chunk::offset_hole, cookie, 12);
            to.put(offset).put(static_cast<uint32_t>(bytes.size()));
            return;
        }
        chunk(to, flags, Chunk::offset_data, cookie, 8 + bytes.size());
        to.put(offset);
        append(to, bytes);
    }
    static void status(Writer& to, const Request& request, uint32_t id,
                       const std::vector<StatusRange>& ranges) {
        Writer body;
        for (const StatusRange& each : ranges) {
            const uint64_t end = each.offset_bytes + each.length_bytes;
            if (end <= request.offset_bytes) continue;
            if (each.offset_bytes >= request.offset_bytes + request.length_bytes) continue;
            const uint64_t from = std::max(each.offset_bytes, request.offset_bytes);
            body.put(static_cast<uint32_t>(end - from)).put(each.flags);
        }
        chunk(to, 0, Chunk::block_status, request.cookie, 4 + body.bytes().size());
        to.put(id);
        append(to, body.bytes());
    }

    io::Executor& executor_;
    io::TaskGroup tasks_;
};

}  // namespace stoa::nbd
