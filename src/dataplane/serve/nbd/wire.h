// The NBD protocol's bytes, both directions; pure. Specification: doc/proto.md of the NBD project.
//
// Everything is big-endian. Whatever arrives is decoded without reading beyond it.
#pragma once

#include <array>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace stoa::nbd {

// ---- "Handshake phase"
constexpr uint64_t kServerMagic = 0x4e42444d41474943;       // "NBDMAGIC"
constexpr uint64_t kOptionMagic = 0x49484156454f5054;       // "IHAVEOPT"
constexpr uint64_t kOptionReplyMagic = 0x0003e889045565a9;
constexpr uint16_t kFixedNewstyle = 1;  // handshake flags, server and client
constexpr uint16_t kNoZeroes = 2;
constexpr size_t kGreetingBytes = 18;
constexpr size_t kOptionHeaderBytes = 16;
constexpr size_t kOptionReplyHeaderBytes = 20;
constexpr size_t kStringBytesMax = 4096;       // "Values": a string
constexpr size_t kOptionBytesMax = 64 * 1024;  // of an option's data that we take
constexpr size_t kExportNameZeroes = 124;

enum class Option : uint32_t {
    export_name = 1,
    abort = 2,
    list = 3,
    starttls = 5,
    info = 6,
    go = 7,
    structured_reply = 8,
    list_meta_context = 9,
    set_meta_context = 10,
};

enum class OptionReply : uint32_t {
    ack = 1,
    server = 2,
    info = 3,
    meta_context = 4,
    error_unsupported = 0x80000001,
    error_policy = 0x80000002,
    error_invalid = 0x80000003,
    error_platform = 0x80000004,
    error_tls_required = 0x80000005,
    error_unknown = 0x80000006,
    error_shutdown = 0x80000007,
    error_block_size_required = 0x80000008,
    error_too_big = 0x80000009,
};
[[nodiscard]] constexpr bool is_error(OptionReply reply) {
    return (static_cast<uint32_t>(reply) & 0x80000000U) != 0;
}

enum class Info : uint16_t { exported = 0, name = 1, description = 2, block_size = 3 };

// Transmission flags.
constexpr uint16_t kHasFlags = 1 << 0;
constexpr uint16_t kReadOnly = 1 << 1;
constexpr uint16_t kSendFlush = 1 << 2;
constexpr uint16_t kSendFua = 1 << 3;
constexpr uint16_t kSendTrim = 1 << 5;
constexpr uint16_t kSendWriteZeroes = 1 << 6;
constexpr uint16_t kSendDontFragment = 1 << 7;
constexpr uint16_t kCanMultiConn = 1 << 8;
constexpr uint16_t kSendCache = 1 << 10;
constexpr uint16_t kSendFastZero = 1 << 11;

// ---- "Transmission phase"
constexpr uint32_t kRequestMagic = 0x25609513;
constexpr uint32_t kSimpleReplyMagic = 0x67446698;
constexpr uint32_t kStructuredReplyMagic = 0x668e33ef;
constexpr size_t kRequestBytes = 28;
constexpr size_t kSimpleReplyBytes = 16;
constexpr size_t kChunkHeaderBytes = 20;
constexpr uint32_t kPayloadBytesMax = 32 << 20;
constexpr uint32_t kBlockBytesMin = 512;
constexpr uint32_t kBlockBytesPreferred = 4096;

enum class Command : uint16_t {
    read = 0,
    write = 1,
    disconnect = 2,
    flush = 3,
    trim = 4,
    cache = 5,
    write_zeroes = 6,
    block_status = 7,
};
constexpr size_t kCommands = 8;

// Command flags.
constexpr uint16_t kFua = 1 << 0;
constexpr uint16_t kNoHole = 1 << 1;
constexpr uint16_t kDontFragment = 1 << 2;
constexpr uint16_t kRequireOne = 1 << 3;
constexpr uint16_t kFastZero = 1 << 4;

struct Request {
    uint16_t flags = 0;
    uint16_t command = 0;  // a Command, or anything
    uint64_t cookie = 0;
    uint64_t offset_bytes = 0;
    uint32_t length_bytes = 0;
};

enum class Chunk : uint16_t {
    none = 0,
    offset_data = 1,
    offset_hole = 2,
    block_status = 5,
    error = 0x8001,
    error_offset = 0x8002,
};
constexpr uint16_t kChunkDone = 1 << 0;

struct ChunkHeader {
    uint16_t flags = 0;
    uint16_t type = 0;  // a Chunk, or anything
    uint64_t cookie = 0;
    uint32_t length_bytes = 0;
};

// Error values of the wire; those of Linux by intent.
enum class WireError : uint32_t {
    none = 0,
    not_permitted = 1,
    io = 5,
    no_memory = 12,
    invalid = 22,
    no_space = 28,
    overflow = 75,
    not_supported = 95,
    shutdown = 108,
};
// `on_write`: out_of_range is "no space" for what writes (section "Error values").
[[nodiscard]] WireError to_wire(ErrorCode code, bool on_write);
[[nodiscard]] ErrorCode from_wire(uint32_t error);

// Of metadata contexts. base:allocation: 1 = hole, 2 = reads zero.
struct Descriptor {
    uint32_t length_bytes = 0;
    uint32_t flags = 0;
};
// One more range of at most 4 GiB - 1 after those there; a range with the flags of the last one
// makes that longer. false: there are `descriptors_max` already.
[[nodiscard]] bool append(std::vector<Descriptor>& to, uint32_t length_bytes, uint32_t flags,
                          size_t descriptors_max);
constexpr std::string_view kBaseAllocation = "base:allocation";
constexpr uint32_t kStatusHole = 1;
constexpr uint32_t kStatusZero = 2;
// stoa:changed-since=SNAPSHOT
constexpr std::string_view kChangedSince = "stoa:changed-since=";
constexpr uint32_t kStatusChanged = 1;
constexpr uint32_t kStatusChangedToZero = 2;

template <class T>
[[nodiscard]] T load_be(const std::byte* from) {
    T value = 0;
    for (size_t i = 0; i < sizeof value; ++i) {
        value = static_cast<T>(value << 8 | static_cast<T>(from[i]));
    }
    return value;
}
template <class T>
void store_be(std::byte* to, T value) {
    for (size_t i = 0; i < sizeof value; ++i) {
        to[sizeof value - 1 - i] = static_cast<std::byte>(value >> (8 * i) & 0xFF);
    }
}

// Appends to a message.
class Writer {
public:
    template <std::unsigned_integral T>
    Writer& put(T value) {
        const size_t at = bytes_.size();
        bytes_.resize(at + sizeof value);
        store_be(bytes_.data() + at, value);
        return *this;
    }
    Writer& put(std::string_view text) {
        const auto* from = reinterpret_cast<const std::byte*>(text.data());
        bytes_.insert(bytes_.end(), from, from + text.size());
        return *this;
    }
    Writer& put_zeroes(size_t count) {
        bytes_.resize(bytes_.size() + count);
        return *this;
    }
    [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }
    [[nodiscard]] std::vector<std::byte>& bytes() { return bytes_; }

private:
    std::vector<std::byte> bytes_;
};

// Takes from a message; what is not there reads as zero or empty and makes it bad.
class Reader {
public:
    explicit Reader(ConstBytes bytes) : left_(bytes) {}
    template <class T>
    T take() {
        if (left_.size() < sizeof(T)) return fail<T>();
        const T value = load_be<T>(left_.data());
        left_ = left_.subspan(sizeof(T));
        return value;
    }
    std::string take_text(size_t size_bytes) {
        if (left_.size() < size_bytes) return fail<std::string>();
        std::string text(reinterpret_cast<const char*>(left_.data()), size_bytes);
        left_ = left_.subspan(size_bytes);
        return text;
    }
    [[nodiscard]] size_t left() const { return left_.size(); }
    [[nodiscard]] bool good() const { return good_; }

private:
    template <class T>
    T fail() {
        good_ = false;
        left_ = {};
        return T{};
    }
    ConstBytes left_;
    bool good_ = true;
};

struct OptionHeader {
    uint32_t option = 0;  // an Option, or anything
    uint32_t length_bytes = 0;
};
// nullopt: not the magic number.
std::optional<OptionHeader> decode_option(ConstBytes header);
void encode_option(Writer& to, Option option, ConstBytes data);

struct OptionReplyHeader {
    uint32_t option = 0;
    OptionReply reply = OptionReply::ack;
    uint32_t length_bytes = 0;
};
std::optional<OptionReplyHeader> decode_option_reply(ConstBytes header);
void encode_option_reply(Writer& to, uint32_t option, OptionReply reply, ConstBytes data);

// Data of INFO and GO.
struct InfoRequest {
    std::string export_name;
    std::vector<uint16_t> wanted;
};
// Errors of these: invalid_argument (what of the data is wrong).
Result<InfoRequest> decode_info_request(ConstBytes data);
void encode_info_request(Writer& to, const InfoRequest& request);

// Data of LIST_META_CONTEXT and SET_META_CONTEXT.
struct MetaRequest {
    std::string export_name;
    std::vector<std::string> queries;
};
Result<MetaRequest> decode_meta_request(ConstBytes data);
void encode_meta_request(Writer& to, const MetaRequest& request);

std::optional<Request> decode_request(ConstBytes bytes);  // kRequestBytes of them
void encode_request(std::byte* to, const Request& request);
void encode_simple_reply(std::byte* to, WireError error, uint64_t cookie);
std::optional<ChunkHeader> decode_chunk_header(ConstBytes bytes);  // kChunkHeaderBytes of them
void encode_chunk_header(std::byte* to, const ChunkHeader& header);

}  // namespace stoa::nbd
