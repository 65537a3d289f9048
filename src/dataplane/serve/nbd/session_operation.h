// A request in a session, from its arrival until its answer has been sent.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "dataplane/serve/nbd/session.h"

namespace stoa::nbd {

// Used again and again.
struct Session::Operation {
    static constexpr size_t kErrorTextMax = 1024;

    Request request;
    uint64_t started_ns = 0;
    AlignedBuffer data;
    size_t reserved_bytes = 0;               // admitted for `header`, if that may be long
    WireError failed = WireError::none;      // a part of it, which the answer says already
    // The answer: parts point into `header` (by offset, as it grows) and `data`.
    struct Part {
        bool in_header = false;
        size_t offset = 0;
        size_t size = 0;
    };
    std::vector<std::byte> header;
    std::vector<Part> parts;

    [[nodiscard]] Command command() const { return static_cast<Command>(request.command); }
    [[nodiscard]] bool has(uint16_t flag) const { return (request.flags & flag) != 0; }

    std::byte* add_header(size_t size) {
        const size_t at = header.size();
        header.resize(at + size);
        if (!parts.empty() && parts.back().in_header &&
            parts.back().offset + parts.back().size == at) {
            parts.back().size += size;
        } else {
            parts.push_back({true, at, size});
        }
        return header.data() + at;
    }
    void add_data(size_t offset, size_t size) { parts.push_back({false, offset, size}); }
    // A chunk that tells an error; `offset_bytes` is where it happened.
    void add_error(uint16_t flags, WireError error, std::string_view text,
                   std::optional<uint64_t> offset_bytes) {
        text = text.substr(0, kErrorTextMax);
        const size_t length = 6 + text.size() + (offset_bytes ? 8 : 0);
        add_chunk(offset_bytes ? Chunk::error_offset : Chunk::error, flags, length);
        store_be(add_header(4), static_cast<uint32_t>(error));
        store_be(add_header(2), static_cast<uint16_t>(text.size()));
        if (!text.empty()) std::memcpy(add_header(text.size()), text.data(), text.size());
        if (offset_bytes) store_be(add_header(8), *offset_bytes);
    }
    void add_chunk(Chunk type, uint16_t flags, size_t length) {
        encode_chunk_header(
            add_header(kChunkHeaderBytes),
            {flags, static_cast<uint16_t>(type), request.cookie, static_cast<uint32_t>(length)});
    }
};

}  // namespace stoa::nbd
