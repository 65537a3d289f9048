#include "dataplane/serve/nbd/wire.h"

#include <fmt/format.h>

namespace stoa::nbd {

namespace {

Error malformed(std::string_view what) {
    return {ErrorCode::invalid_argument, fmt::format("malformed option: {}", what)};
}

// A string with its length before it.
Result<std::string> take_string(Reader& from, std::string_view what) {
    const auto length = from.take<uint32_t>();
    if (length > kStringBytesMax) {
        return malformed(fmt::format("{} of {} bytes; at most {}", what, length, kStringBytesMax));
    }
    return from.take_text(length);
}

void put_string(Writer& to, std::string_view text) {
    to.put(static_cast<uint32_t>(text.size())).put(text);
}

}  // namespace

WireError to_wire(ErrorCode code, bool on_write) {
    switch (code) {
        case ErrorCode::invalid_argument: return WireError::invalid;
        case ErrorCode::out_of_range: return on_write ? WireError::no_space : WireError::invalid;
        case ErrorCode::no_space: return WireError::no_space;
        case ErrorCode::cancelled: return WireError::shutdown;
        case ErrorCode::unsupported: return WireError::not_supported;
        // Also read_only: whoever was offered the volume for writing sees a disk that fails.
        default: return WireError::io;
    }
}

bool append(std::vector<Descriptor>& to, uint32_t length_bytes, uint32_t flags,
            size_t descriptors_max) {
    if (!to.empty() && to.back().flags == flags) to.back().length_bytes += length_bytes;
    else if (to.size() == descriptors_max) return false;
    else to.push_back({length_bytes, flags});
    return true;
}

ErrorCode from_wire(uint32_t error) {
    switch (static_cast<WireError>(error)) {
        case WireError::not_permitted: return ErrorCode::read_only;
        case WireError::invalid:
        case WireError::overflow: return ErrorCode::invalid_argument;
        case WireError::no_space: return ErrorCode::no_space;
        case WireError::not_supported: return ErrorCode::unsupported;
        case WireError::shutdown: return ErrorCode::cancelled;
        default: return ErrorCode::io;
    }
}

std::optional<OptionHeader> decode_option(ConstBytes header) {
    Reader from(header);
    if (from.take<uint64_t>() != kOptionMagic) return std::nullopt;
    OptionHeader option;
    option.option = from.take<uint32_t>();
    option.length_bytes = from.take<uint32_t>();
    return from.good() ? std::optional(option) : std::nullopt;
}

void encode_option(Writer& to, Option option, ConstBytes data) {
    to.put(kOptionMagic).put(static_cast<uint32_t>(option)).put(static_cast<uint32_t>(data.size()));
    to.bytes().insert(to.bytes().end(), data.begin(), data.end());
}

std::optional<OptionReplyHeader> decode_option_reply(ConstBytes header) {
    Reader from(header);
    if (from.take<uint64_t>() != kOptionReplyMagic) return std::nullopt;
    OptionReplyHeader reply;
    reply.option = from.take<uint32_t>();
    reply.reply = static_cast<OptionReply>(from.take<uint32_t>());
    reply.length_bytes = from.take<uint32_t>();
    return from.good() ? std::optional(reply) : std::nullopt;
}

void encode_option_reply(Writer& to, uint32_t option, OptionReply reply, ConstBytes data) {
    to.put(kOptionReplyMagic).put(option).put(static_cast<uint32_t>(reply));
    to.put(static_cast<uint32_t>(data.size()));
    to.bytes().insert(to.bytes().end(), data.begin(), data.end());
}

Result<InfoRequest> decode_info_request(ConstBytes data) {
    Reader from(data);
    InfoRequest request;
    TRY_ASSIGN(request.export_name, take_string(from, "an export name"));
    const auto count = from.take<uint16_t>();
    for (size_t i = 0; i < count && from.good(); ++i) {
        request.wanted.push_back(from.take<uint16_t>());
    }
    if (!from.good() || from.left() > 0) return malformed("its length is not that of its parts");
    return request;
}

void encode_info_request(Writer& to, const InfoRequest& request) {
    put_string(to, request.export_name);
    to.put(static_cast<uint16_t>(request.wanted.size()));
    for (const uint16_t wanted : request.wanted) to.put(wanted);
}

Result<MetaRequest> decode_meta_request(ConstBytes data) {
    Reader from(data);
    MetaRequest request;
    TRY_ASSIGN(request.export_name, take_string(from, "an export name"));
    const auto count = from.take<uint32_t>();
    for (size_t i = 0; i < count && from.good(); ++i) {
        TRY_ASSIGN(std::string query, take_string(from, "a query"));
        request.queries.push_back(std::move(query));
    }
    if (!from.good() || from.left() > 0) return malformed("its length is not that of its parts");
    return request;
}

void encode_meta_request(Writer& to, const MetaRequest& request) {
    put_string(to, request.export_name);
    to.put(static_cast<uint32_t>(request.queries.size()));
    for (const std::string& query : request.queries) put_string(to, query);
}

std::optional<Request> decode_request(ConstBytes bytes) {
    CHECK(bytes.size() >= kRequestBytes);
    const std::byte* from = bytes.data();
    if (load_be<uint32_t>(from) != kRequestMagic) return std::nullopt;
    Request request;
    request.flags = load_be<uint16_t>(from + 4);
    request.command = load_be<uint16_t>(from + 6);
    request.cookie = load_be<uint64_t>(from + 8);
    request.offset_bytes = load_be<uint64_t>(from + 16);
    request.length_bytes = load_be<uint32_t>(from + 24);
    return request;
}

void encode_request(std::byte* to, const Request& request) {
    store_be(to, kRequestMagic);
    store_be(to + 4, request.flags);
    store_be(to + 6, request.command);
    store_be(to + 8, request.cookie);
    store_be(to + 16, request.offset_bytes);
    store_be(to + 24, request.length_bytes);
}

void encode_simple_reply(std::byte* to, WireError error, uint64_t cookie) {
    store_be(to, kSimpleReplyMagic);
    store_be(to + 4, static_cast<uint32_t>(error));
    store_be(to + 8, cookie);
}

std::optional<ChunkHeader> decode_chunk_header(ConstBytes bytes) {
    CHECK(bytes.size() >= kChunkHeaderBytes);
    const std::byte* from = bytes.data();
    if (load_be<uint32_t>(from) != kStructuredReplyMagic) return std::nullopt;
    ChunkHeader header;
    header.flags = load_be<uint16_t>(from + 4);
    header.type = load_be<uint16_t>(from + 6);
    header.cookie = load_be<uint64_t>(from + 8);
    header.length_bytes = load_be<uint32_t>(from + 16);
    return header;
}

void encode_chunk_header(std::byte* to, const ChunkHeader& header) {
    store_be(to, kStructuredReplyMagic);
    store_be(to + 4, header.flags);
    store_be(to + 6, header.type);
    store_be(to + 8, header.cookie);
    store_be(to + 16, header.length_bytes);
}

}  // namespace stoa::nbd
