#include "dataplane/serve/nbd/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <utility>

namespace stoa::nbd {

namespace {

// Below this a read does not ask first where holes are.
constexpr uint32_t kLookForHolesBytes = 64 * 1024;
constexpr size_t kReadExtentsMax = 64;
constexpr size_t kDescriptorsMax = 4096;
constexpr size_t kErrorTextMax = 1024;

bool is_command(uint16_t command) { return command < kCommands; }
bool changes(Command command) {
    return command == Command::write || command == Command::trim ||
           command == Command::write_zeroes;
}

}  // namespace

// A request from its arrival until its answer has been sent; used again and again.
struct Session::Operation {
    Request request;
    uint64_t started_ns = 0;
    AlignedBuffer data;
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
    void add_chunk(Chunk type, uint16_t flags, size_t length) {
        encode_chunk_header(
            add_header(kChunkHeaderBytes),
            {flags, static_cast<uint16_t>(type), request.cookie, static_cast<uint32_t>(length)});
    }
};

Session::Session(io::Executor& executor, Negotiated negotiated, Buffers& buffers,
                 Counters& counters, OperationTrace& trace, uint32_t number)
    : executor_(executor), stream_(std::move(negotiated.stream)), export_(*negotiated.exported),
      contexts_(std::move(negotiated.contexts)), size_bytes_(negotiated.size_bytes),
      structured_(negotiated.structured_replies), buffers_(buffers), account_(buffers, *this),
      counters_(counters), trace_(trace), number_(number), running_(executor), answered_(executor),
      released_(executor) {}

Session::~Session() = default;

io::Task<Result<void>> Session::run() {
    io::TaskGroup writer(executor_);
    writer.spawn(write_answers());
    Result<void> result = co_await read_requests();
    co_await running_.join();
    leaving_ = true;
    answered_.notify_all();
    co_await writer.join();
    stream_->shut_down();
    co_return result;
}

void Session::cut() {
    cut_ = true;
    stream_->shut_down();
    buffers_.wake();
    released_.notify_all();
    answered_.notify_all();
}

// ---- requests

io::Task<Result<void>> Session::read_requests() {
    while (true) {
        if (end_ - begin_ < kRequestBytes) {
            const bool between = begin_ == end_;
            auto got = co_await receive(kRequestBytes);
            if (!got.ok() && between && begin_ == end_) co_return Result<void>{};  // has left
            CO_TRY(std::move(got));
        }
        const auto request = decode_request(ConstBytes(received_.data() + begin_, kRequestBytes));
        if (!request) {
            co_return Error(ErrorCode::invalid_argument,
                            stream_->peer() + ": no request where one is expected");
        }
        begin_ += kRequestBytes;
        if (request->command == static_cast<uint16_t>(Command::disconnect)) {
            co_return Result<void>{};
        }
        while (all_.size() - unused_.size() >= kInFlightMax && !cut_) co_await released_.wait();
        if (cut_) co_return Error(ErrorCode::cancelled, "cut off");
        Operation& operation = new_operation(*request);
        const WireError refused = refusal(*request);
        const bool writes = operation.command() == Command::write;
        const bool carries = operation.command() == Command::read || writes;
        if (refused != WireError::none) {
            // The data of a write comes anyway; without an end to it nobody knows where the next
            // request begins.
            Result<void> dropped;
            if (writes) dropped = co_await drop_payload(request->length_bytes);
            answer_error(operation, refused, "");
            CO_TRY(std::move(dropped));
            continue;
        }
        if (carries) {
            const size_t size = request->length_bytes;
            const bool admitted = account_.try_admit(size) || co_await account_.admit(size, cut_);
            if (!admitted) {
                release(operation);
                co_return Error(ErrorCode::cancelled, "cut off");
            }
            operation.data = account_.take(size);
        }
        if (writes) {
            auto taken = co_await take_payload(operation);
            if (!taken.ok()) {
                release(operation);
                co_return taken;
            }
        }
        running_.spawn(execute(operation));
    }
}

// At least `bytes_min` are in the buffer then.
io::Task<Result<void>> Session::receive(size_t bytes_min) {
    if (begin_ == end_) begin_ = end_ = 0;
    if (kReceiveBytes - begin_ < bytes_min) {
        std::memmove(received_.data(), received_.data() + begin_, end_ - begin_);
        end_ -= begin_;
        begin_ = 0;
    }
    while (end_ - begin_ < bytes_min) {
        CO_TRY_ASSIGN(const size_t got,
                      co_await stream_->read_some(received_.bytes().subspan(end_)));
        if (got == 0) {
            co_return Error(ErrorCode::io, stream_->peer() + " has hung up within a request");
        }
        end_ += got;
    }
    co_return Result<void>{};
}

io::Task<Result<void>> Session::take_payload(Operation& operation) {
    const size_t here = std::min<size_t>(operation.request.length_bytes, end_ - begin_);
    std::memcpy(operation.data.data(), received_.data() + begin_, here);
    begin_ += here;
    // What is short of it comes with the next requests behind it in one go, if that is little.
    size_t filled = here;
    while (filled < operation.data.size()) {
        const size_t left = operation.data.size() - filled;
        if (left >= kReceiveBytes / 2) {
            CO_TRY_ASSIGN(const size_t got,
                          co_await stream_->read_some(operation.data.bytes().subspan(filled)));
            if (got == 0) {
                co_return Error(ErrorCode::io, stream_->peer() + " has hung up within a write");
            }
            filled += got;
            continue;
        }
        CO_TRY(co_await receive(left));
        std::memcpy(operation.data.data() + filled, received_.data() + begin_, left);
        begin_ += left;
        filled += left;
    }
    co_return Result<void>{};
}

io::Task<Result<void>> Session::drop_payload(uint32_t length_bytes) {
    if (length_bytes > kPayloadBytesMax) {
        co_return Error(ErrorCode::invalid_argument,
                        fmt::format("{}: a write of {} bytes; at most {} are possible",
                                    stream_->peer(), length_bytes, kPayloadBytesMax));
    }
    while (length_bytes > 0) {
        if (begin_ == end_) CO_TRY(co_await receive(1));
        const auto here = static_cast<uint32_t>(std::min<size_t>(length_bytes, end_ - begin_));
        begin_ += here;
        length_bytes -= here;
    }
    co_return Result<void>{};
}

// What is wrong with a request before the volume sees it.
WireError Session::refusal(const Request& request) const {
    if (!is_command(request.command)) return WireError::invalid;
    const auto command = static_cast<Command>(request.command);
    unsigned known = changes(command) ? kFua : 0;
    // Writing commands only, but clients set it with others too: it has no meaning there.
    known |= kFua;
    if (command == Command::read && structured_) known |= kDontFragment;
    if (command == Command::write_zeroes) known |= kNoHole | kFastZero;
    if (command == Command::block_status) known |= kRequireOne;
    if ((request.flags & ~known) != 0) return WireError::invalid;
    if (changes(command) && export_.volume().read_only()) return WireError::not_permitted;
    if (command == Command::flush) return WireError::none;
    if (command == Command::block_status && (contexts_.empty() || !structured_)) {
        return WireError::invalid;
    }
    const bool carries = command == Command::read || command == Command::write;
    if (carries && request.length_bytes > kPayloadBytesMax) return WireError::overflow;
    if (request.length_bytes == 0) return WireError::invalid;
    if (request.offset_bytes > size_bytes_ ||
        request.length_bytes > size_bytes_ - request.offset_bytes) {
        return changes(command) ? WireError::no_space : WireError::invalid;
    }
    const bool aligned =
        request.offset_bytes % kBlockBytesMin == 0 && request.length_bytes % kBlockBytesMin == 0;
    return aligned ? WireError::none : WireError::invalid;
}

// ---- execution

io::Task<void> Session::execute(Operation& operation) {
    ++counters_.in_flight;
    const Result<void> result = co_await perform(operation);
    --counters_.in_flight;
    if (result.ok()) {
        answer(operation);
    } else {
        answer_error(operation, to_wire(result.error().code(), changes(operation.command())),
                     result.error().message());
    }
}

io::Task<Result<void>> Session::perform(Operation& operation) {
    block::Volume& volume = export_.volume();
    const Request& request = operation.request;
    const bool fua = operation.has(kFua);
    switch (operation.command()) {
        case Command::read: co_return co_await read(operation);
        case Command::write:
            co_return co_await volume.write(request.offset_bytes, operation.data.bytes(),
                                            {.force_unit_access = fua});
        case Command::flush: co_return co_await volume.flush();
        case Command::trim: {
            CO_TRY(co_await volume.discard(request.offset_bytes, request.length_bytes));
            if (fua) CO_TRY(co_await volume.flush());
            co_return Result<void>{};
        }
        case Command::write_zeroes:
            // Thin: zeroes take no space, with or without permission to punch, and are fast.
            co_return co_await volume.write_zeroes(request.offset_bytes, request.length_bytes,
                                                   {.force_unit_access = fua});
        case Command::cache: co_return Result<void>{};  // advice
        case Command::block_status: co_return co_await status(operation);
        case Command::disconnect: break;
    }
    co_return Error(ErrorCode::invalid_argument, "unknown command");
}

io::Task<Result<void>> Session::read(Operation& operation) {
    const Request& request = operation.request;
    if (structured_ && request.length_bytes >= kLookForHolesBytes &&
        !operation.has(kDontFragment)) {
        bool done = false;
        CO_TRY(co_await read_around_holes(operation, done));
        if (done) co_return Result<void>{};
    }
    CO_TRY(co_await export_.volume().read(request.offset_bytes, operation.data.bytes()));
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

// Sends no zeroes that the map knows of. A write meanwhile may or may not be seen: it was not
// acknowledged when the read began, or the map shows it.
io::Task<Result<void>> Session::read_around_holes(Operation& operation, bool& done) {
    const Request& request = operation.request;
    CO_TRY_ASSIGN(const auto extents,
                  co_await export_.volume().extents(request.offset_bytes, request.length_bytes,
                                                    kReadExtentsMax));
    const bool absent_is_zero = export_.absent_reads_zero();
    const auto is_hole = [&](const block::Extent& extent) {
        return extent.kind == block::ExtentKind::hole ||
               (extent.kind == block::ExtentKind::absent && absent_is_zero);
    };
    if (std::ranges::none_of(extents, is_hole)) co_return Result<void>{};
    uint64_t at = request.offset_bytes;
    const uint64_t end = request.offset_bytes + request.length_bytes;
    size_t next = 0;
    while (at < end) {
        const bool hole = next < extents.size() && is_hole(extents[next]);
        uint64_t until = hole ? extents[next].offset_bytes + extents[next].length_bytes : at;
        if (hole) ++next;
        // Neighbours of a kind are one; what was not told any more is data.
        while (next < extents.size() && is_hole(extents[next]) == hole) {
            until = extents[next].offset_bytes + extents[next].length_bytes;
            ++next;
        }
        if (!hole && next == extents.size()) until = end;
        until = std::min(until, end);
        CHECK(until > at);
        const auto length = static_cast<size_t>(until - at);
        const uint16_t flags = until == end ? kChunkDone : 0;
        if (hole) {
            operation.add_chunk(Chunk::offset_hole, flags, 12);
            store_be(operation.add_header(8), at);
            store_be(operation.add_header(4), static_cast<uint32_t>(length));
        } else {
            const auto offset = static_cast<size_t>(at - request.offset_bytes);
            CO_TRY(
                co_await export_.volume().read(at, operation.data.bytes().subspan(offset, length)));
            operation.add_chunk(Chunk::offset_data, flags, 8 + length);
            store_be(operation.add_header(8), at);
            operation.add_data(offset, length);
        }
        at = until;
    }
    done = true;
    co_return Result<void>{};
}

namespace {

void append(std::vector<Descriptor>& to, uint64_t length_bytes, uint32_t flags) {
    if (!to.empty() && to.back().flags == flags) {
        to.back().length_bytes += static_cast<uint32_t>(length_bytes);
    } else {
        to.push_back({static_cast<uint32_t>(length_bytes), flags});
    }
}

// base:allocation
io::Task<Result<void>> describe_allocation(Export& exported, const Request& request,
                                           size_t descriptors_max, std::vector<Descriptor>& to) {
    uint64_t at = request.offset_bytes;
    const uint64_t end = request.offset_bytes + request.length_bytes;
    while (at < end) {
        CO_TRY_ASSIGN(const auto extents,
                      co_await exported.volume().extents(at, end - at, kDescriptorsMax));
        if (extents.empty())
            co_return Error(ErrorCode::io, "the volume does not say what it holds");
        for (const block::Extent& extent : extents) {
            const bool zero =
                extent.kind == block::ExtentKind::hole ||
                (extent.kind == block::ExtentKind::absent && exported.absent_reads_zero());
            const uint32_t flags = zero ? kStatusHole | kStatusZero : 0;
            const bool is_new = to.empty() || to.back().flags != flags;
            if (is_new && to.size() == descriptors_max) co_return Result<void>{};
            append(to, std::min(extent.length_bytes, end - at), flags);
            at += std::min(extent.length_bytes, end - at);
        }
    }
    co_return Result<void>{};
}

}  // namespace

io::Task<Result<void>> Session::status(Operation& operation) {
    const size_t descriptors_max = operation.has(kRequireOne) ? 1 : kDescriptorsMax;
    std::vector<Descriptor> descriptors;
    for (size_t i = 0; i < contexts_.size(); ++i) {
        descriptors.clear();
        if (contexts_[i].context == nullptr) {
            CO_TRY(co_await describe_allocation(export_, operation.request, descriptors_max,
                                                descriptors));
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

// ---- answers

Session::Operation& Session::new_operation(const Request& request) {
    if (unused_.empty()) {
        all_.push_back(std::make_unique<Operation>());
        unused_.push_back(all_.back().get());
    }
    Operation& operation = *unused_.back();
    unused_.pop_back();
    operation.request = request;
    operation.started_ns = executor_.now_ns();
    return operation;
}

void Session::release(Operation& operation) {
    if (operation.data.size() > 0) account_.give_back(std::exchange(operation.data, {}));
    operation.header.clear();
    operation.parts.clear();
    unused_.push_back(&operation);
    if (released_.has_waiters()) released_.notify_one();
}

void Session::answer(Operation& operation) {
    if (operation.parts.empty()) {
        if (structured_) {
            operation.add_chunk(Chunk::none, kChunkDone, 0);
        } else {
            encode_simple_reply(operation.add_header(kSimpleReplyBytes), WireError::none,
                                operation.request.cookie);
        }
    }
    const uint64_t now = executor_.now_ns();
    if (is_command(operation.request.command)) {
        auto& counted = counters_.operations.at(operation.request.command);
        counted.bytes += operation.request.length_bytes;
        counted.latency.add(now - operation.started_ns);
        trace_.add({now, operation.request.offset_bytes, operation.request.length_bytes,
                    static_cast<uint32_t>((now - operation.started_ns) / 1000), number_,
                    operation.command(), 0});
    }
    if (ready_.empty()) answered_.notify_all();
    ready_.push_back(&operation);
}

void Session::answer_error(Operation& operation, WireError error, std::string_view text) {
    operation.header.clear();
    operation.parts.clear();
    if (operation.data.size() > 0) account_.give_back(std::exchange(operation.data, {}));
    if (structured_) {
        text = text.substr(0, kErrorTextMax);
        operation.add_chunk(Chunk::error, kChunkDone, 6 + text.size());
        store_be(operation.add_header(4), static_cast<uint32_t>(error));
        store_be(operation.add_header(2), static_cast<uint16_t>(text.size()));
        if (!text.empty()) std::memcpy(operation.add_header(text.size()), text.data(), text.size());
    } else {
        encode_simple_reply(operation.add_header(kSimpleReplyBytes), error,
                            operation.request.cookie);
    }
    if (is_command(operation.request.command)) {
        ++counters_.operations.at(operation.request.command).errors;
        const uint64_t now = executor_.now_ns();
        trace_.add({now, operation.request.offset_bytes, operation.request.length_bytes,
                    static_cast<uint32_t>((now - operation.started_ns) / 1000), number_,
                    operation.command(), static_cast<uint16_t>(error)});
    }
    if (ready_.empty()) answered_.notify_all();
    ready_.push_back(&operation);
}

io::Task<void> Session::write_answers() {
    std::vector<Operation*> sending;
    std::vector<ConstBytes> parts;
    bool broken = false;
    while (true) {
        while (ready_.empty() && !leaving_) co_await answered_.wait();
        if (ready_.empty()) co_return;
        sending.clear();
        parts.clear();
        std::swap(sending, ready_);
        for (const Operation* operation : sending) {
            for (const Operation::Part& part : operation->parts) {
                const std::byte* from =
                    part.in_header ? operation->header.data() : operation->data.data();
                parts.emplace_back(from + part.offset, part.size);
            }
        }
        if (!broken && !cut_) {
            stuck_since_ns_ = executor_.now_ns();
            broken = !(co_await stream_->write(parts)).ok();
            stuck_since_ns_ = 0;
            // Whoever does not take answers is not served on: what it still asks for is not done.
            if (broken) cut();
        }
        for (Operation* operation : sending) release(*operation);
    }
}

}  // namespace stoa::nbd
