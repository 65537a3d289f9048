// Commands that read the volume or its map: READ and BLOCK_STATUS of proto.md.
#include <algorithm>
#include <utility>

#include "dataplane/serve/nbd/session.h"
#include "dataplane/serve/nbd/session_operation.h"

namespace stoa::nbd {

namespace {

// Below this a read does not ask first where holes are.
constexpr uint32_t kLookForHolesBytes = 64 * 1024;
constexpr size_t kReadExtentsMax = 64;
constexpr size_t kDescriptorsMax = 4096;  // of one context in one answer
constexpr size_t kExtentsForOne = 16;     // asked for at a time when one descriptor is wanted

enum class PieceKind : uint8_t { data, hole, damaged };

PieceKind kind_of(const block::Extent& extent, bool absent_is_zero) {
    switch (extent.kind) {
        case block::ExtentKind::hole: return PieceKind::hole;
        case block::ExtentKind::absent: return absent_is_zero ? PieceKind::hole : PieceKind::data;
        case block::ExtentKind::damaged: return PieceKind::damaged;
        case block::ExtentKind::data: break;
    }
    return PieceKind::data;
}

}  // namespace

io::Task<Result<void>> Session::read(Operation& operation) {
    const Request& request = operation.request;
    if (structured_ && request.length_bytes >= kLookForHolesBytes &&
        !operation.has(kDontFragment)) {
        bool done = false;
        CO_TRY(co_await read_in_pieces(operation, done));
        if (done) co_return Result<void>{};
    }
    CO_TRY(co_await volume().read(request.offset_bytes, operation.data.bytes()));
    if (structured_) {
        operation.add_chunk(Chunk::offset_data, kChunkDone, 8 + operation.data.size());
        store_be(operation.add_header(8), request.offset_bytes);
    } else {
        encode_simple_reply(operation.add_header(kSimpleReplyBytes), WireError::none,
                            request.cookie);
    }
    operation.add_data(0, operation.data.size());
    co_return Result<void>{};
}

// Sends no zeroes that the map knows of, and reads what is damaged apart from the rest; not `done`:
// there is neither. A write meanwhile may or may not be seen: it was not acknowledged when the read
// began, or the map shows it.
io::Task<Result<void>> Session::read_in_pieces(Operation& operation, bool& done) {
    const Request& request = operation.request;
    CO_TRY_ASSIGN(
        const auto extents,
        co_await volume().extents(request.offset_bytes, request.length_bytes, kReadExtentsMax));
    const bool absent_is_zero = export_.absent_reads_zero();
    const auto kind_at = [&](size_t index) {
        // What was not told any more is taken for data.
        return index < extents.size() ? kind_of(extents[index], absent_is_zero) : PieceKind::data;
    };
    const auto is_data = [&](const block::Extent& extent) {
        return kind_of(extent, absent_is_zero) == PieceKind::data;
    };
    if (std::ranges::all_of(extents, is_data)) co_return Result<void>{};
    uint64_t at = request.offset_bytes;
    const uint64_t end = request.offset_bytes + request.length_bytes;
    size_t next = 0;
    while (at < end) {
        if (cut_) co_return is_cut();
        // Neighbours of a kind are one piece, and one chunk of the answer.
        const PieceKind kind = kind_at(next);
        uint64_t until = at;
        while (next < extents.size() && kind_at(next) == kind) {
            until = extents[next].offset_bytes + extents[next].length_bytes;
            ++next;
        }
        if (kind == PieceKind::data && next == extents.size()) until = end;
        until = std::min(until, end);
        CHECK(until > at);
        const auto length = static_cast<size_t>(until - at);
        const uint16_t flags = until == end ? kChunkDone : 0;
        if (kind == PieceKind::hole) {
            operation.add_chunk(Chunk::offset_hole, flags, 12);
            store_be(operation.add_header(8), at);
            store_be(operation.add_header(4), static_cast<uint32_t>(length));
        } else {
            CO_TRY(co_await read_piece(operation, at, length, flags));
        }
        at = until;
    }
    done = true;
    co_return Result<void>{};
}

// Adds data, or that it could not be read. Errors: cancelled.
io::Task<Result<void>> Session::read_piece(Operation& operation, uint64_t offset_bytes,
                                           size_t length_bytes, uint16_t flags) {
    const auto place = static_cast<size_t>(offset_bytes - operation.request.offset_bytes);
    const Result<void> result =
        co_await volume().read(offset_bytes, operation.data.bytes().subspan(place, length_bytes));
    if (result.ok()) {
        operation.add_chunk(Chunk::offset_data, flags, 8 + length_bytes);
        store_be(operation.add_header(8), offset_bytes);
        operation.add_data(place, length_bytes);
    } else if (result.error().code() == ErrorCode::cancelled) {
        co_return result;
    } else {
        operation.failed = to_wire(result.error().code(), false);
        operation.add_error(flags, operation.failed, result.error().message(), offset_bytes);
    }
    co_return Result<void>{};
}

// ---- block status

namespace {

// base:allocation
io::Task<Result<void>> describe_allocation(const Export& exported, block::Volume& volume,
                                           const Request& request, size_t descriptors_max,
                                           const bool& cut, std::vector<Descriptor>& to) {
    uint64_t at = request.offset_bytes;
    const uint64_t end = request.offset_bytes + request.length_bytes;
    const bool absent_is_zero = exported.absent_reads_zero();
    const size_t extents_max = descriptors_max == 1 ? kExtentsForOne : descriptors_max;
    // The last descriptor of a long answer may be shorter than it could be: the rest is asked for
    // anyway.
    while (at < end && (to.size() < descriptors_max || descriptors_max == 1)) {
        if (cut) co_return Error(ErrorCode::cancelled, "cut off");
        CO_TRY_ASSIGN(const auto extents, co_await volume.extents(at, end - at, extents_max));
        if (extents.empty()) {
            co_return Error(ErrorCode::io, "the volume does not say what it holds");
        }
        for (const block::Extent& extent : extents) {
            const bool zero = kind_of(extent, absent_is_zero) == PieceKind::hole;
            const uint32_t flags = zero ? kStatusHole | kStatusZero : 0;
            const auto length = static_cast<uint32_t>(std::min(extent.length_bytes, end - at));
            if (!append(to, length, flags, descriptors_max)) co_return Result<void>{};
            at += length;
        }
    }
    co_return Result<void>{};
}

size_t descriptors_max_of(const Request& request) {
    return (request.flags & kRequireOne) != 0 ? 1 : kDescriptorsMax;
}

}  // namespace

// What its answer takes at most; 0: that is little, or it is another command.
size_t Session::status_bytes_max(const Request& request) const {
    if (request.command != static_cast<uint16_t>(Command::block_status)) return 0;
    const size_t descriptors =
        std::min<size_t>(descriptors_max_of(request), request.length_bytes / kBlockBytesMin);
    const size_t bytes = descriptors * 8 * contexts_.size();
    return bytes >= 4096 ? bytes : 0;
}

io::Task<Result<void>> Session::status(Operation& operation) {
    const size_t descriptors_max = descriptors_max_of(operation.request);
    std::vector<Descriptor> descriptors;
    for (size_t i = 0; i < contexts_.size(); ++i) {
        if (cut_) co_return is_cut();
        descriptors.clear();
        if (contexts_[i].context == nullptr) {
            CO_TRY(co_await describe_allocation(export_, volume(), operation.request,
                                                descriptors_max, cut_, descriptors));
        } else {
            CO_TRY(co_await contexts_[i].context->describe(operation.request.offset_bytes,
                                                           operation.request.length_bytes,
                                                           descriptors_max, descriptors));
        }
        const uint16_t flags = i + 1 == contexts_.size() ? kChunkDone : 0;
        operation.add_chunk(Chunk::block_status, flags, 4 + 8 * descriptors.size());
        store_be(operation.add_header(4), static_cast<uint32_t>(i + 1));
        for (const Descriptor& each : descriptors) {
            store_be(operation.add_header(4), each.length_bytes);
            store_be(operation.add_header(4), each.flags);
        }
    }
    co_return Result<void>{};
}

}  // namespace stoa::nbd
