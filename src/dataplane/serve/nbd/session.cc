#include "dataplane/serve/nbd/session.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>
#include <utility>

#include "dataplane/serve/nbd/session_operation.h"

namespace stoa::nbd {

namespace {

// Written at a time: who takes less of it than that in the time of BufferLimits is stuck.
constexpr size_t kSliceBytes = 256 * 1024;
// Of what an operation keeps for the next one.
constexpr size_t kHeaderBytesKept = 4096;

bool is_command(uint16_t command) { return command < kCommands; }
bool changes(Command command) {
    return command == Command::write || command == Command::trim ||
           command == Command::write_zeroes;
}

}  // namespace

Session::Session(io::Executor& executor, Negotiated negotiated, Buffers& buffers,
                 Counters& counters, OperationTrace& trace, uint32_t number)
    : executor_(executor), stream_(std::move(negotiated.stream)), export_(*negotiated.exported),
      use_(export_.use()), contexts_(std::move(negotiated.contexts)),
      size_bytes_(negotiated.size_bytes), structured_(negotiated.structured_replies),
      buffers_(buffers), account_(buffers, *this), counters_(counters), trace_(trace),
      number_(number), running_(executor), answered_(executor), released_(executor) {}

Session::~Session() = default;

io::Task<Result<void>> Session::run() {
    io::TaskGroup writer(executor_);
    writer.spawn(write_answers());
    io::TaskGroup watcher(executor_);
    watcher.spawn(watch_for_end());
    Result<void> result = co_await read_requests();
    gone_ = true;
    // Nobody is there for whom a write should wait for space.
    co_await use_->end();
    co_await running_.join();
    leaving_ = true;
    answered_.notify_all();
    co_await writer.join();
    stream_->shut_down();
    co_await watcher.join();
    co_return result;
}

// Also where nothing is read, because too much is asked for already.
io::Task<void> Session::watch_for_end() {
    co_await stream_->hung_up();
    gone_ = true;
    reads_no_more_ = true;
    buffers_.wake();
    released_.notify_all();
}

void Session::cut() {
    cut_ = true;
    reads_no_more_ = true;
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
        while (all_.size() - unused_.size() >= kInFlightMax && !reads_no_more_) {
            co_await released_.wait();
        }
        if (cut_ || all_.size() - unused_.size() >= kInFlightMax) co_return is_cut();
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
            const bool admitted =
                account_.try_admit(size) || co_await account_.admit(size, reads_no_more_);
            if (!admitted) {
                release(operation);
                co_return is_cut();
            }
            operation.data = account_.take(size);
        }
        if (const size_t reserve = status_bytes_max(operation.request); reserve > 0) {
            if (!co_await account_.admit(reserve, reads_no_more_)) {
                release(operation);
                co_return is_cut();
            }
            operation.reserved_bytes = reserve;
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
    // For writing commands only, but clients set it with others too: it has no meaning there.
    unsigned known = kFua;
    if (command == Command::read && structured_) known |= kDontFragment;
    if (command == Command::write_zeroes) known |= kNoHole | kFastZero;
    if (command == Command::block_status) known |= kRequireOne;
    if ((request.flags & ~known) != 0) return WireError::invalid;
    if (changes(command) && volume().read_only()) return WireError::not_permitted;
    if (command == Command::flush) return WireError::none;
    if (command == Command::block_status && (contexts_.empty() || !structured_)) {
        return WireError::invalid;
    }
    const bool carries = command == Command::read || command == Command::write;
    if (carries && request.length_bytes > kPayloadBytesMax) return WireError::overflow;
    if (request.length_bytes == 0) return WireError::invalid;
    if (request.offset_bytes > size_bytes_ ||
        request.length_bytes > size_bytes_ - request.offset_bytes) {
        // Trimming is not said to need space (section "Error values").
        const bool fills = command == Command::write || command == Command::write_zeroes;
        return fills ? WireError::no_space : WireError::invalid;
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
    block::Volume& volume = use_->volume();
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
            if (fua && cut_) co_return is_cut();
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
    if (operation.reserved_bytes > 0) {
        account_.give_back_bytes(std::exchange(operation.reserved_bytes, 0));
    }
    if (operation.header.capacity() > kHeaderBytesKept) operation.header = {};
    operation.header.clear();
    operation.parts.clear();
    operation.failed = WireError::none;
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
    finish(operation, operation.failed);
}

void Session::answer_error(Operation& operation, WireError error, std::string_view text) {
    operation.header.clear();
    operation.parts.clear();
    if (operation.data.size() > 0) account_.give_back(std::exchange(operation.data, {}));
    if (structured_) {
        operation.add_error(kChunkDone, error, text, std::nullopt);
    } else {
        encode_simple_reply(operation.add_header(kSimpleReplyBytes), error,
                            operation.request.cookie);
    }
    finish(operation, error);
}

// Its answer is complete.
void Session::finish(Operation& operation, WireError error) {
    if (is_command(operation.request.command)) {
        auto& counted = counters_.operations.at(operation.request.command);
        const uint64_t now = executor_.now_ns();
        const uint64_t duration_ns = now - operation.started_ns;
        if (error == WireError::none) {
            counted.bytes += operation.request.length_bytes;
            counted.latency.add(duration_ns);
        } else {
            ++counted.errors;
        }
        trace_.add({now, operation.request.offset_bytes, operation.request.length_bytes,
                    static_cast<uint32_t>(duration_ns / 1000), number_, operation.command(),
                    static_cast<uint16_t>(error)});
    }
    if (ready_.empty()) answered_.notify_all();
    ready_.push_back(&operation);
}

// Many answers with one call, a big one with several, so that progress can be seen; what has been
// sent gives its memory back.
io::Task<void> Session::write_answers() {
    std::vector<Operation*> sending;
    std::vector<ConstBytes> parts;
    size_t bytes = 0;
    while (true) {
        while (ready_.empty() && !leaving_) co_await answered_.wait();
        if (ready_.empty()) co_return;
        sending.clear();
        std::swap(sending, ready_);
        size_t released = 0;
        for (size_t i = 0; i < sending.size(); ++i) {
            const Operation& operation = *sending[i];
            for (const Operation::Part& part : operation.parts) {
                const std::byte* from =
                    part.in_header ? operation.header.data() : operation.data.data();
                ConstBytes left(from + part.offset, part.size);
                while (!left.empty()) {
                    const size_t piece = std::min(left.size(), kSliceBytes - bytes);
                    parts.push_back(left.first(piece));
                    left = left.subspan(piece);
                    bytes += piece;
                    if (bytes < kSliceBytes && parts.size() < kPartsMax) continue;
                    co_await send(parts);
                    bytes = 0;
                    while (released < i) release(*sending[released++]);
                }
            }
        }
        co_await send(parts);
        bytes = 0;
        while (released < sending.size()) release(*sending[released++]);
    }
}

io::Task<void> Session::send(std::vector<ConstBytes>& parts) {
    if (!cut_ && !parts.empty()) {
        stuck_since_ns_ = executor_.now_ns();
        const bool good = (co_await stream_->write(parts)).ok();
        stuck_since_ns_ = 0;
        // Whoever does not take answers is not served on: what it still asks for is not done.
        if (!good) cut();
    }
    parts.clear();
}

}  // namespace stoa::nbd
