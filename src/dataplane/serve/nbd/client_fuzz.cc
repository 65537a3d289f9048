// Any bytes from a server to the client: every request ends, nothing crashes or hangs.
// The first byte chooses: bit 0: after a good handshake (else the bytes are the handshake too),
// bit 1: structured replies in it, bit 2: requests are held and sent again.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "dataplane/io/memory_stream.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/serve/nbd/client.h"

using namespace stoa;
using namespace stoa::nbd;

namespace {

constexpr uint64_t kSecond = 1'000'000'000;

class Replay final : public Connector {
public:
    Replay(io::Executor& executor, std::vector<std::byte> bytes)
        : executor_(executor), bytes_(std::move(bytes)) {}
    io::Task<Result<std::unique_ptr<io::Stream>>> connect() override {
        const size_t space = bytes_.size() + (1 << 20);
        auto [near, far] = io::MemoryStream::create(executor_, {.buffered_bytes = space});
        CO_TRY(co_await io::write_all(*far, bytes_));
        far_ = std::move(far);  // hangs up with the next connection
        co_return std::unique_ptr<io::Stream>(std::move(near));
    }

private:
    io::Executor& executor_;
    const std::vector<std::byte> bytes_;
    std::unique_ptr<io::Stream> far_;
};

void put_handshake(Writer& to, bool structured) {
    to.put(kServerMagic).put(kOptionMagic).put<uint16_t>(kFixedNewstyle | kNoZeroes);
    const auto reply = [&](Option option, OptionReply kind, const Writer& data) {
        encode_option_reply(to, static_cast<uint32_t>(option), kind, data.bytes());
    };
    const auto answer = structured ? OptionReply::ack : OptionReply::error_unsupported;
    reply(Option::structured_reply, answer, {});
    if (structured) {
        Writer context;
        context.put(uint32_t{1}).put(kBaseAllocation);
        reply(Option::set_meta_context, OptionReply::meta_context, context);
        reply(Option::set_meta_context, OptionReply::ack, {});
    }
    Writer size;
    size.put(static_cast<uint16_t>(Info::exported)).put(uint64_t{1 << 20});
    size.put<uint16_t>(kHasFlags | kSendFlush | kSendFua | kSendTrim | kSendWriteZeroes);
    reply(Option::go, OptionReply::info, size);
    reply(Option::go, OptionReply::ack, {});
}

io::Task<void> ask(io::Executor& executor, NbdClient& client) {
    io::TaskGroup group(executor);
    group.spawn([](NbdClient& from) -> io::Task<void> {
        std::vector<std::byte> into(8192);
        static_cast<void>(co_await from.read(0, into));
    }(client));
    group.spawn([](NbdClient& to) -> io::Task<void> {
        const std::vector<std::byte> from(1024);
        static_cast<void>(co_await to.write(4096, from, {.force_unit_access = true}));
        static_cast<void>(co_await to.flush());
    }(client));
    group.spawn([](NbdClient& from) -> io::Task<void> {
        static_cast<void>(co_await from.extents(0, 1 << 20, 8));
        static_cast<void>(co_await from.write_zeroes(512, 4096, {}));
    }(client));
    co_await group.join();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    const uint8_t kind = data[0];
    Writer bytes;
    if ((kind & 1) != 0) put_handshake(bytes, (kind & 2) != 0);
    bytes.put(std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1));
    io::sim::Simulator simulator(1);
    ClientOptions options;
    options.hold_ns = (kind & 4) != 0 ? kSecond : 0;
    options.request_timeout_ns = kSecond;
    options.connect_timeout_ns = kSecond;
    options.backoff_min_ns = kSecond / 2;
    options.read_only = (kind & 8) != 0;
    auto opened = simulator.run(
        NbdClient::open(simulator, std::make_unique<Replay>(simulator, bytes.bytes()), options));
    if (!opened.ok()) return 0;
    simulator.run(ask(simulator, **opened));
    simulator.run((*opened)->close());
    return 0;
}
