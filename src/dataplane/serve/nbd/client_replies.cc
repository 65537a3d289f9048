// What a server sends, checked against what it was asked (proto.md, "Transmission phase"). Part of
// ClientLink.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "dataplane/serve/nbd/client_link.h"

namespace stoa::nbd {

namespace {

constexpr uint32_t kDescriptorBytes = 8;
constexpr uint32_t kStatusBytesMax = 4 + kDescriptorBytes * (1U << 20);  // what proto.md allows
constexpr uint32_t kErrorBytesMax = 64 * 1024;
constexpr uint16_t kErrorBit = 1 << 15;

}  // namespace

// The stream has the request's buffers while this lives.
class ClientLink::Receiving {
public:
    Receiving(ClientLink& link, ClientRequest& request) : link_(link), request_(request) {
        request_.receiving = true;
    }
    Receiving(const Receiving&) = delete;
    Receiving& operator=(const Receiving&) = delete;
    ~Receiving() {
        request_.receiving = false;
        link_.release(request_);
    }

private:
    ClientLink& link_;
    ClientRequest& request_;
};

Error ClientLink::violation(std::string_view what) const {
    return {ErrorCode::io, fmt::format("{}: the server breaks the protocol: {}", name_, what)};
}

// ---- bytes

// At least so many are in the buffer then.
io::Task<Result<void>> ClientLink::need(size_t bytes) {
    if (end_ - begin_ >= bytes) co_return Result<void>{};
    std::memmove(received_.data(), here(), end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    while (end_ < bytes) {
        CO_TRY_ASSIGN(const size_t got,
                      co_await stream_->read_some(MutableBytes(received_).subspan(end_)));
        if (got == 0) co_return Error(ErrorCode::io, name_ + ": the server has hung up");
        end_ += got;
    }
    co_return Result<void>{};
}

io::Task<Result<void>> ClientLink::skip(uint64_t bytes) {
    while (bytes > 0) {
        CO_TRY(co_await need(1));
        const uint64_t piece = std::min<uint64_t>(bytes, end_ - begin_);
        begin_ += piece;
        bytes -= piece;
    }
    co_return Result<void>{};
}

io::Task<Result<void>> ClientLink::fill(MutableBytes into) {
    while (!into.empty()) {
        if (begin_ == end_ && into.size() >= kReceiveBytes / 2) {
            CO_TRY_ASSIGN(const size_t got, co_await stream_->read_some(into));
            if (got == 0) co_return Error(ErrorCode::io, name_ + ": the server has hung up");
            into = into.subspan(got);
            continue;
        }
        // What is short of it comes with the next replies in one go.
        CO_TRY(co_await need(1));
        const size_t piece = std::min(into.size(), end_ - begin_);
        std::memcpy(into.data(), here(), piece);
        begin_ += piece;
        into = into.subspan(piece);
    }
    co_return Result<void>{};
}

// ---- replies

io::Task<Result<void>> ClientLink::read_replies() {
    while (!broken_) {
        CO_TRY(co_await need(kSimpleReplyBytes));
        const auto magic = load_be<uint32_t>(here());
        if (magic == kSimpleReplyMagic) {
            CO_TRY(co_await take_simple_reply());
        } else if (magic == kStructuredReplyMagic && structured_) {
            CO_TRY(co_await take_chunk());
        } else {
            co_return violation("no reply where one is expected");
        }
    }
    co_return last_error_;
}

io::Task<Result<void>> ClientLink::take_simple_reply() {
    const auto error = load_be<uint32_t>(here() + 4);
    const auto cookie = load_be<uint64_t>(here() + 8);
    begin_ += kSimpleReplyBytes;
    ClientRequest* request = find(cookie);
    if (request == nullptr) co_return violation("a reply to nothing");
    const Receiving receiving(*this, *request);
    if (request->error == 0) request->error = error;
    if (request->command == Command::block_status && error == 0) {
        co_return violation("a simple reply to a block status");
    }
    if (request->command == Command::read && error == 0) {
        if (structured_) co_return violation("a simple reply to a read");
        CO_TRY(co_await fill(request->into));
        static_cast<void>(request->coverage.add(request->offset_bytes, request->end_bytes()));
    }
    co_return conclude(*request);
}

io::Task<Result<void>> ClientLink::take_chunk() {
    CO_TRY(co_await need(kChunkHeaderBytes));
    const auto header = decode_chunk_header(ConstBytes(here(), kChunkHeaderBytes));
    begin_ += kChunkHeaderBytes;
    ClientRequest* request = header ? find(header->cookie) : nullptr;
    if (request == nullptr) co_return violation("a chunk for nothing");
    const Receiving receiving(*this, *request);
    const bool is_last = (header->flags & kChunkDone) != 0;
    const bool reads = request->command == Command::read;
    const auto type = static_cast<Chunk>(header->type);
    if (type == Chunk::none) {
        if (!is_last || header->length_bytes != 0) co_return violation("an empty chunk");
    } else if (reads && (type == Chunk::offset_data || type == Chunk::offset_hole)) {
        CO_TRY(co_await take_content(*request, *header));
    } else if (request->command == Command::block_status && type == Chunk::block_status) {
        CO_TRY(co_await take_status(*request, *header));
    } else if ((header->type & kErrorBit) != 0) {
        CO_TRY(co_await take_error(*request, *header));
    } else {
        co_return violation(fmt::format("a chunk of type {} for command {}", header->type,
                                        static_cast<uint16_t>(request->command)));
    }
    co_return is_last ? conclude(*request) : Result<void>{};
}

// A part of a read, which lies within it and has not come before.
io::Task<Result<void>> ClientLink::take_content(ClientRequest& request, const ChunkHeader& header) {
    const bool is_hole = header.type == static_cast<uint16_t>(Chunk::offset_hole);
    const bool good = is_hole ? header.length_bytes == 12 : header.length_bytes > 8;
    if (!good) co_return violation(fmt::format("a content of {} bytes", header.length_bytes));
    CO_TRY(co_await need(is_hole ? 12 : 8));
    const auto offset = load_be<uint64_t>(here());
    const uint64_t length = is_hole ? load_be<uint32_t>(here() + 8) : header.length_bytes - 8;
    begin_ += is_hole ? 12 : 8;
    const bool inside = offset >= request.offset_bytes && offset <= request.end_bytes() &&
                        length > 0 && length <= request.end_bytes() - offset;
    if (!inside) {
        co_return violation(fmt::format("{} bytes at {} for a read of {} at {}", length, offset,
                                        request.length_bytes, request.offset_bytes));
    }
    if (!request.coverage.add(offset, offset + length)) {
        co_return violation("parts of a read that overlap");
    }
    const MutableBytes into = request.into.subspan(offset - request.offset_bytes, length);
    if (!is_hole) co_return co_await fill(into);
    std::memset(into.data(), 0, into.size());
    co_return Result<void>{};
}

io::Task<Result<void>> ClientLink::take_status(ClientRequest& request, const ChunkHeader& header) {
    const uint32_t length = header.length_bytes;
    if (length < 4 + kDescriptorBytes || (length - 4) % kDescriptorBytes != 0 ||
        length > kStatusBytesMax) {
        co_return violation(fmt::format("a block status of {} bytes", length));
    }
    CO_TRY(co_await need(4));
    const auto id = load_be<uint32_t>(here());
    begin_ += 4;
    const auto known = std::ranges::find(context_ids_, id);
    if (known == context_ids_.end()) co_return violation("the status of an unknown context");
    const auto context = static_cast<size_t>(known - context_ids_.begin());
    if ((request.contexts_seen >> context & 1) != 0) co_return violation("a context comes twice");
    request.contexts_seen |= uint64_t{1} << context;
    uint64_t at = request.offset_bytes;
    for (uint32_t left = (length - 4) / kDescriptorBytes; left > 0; --left) {
        CO_TRY(co_await need(kDescriptorBytes));
        const auto size = load_be<uint32_t>(here());
        const auto flags = load_be<uint32_t>(here() + 4);
        begin_ += kDescriptorBytes;
        if (size == 0) co_return violation("the status of no bytes");
        if (context != request.context || at >= request.end_bytes()) continue;
        auto& ranges = *request.ranges;
        const uint64_t piece = std::min<uint64_t>(size, request.end_bytes() - at);
        if (!ranges.empty() && ranges.back().flags == flags) {
            ranges.back().length_bytes += piece;
        } else if (ranges.size() < request.ranges_max) {
            ranges.push_back({at, piece, flags});
        } else {
            at = request.end_bytes();  // enough
            continue;
        }
        at += piece;
    }
    co_return Result<void>{};
}

io::Task<Result<void>> ClientLink::take_error(ClientRequest& request, const ChunkHeader& header) {
    const uint32_t length = header.length_bytes;
    if (length < 6 || length > kErrorBytesMax) {
        co_return violation(fmt::format("an error of {} bytes", length));
    }
    CO_TRY(co_await need(6));
    const auto error = load_be<uint32_t>(here());
    const auto text_bytes = load_be<uint16_t>(here() + 4);
    begin_ += 6;
    const uint32_t left = length - 6;
    if (error == 0 || text_bytes > left || text_bytes > kStringBytesMax) {
        co_return violation("an error that is none");
    }
    CO_TRY(co_await need(text_bytes));
    if (request.error == 0) {
        request.error = error;
        request.error_text = printable({reinterpret_cast<const char*>(here()), text_bytes});
    }
    begin_ += text_bytes;
    co_return co_await skip(left - text_bytes);
}

// The answer is complete.
Result<void> ClientLink::conclude(ClientRequest& request) {
    if (request.done) return {};  // was given up meanwhile
    if (request.error != 0) return settle_error(request);
    if (request.command == Command::read &&
        !request.coverage.is_whole(request.offset_bytes, request.end_bytes())) {
        return violation("a read answered in part");
    }
    if (request.command == Command::block_status && request.ranges->empty()) {
        return violation("a block status without what was asked");
    }
    backoff_ns_ = options_.backoff_min_ns;  // it does serve
    complete(request, {});
    return {};
}

Result<void> ClientLink::settle_error(ClientRequest& request) {
    const std::string said =
        request.error_text.empty() ? "" : fmt::format(" ({})", request.error_text);
    if (request.error == static_cast<uint32_t>(WireError::shutdown)) {
        return Error(ErrorCode::io, fmt::format("{}: the server shuts down{}", name_, said));
    }
    complete(request,
             Error(from_wire(request.error),
                   fmt::format("{}: the server fails command {} of {} bytes at {} with "
                               "error {}{}",
                               name_, static_cast<uint16_t>(request.command), request.length_bytes,
                               request.offset_bytes, request.error, said)));
    return {};
}

}  // namespace stoa::nbd
