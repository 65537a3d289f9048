#include "dataplane/serve/nbd/client_handshake.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace stoa::nbd {

namespace {

constexpr uint64_t kOldstyleMagic = 0x00420281861253;
constexpr size_t kRepliesMax = 1024;  // to one option
constexpr size_t kPrintableMax = 256;
constexpr uint32_t kBlockBytesMinMax = 64 * 1024;

class ClientHandshake {
public:
    ClientHandshake(io::Executor& executor, std::unique_ptr<io::Stream> stream,
                    const ClientWishes& wishes, const std::function<void(io::Stream*)>& in_use)
        : executor_(executor), wishes_(wishes), in_use_(in_use) {
        result_.stream = std::move(stream);
        result_.offer.context_ids.resize(wishes.contexts.size());
        in_use_(result_.stream.get());
    }

    io::Task<Result<Chosen>> run() {
        CO_TRY(co_await greet());
        if (wishes_.tls != nullptr) CO_TRY(co_await start_tls());
        CO_TRY(co_await send(Option::structured_reply));
        CO_TRY_ASSIGN(const Reply structured, co_await receive(Option::structured_reply));
        if (structured.kind == OptionReply::error_tls_required) co_return refused(structured);
        result_.offer.structured_replies = structured.kind == OptionReply::ack;
        if (result_.offer.structured_replies && !wishes_.contexts.empty()) {
            CO_TRY(co_await set_contexts());
        }
        CO_TRY(co_await go());
        const uint32_t block = result_.offer.block_bytes_min;
        if (result_.offer.size_bytes % std::max(block, kBlockBytesMin) != 0) {
            co_return Error(ErrorCode::unsupported,
                            fmt::format("{}: {} bytes are no multiple of a block of {}", who(),
                                        result_.offer.size_bytes, std::max(block, kBlockBytesMin)));
        }
        if (result_.offer.size_bytes > uint64_t{1} << 62) {
            co_return violation(fmt::format("an export of {} bytes", result_.offer.size_bytes));
        }
        co_return std::move(result_);
    }

private:
    struct Reply {
        OptionReply kind = OptionReply::ack;
        std::vector<std::byte> data;
    };

    [[nodiscard]] std::string who() const {
        return fmt::format("export \"{}\" of {}", wishes_.export_name, result_.stream->peer());
    }
    [[nodiscard]] Error violation(std::string_view what) const {
        return {ErrorCode::io, fmt::format("{}: breaks the protocol: {}", who(), what)};
    }
    [[nodiscard]] Error refused(const Reply& reply) const {
        const std::string_view text(reinterpret_cast<const char*>(reply.data.data()),
                                    reply.data.size());
        const std::string said = text.empty() ? "" : fmt::format(" ({})", printable(text));
        switch (reply.kind) {
            case OptionReply::error_unknown:
                return {ErrorCode::not_found, fmt::format("{}: is not there{}", who(), said)};
            case OptionReply::error_tls_required:
                return {ErrorCode::invalid_argument,
                        fmt::format("{}: the server wants TLS{}", who(), said)};
            case OptionReply::error_unsupported:
            case OptionReply::error_platform:
            case OptionReply::error_block_size_required:
                return {ErrorCode::unsupported,
                        fmt::format("{}: the server cannot serve us{}", who(), said)};
            default:
                return {ErrorCode::io, fmt::format("{}: the server refuses, {:#x}{}", who(),
                                                   static_cast<uint32_t>(reply.kind), said)};
        }
    }

    io::Task<Result<void>> greet() {
        std::array<std::byte, kGreetingBytes> hello{};
        CO_TRY(co_await io::read_exactly(*result_.stream, hello));
        Reader from(hello);
        const bool is_nbd = from.take<uint64_t>() == kServerMagic;
        const auto style = from.take<uint64_t>();
        const auto flags = from.take<uint16_t>();
        if (is_nbd && (style == kOldstyleMagic || (flags & kFixedNewstyle) == 0)) {
            co_return Error(ErrorCode::unsupported,
                            who() + ": the server speaks an old form of the protocol only");
        }
        if (!is_nbd || style != kOptionMagic) co_return violation("no NBD server greets like this");
        no_zeroes_ = (flags & kNoZeroes) != 0;
        Writer answer;
        answer.put(static_cast<uint32_t>(kFixedNewstyle | (flags & kNoZeroes)));
        co_return co_await io::write_all(*result_.stream, answer.bytes());
    }

    io::Task<Result<void>> send(Option option) { return send(option, Writer()); }
    io::Task<Result<void>> send(Option option, Writer data) {
        Writer message;
        encode_option(message, option, data.bytes());
        co_return co_await io::write_all(*result_.stream, message.bytes());
    }

    io::Task<Result<Reply>> receive(Option option) {
        std::array<std::byte, kOptionReplyHeaderBytes> bytes{};
        CO_TRY(co_await io::read_exactly(*result_.stream, bytes));
        const auto header = decode_option_reply(bytes);
        if (!header || header->option != static_cast<uint32_t>(option)) {
            co_return violation("no reply to the option that was asked");
        }
        if (header->length_bytes > kOptionBytesMax) {
            co_return violation(fmt::format("a reply of {} bytes", header->length_bytes));
        }
        Reply reply;
        reply.kind = header->reply;
        reply.data.resize(header->length_bytes);
        CO_TRY(co_await io::read_exactly(*result_.stream, reply.data));
        co_return std::move(reply);
    }

    io::Task<Result<void>> start_tls() {
        CO_TRY(co_await send(Option::starttls));
        CO_TRY_ASSIGN(const Reply reply, co_await receive(Option::starttls));
        if (reply.kind != OptionReply::ack) {
            co_return Error(ErrorCode::invalid_argument,
                            who() + ": TLS is wanted, but the server offers none");
        }
        auto encrypted = co_await wishes_.tls->connect(executor_, std::move(result_.stream));
        in_use_(encrypted.ok() ? encrypted->get() : nullptr);
        if (!encrypted.ok()) co_return encrypted.error();
        result_.stream = *std::move(encrypted);
        co_return Result<void>{};
    }

    io::Task<Result<void>> set_contexts() {
        Writer data;
        encode_meta_request(data, {wishes_.export_name, wishes_.contexts});
        CO_TRY(co_await send(Option::set_meta_context, std::move(data)));
        auto& ids = result_.offer.context_ids;
        for (size_t count = 0; count < kRepliesMax; ++count) {
            CO_TRY_ASSIGN(const Reply reply, co_await receive(Option::set_meta_context));
            if (reply.kind == OptionReply::ack) co_return Result<void>{};
            if (is_error(reply.kind)) {  // it has none; or no such export, which GO will tell
                std::ranges::fill(ids, std::nullopt);
                co_return Result<void>{};
            }
            if (reply.kind != OptionReply::meta_context) co_return violation("no context");
            Reader from(reply.data);
            const auto id = from.take<uint32_t>();
            const std::string name = from.take_text(from.left());
            if (!from.good()) co_return violation("a context without a number");
            const auto wish = std::ranges::find(wishes_.contexts, name);
            if (wish == wishes_.contexts.end()) continue;
            if (std::ranges::find(ids, id) != ids.end()) {
                co_return violation("two contexts with one number");
            }
            ids[static_cast<size_t>(wish - wishes_.contexts.begin())] = id;
        }
        co_return violation("too many contexts");
    }

    io::Task<Result<void>> go() {
        Writer data;
        encode_info_request(
            data, {wishes_.export_name,
                   {static_cast<uint16_t>(Info::name), static_cast<uint16_t>(Info::block_size)}});
        CO_TRY(co_await send(Option::go, std::move(data)));
        bool told = false;
        for (size_t count = 0; count < kRepliesMax; ++count) {
            CO_TRY_ASSIGN(const Reply reply, co_await receive(Option::go));
            if (reply.kind == OptionReply::ack) {
                co_return told ? Result<void>{} : violation("an export without a size");
            }
            if (reply.kind == OptionReply::error_unsupported) co_return co_await go_old_way();
            if (is_error(reply.kind)) co_return refused(reply);
            if (reply.kind != OptionReply::info) co_return violation("no information");
            CO_TRY(take_info(reply.data, told));
        }
        co_return violation("too much information");
    }

    Result<void> take_info(ConstBytes data, bool& told) {
        Offer& offer = result_.offer;
        Reader from(data);
        switch (static_cast<Info>(from.take<uint16_t>())) {
            case Info::exported:
                offer.size_bytes = from.take<uint64_t>();
                offer.flags = from.take<uint16_t>();
                told = true;
                break;
            case Info::block_size: {
                const auto minimum = from.take<uint32_t>();
                from.take<uint32_t>();  // preferred
                const auto maximum = from.take<uint32_t>();
                const bool good = minimum > 0 && (minimum & (minimum - 1)) == 0 &&
                                  minimum <= kBlockBytesMinMax &&
                                  maximum >= std::max(minimum, kBlockBytesMin);
                if (!good) {
                    return violation(fmt::format("blocks of {} to {} bytes", minimum, maximum));
                }
                offer.block_bytes_min = minimum;
                offer.block_bytes_max = std::min(maximum, kPayloadBytesMax);
                break;
            }
            case Info::name: offer.name = from.take_text(from.left()); break;
            default: from.take_text(from.left()); break;
        }
        if (!from.good() || from.left() > 0) return violation("information of a wrong length");
        return {};
    }

    // NBD_OPT_EXPORT_NAME: a server that does not know the export hangs up.
    io::Task<Result<void>> go_old_way() {
        Writer name;
        name.put(wishes_.export_name);
        CO_TRY(co_await send(Option::export_name, std::move(name)));
        std::array<std::byte, 10 + kExportNameZeroes> answer{};
        const size_t size = no_zeroes_ ? 10 : answer.size();
        CO_TRY(co_await io::read_exactly(*result_.stream, MutableBytes(answer).first(size)));
        result_.offer.size_bytes = load_be<uint64_t>(answer.data());
        result_.offer.flags = load_be<uint16_t>(answer.data() + 8);
        co_return Result<void>{};
    }

    io::Executor& executor_;
    const ClientWishes& wishes_;
    const std::function<void(io::Stream*)>& in_use_;
    Chosen result_;
    bool no_zeroes_ = false;
};

}  // namespace

std::string printable(std::string_view text) {
    std::string result(text.substr(0, kPrintableMax));
    for (char& each : result) {
        if (each < ' ' || each > '~') each = '?';
    }
    return result;
}

io::Task<Result<Chosen>> choose_export(io::Executor& executor, std::unique_ptr<io::Stream> stream,
                                       const ClientWishes& wishes,
                                       std::function<void(io::Stream*)> in_use) {
    ClientHandshake handshake(executor, std::move(stream), wishes, in_use);
    auto result = co_await handshake.run();
    if (!result.ok()) in_use(nullptr);  // the stream ends with the handshake
    co_return std::move(result);
}

}  // namespace stoa::nbd
