#include "dataplane/serve/nbd/handshake.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace stoa::nbd {

namespace {

// Of one option. Nobody needs more, and each costs memory in every block status answer.
constexpr size_t kContextsMax = 16;
constexpr size_t kQueriesMax = 256;

ConstBytes text_bytes(std::string_view text) { return std::as_bytes(std::span(text)); }

class Handshake {
public:
    Handshake(std::unique_ptr<io::Stream> stream, const ExportTable& exports,
              HandshakeOptions options, std::function<void(io::Stream*)> in_use)
        : exports_(exports), options_(options), in_use_(std::move(in_use)) {
        result_.stream = std::move(stream);
        in_use_(result_.stream.get());
    }

    io::Task<Result<Negotiated>> run() {
        CO_TRY(co_await greet());
        for (uint32_t count = 0; !ended_; ++count) {
            if (count == options_.options_max) {
                co_return Error(
                    ErrorCode::invalid_argument,
                    fmt::format("{}: {} options and no choice", result_.stream->peer(), count));
            }
            CO_TRY(co_await take_option());
        }
        co_return std::move(result_);
    }

private:
    io::Task<Result<void>> greet() {
        Writer hello;
        hello.put(kServerMagic).put(kOptionMagic).put<uint16_t>(kFixedNewstyle | kNoZeroes);
        CO_TRY(co_await io::write_all(*result_.stream, hello.bytes()));
        std::array<std::byte, 4> answer{};
        CO_TRY(co_await io::read_exactly(*result_.stream, answer));
        const auto flags = load_be<uint32_t>(answer.data());
        if ((flags & ~uint32_t{kFixedNewstyle | kNoZeroes}) != 0 || (flags & kFixedNewstyle) == 0) {
            co_return Error(ErrorCode::invalid_argument,
                            fmt::format("{}: client flags {:#x} are not those of the fixed "
                                        "newstyle handshake",
                                        result_.stream->peer(), flags));
        }
        no_zeroes_ = (flags & kNoZeroes) != 0;
        co_return Result<void>{};
    }

    io::Task<Result<void>> take_option() {
        std::array<std::byte, kOptionHeaderBytes> header{};
        CO_TRY(co_await io::read_exactly(*result_.stream, header));
        const auto option = decode_option(header);
        if (!option) {
            co_return Error(ErrorCode::invalid_argument,
                            result_.stream->peer() + ": no option where one is expected");
        }
        option_ = option->option;
        if (option->length_bytes > kOptionBytesMax) {
            if (static_cast<Option>(option_) == Option::export_name) {
                co_return Error(ErrorCode::invalid_argument,
                                fmt::format("{}: wants an export with a name of {} bytes",
                                            result_.stream->peer(), option->length_bytes));
            }
            CO_TRY(co_await drop(option->length_bytes));
            co_return co_await reply(OptionReply::error_too_big,
                                     text_bytes("the option is too long"));
        }
        std::vector<std::byte> data(option->length_bytes);
        CO_TRY(co_await io::read_exactly(*result_.stream, data));
        co_return co_await answer(data);
    }

    // Nobody is made to read four gigabytes.
    io::Task<Result<void>> drop(uint64_t length_bytes) {
        if (length_bytes > 16 * kOptionBytesMax) {
            co_return Error(
                ErrorCode::invalid_argument,
                fmt::format("{}: an option of {} bytes", result_.stream->peer(), length_bytes));
        }
        std::vector<std::byte> waste(kOptionBytesMax);
        while (length_bytes > 0) {
            const MutableBytes piece(waste.data(), std::min<size_t>(waste.size(), length_bytes));
            CO_TRY(co_await io::read_exactly(*result_.stream, piece));
            length_bytes -= piece.size();
        }
        co_return Result<void>{};
    }

    io::Task<Result<void>> answer(ConstBytes data) {
        const auto option = static_cast<Option>(option_);
        const bool is_open = !options_.tls_required || encrypted_;
        if (!is_open && option != Option::starttls && option != Option::abort) {
            if (option == Option::export_name) {  // has no way to be refused
                co_return Error(ErrorCode::invalid_argument,
                                result_.stream->peer() + ": wants an export without TLS");
            }
            co_return co_await reply(OptionReply::error_tls_required,
                                     text_bytes("this server wants TLS"));
        }
        switch (option) {
            case Option::export_name: co_return co_await choose_old_way(data);
            case Option::abort:
                ended_ = true;
                // The client need not wait for the answer.
                static_cast<void>(co_await reply(OptionReply::ack));
                co_return Result<void>{};
            case Option::list: co_return co_await list(data);
            case Option::starttls: co_return co_await start_tls(data);
            case Option::info:
            case Option::go: co_return co_await tell(data, option == Option::go);
            case Option::structured_reply: {
                if (!data.empty()) co_return co_await refuse("STRUCTURED_REPLY has no data");
                result_.structured_replies = true;
                co_return co_await reply(OptionReply::ack);
            }
            case Option::list_meta_context:
            case Option::set_meta_context:
                co_return co_await meta_contexts(data, option == Option::set_meta_context);
        }
        co_return co_await reply(OptionReply::error_unsupported);
    }

    io::Task<Result<void>> reply(OptionReply kind, ConstBytes data = {}) {
        Writer message;
        encode_option_reply(message, option_, kind, data);
        co_return co_await io::write_all(*result_.stream, message.bytes());
    }
    io::Task<Result<void>> refuse(std::string why) {
        co_return co_await reply(OptionReply::error_invalid, text_bytes(why));
    }
    io::Task<Result<void>> refuse_unknown(std::string name) {
        const std::string text = fmt::format("no export \"{}\"", name);
        co_return co_await reply(OptionReply::error_unknown, text_bytes(text));
    }

    io::Task<Result<void>> choose_old_way(ConstBytes data) {
        const std::string name(reinterpret_cast<const char*>(data.data()), data.size());
        Export* chosen = exports_.find(name);
        if (chosen == nullptr) {
            co_return Error(ErrorCode::not_found, fmt::format("{}: wants export \"{}\", which is "
                                                              "not here",
                                                              result_.stream->peer(), name));
        }
        choose(*chosen);
        Writer message;
        message.put(result_.size_bytes);
        message.put(transmission_flags(*chosen, result_.structured_replies));
        if (!no_zeroes_) message.put_zeroes(kExportNameZeroes);
        co_return co_await io::write_all(*result_.stream, message.bytes());
    }

    void choose(Export& chosen) {
        // Contexts belong to the export they were negotiated for.
        if (contexts_of_ != &chosen) result_.contexts.clear();
        result_.exported = &chosen;
        result_.size_bytes = chosen.volume().size_bytes();
        ended_ = true;
    }

    io::Task<Result<void>> list(ConstBytes data) {
        if (!data.empty()) co_return co_await refuse("LIST has no data");
        for (const Export* each : exports_.list()) {
            Writer entry;
            entry.put(static_cast<uint32_t>(each->name().size())).put(each->name());
            entry.put(each->description());
            CO_TRY(co_await reply(OptionReply::server, entry.bytes()));
        }
        co_return co_await reply(OptionReply::ack);
    }

    io::Task<Result<void>> start_tls(ConstBytes data) {
        if (!data.empty()) co_return co_await refuse("STARTTLS has no data");
        if (encrypted_) co_return co_await refuse("TLS has started already");
        if (options_.tls == nullptr) co_return co_await reply(OptionReply::error_policy);
        CO_TRY(co_await reply(OptionReply::ack));
        auto encrypted = co_await options_.tls->encrypt(std::move(result_.stream));
        in_use_(encrypted.ok() ? encrypted->get() : nullptr);
        CO_TRY_ASSIGN(result_.stream, std::move(encrypted));
        encrypted_ = true;
        // "the server MUST forget all state" of what came before in the clear.
        result_.structured_replies = false;
        result_.contexts.clear();
        co_return Result<void>{};
    }

    // INFO and GO.
    io::Task<Result<void>> tell(ConstBytes data, bool go) {
        const auto request = decode_info_request(data);
        if (!request.ok()) co_return co_await refuse(request.error().message());
        Export* chosen = exports_.find(request->export_name);
        if (chosen == nullptr) co_return co_await refuse_unknown(request->export_name);
        const auto wants = [&](Info info) {
            return std::ranges::find(request->wanted, static_cast<uint16_t>(info)) !=
                   request->wanted.end();
        };
        const auto send = [&](Info info, const auto& fill) {
            Writer message;
            message.put(static_cast<uint16_t>(info));
            fill(message);
            return reply_with(std::move(message));
        };
        CO_TRY(co_await send(Info::exported, [&](Writer& to) {
            to.put(chosen->volume().size_bytes());
            to.put(transmission_flags(*chosen, result_.structured_replies));
        }));
        // Our constraints are told whether asked for or not.
        CO_TRY(co_await send(Info::block_size, [](Writer& to) {
            to.put(kBlockBytesMin).put(kBlockBytesPreferred).put(kPayloadBytesMax);
        }));
        if (wants(Info::name)) {
            CO_TRY(co_await send(Info::name, [&](Writer& to) { to.put(chosen->name()); }));
        }
        if (wants(Info::description) && !chosen->description().empty()) {
            CO_TRY(co_await send(Info::description,
                                 [&](Writer& to) { to.put(chosen->description()); }));
        }
        CO_TRY(co_await reply(OptionReply::ack));
        if (go) choose(*chosen);
        co_return Result<void>{};
    }
    io::Task<Result<void>> reply_with(Writer message) {
        co_return co_await reply(OptionReply::info, message.bytes());
    }

    io::Task<Result<void>> meta_contexts(ConstBytes data, bool set) {
        if (set) result_.contexts.clear();
        const auto request = decode_meta_request(data);
        if (!request.ok()) co_return co_await refuse(request.error().message());
        if (set && !result_.structured_replies) {
            co_return co_await refuse("structured replies come before metadata contexts");
        }
        if (request->queries.size() > kQueriesMax) {
            co_return co_await reply(OptionReply::error_too_big, text_bytes("too many queries"));
        }
        Export* chosen = exports_.find(request->export_name);
        if (chosen == nullptr) co_return co_await refuse_unknown(request->export_name);
        const std::vector<std::string> names = matching(*chosen, request->queries, set);
        if (set && names.size() > kContextsMax) {
            co_return co_await reply(OptionReply::error_too_big, text_bytes("too many contexts"));
        }
        uint32_t number = 0;
        if (set) contexts_of_ = chosen;
        for (const std::string& name : names) {
            if (set) {
                // What is offered is there: it may have gone since the client was told of it.
                auto context = name == kBaseAllocation ? nullptr : chosen->context(name);
                if (context == nullptr && name != kBaseAllocation) continue;
                result_.contexts.push_back({name, std::move(context)});
                ++number;
            }
            Writer entry;
            entry.put(number).put(name);
            CO_TRY(co_await reply(OptionReply::meta_context, entry.bytes()));
        }
        co_return co_await reply(OptionReply::ack);
    }

    // The contexts that the queries select. A namespace alone, as "base:", lists what is in it and
    // chooses nothing; no query at all lists everything.
    static std::vector<std::string> matching(Export& exported,
                                             const std::vector<std::string>& queries, bool set) {
        std::vector<std::string> names;
        const auto add = [&](std::string name) {
            if (std::ranges::find(names, name) == names.end()) names.push_back(std::move(name));
        };
        const auto add_namespace = [&](std::string_view prefix) {
            if (kBaseAllocation.starts_with(prefix)) add(std::string(kBaseAllocation));
            for (std::string& name : exported.contexts()) {
                if (name.starts_with(prefix)) add(std::move(name));
            }
        };
        if (queries.empty() && !set) add_namespace("");
        for (const std::string& query : queries) {
            if (query.ends_with(':')) {
                if (!set) add_namespace(query);
            } else if (query.starts_with("base:")) {
                if (query == kBaseAllocation) add(query);
            } else if (exported.context(query) != nullptr) {
                add(query);
            }
        }
        return names;
    }

    const ExportTable& exports_;
    const HandshakeOptions options_;
    const std::function<void(io::Stream*)> in_use_;
    Negotiated result_;
    const Export* contexts_of_ = nullptr;
    uint32_t option_ = 0;
    bool no_zeroes_ = false;
    bool encrypted_ = false;
    bool ended_ = false;
};

}  // namespace

io::Task<Result<Negotiated>> shake_hands(std::unique_ptr<io::Stream> stream,
                                         const ExportTable& exports, HandshakeOptions options,
                                         std::function<void(io::Stream*)> in_use) {
    Handshake handshake(std::move(stream), exports, options, std::move(in_use));
    co_return co_await handshake.run();
}

uint16_t transmission_flags(const Export& exported, bool structured_replies) {
    unsigned flags = kHasFlags | kSendFlush | kSendFua | kCanMultiConn | kSendCache;
    if (exported.volume().read_only()) flags |= kReadOnly;
    else flags |= kSendTrim | kSendWriteZeroes | kSendFastZero;
    if (structured_replies) flags |= kSendDontFragment;
    return static_cast<uint16_t>(flags);
}

}  // namespace stoa::nbd
