#include "dataplane/serve/nbd/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "base/check.h"
#include "dataplane/serve/nbd/client_link.h"

namespace stoa::nbd {

namespace {

constexpr size_t kPiecesAtOnce = 16;  // of one big request
constexpr size_t kZeroBytes = 1 << 20;
constexpr size_t kContextsMax = 63;

class SocketConnector final : public Connector {
public:
    SocketConnector(io::Reactor& reactor, io::Address address, uint64_t timeout_ns)
        : reactor_(reactor), address_(std::move(address)), timeout_ns_(timeout_ns) {}

    io::Task<Result<std::unique_ptr<io::Stream>>> connect() override {
        CO_TRY_ASSIGN(std::unique_ptr<io::Stream> stream,
                      co_await io::Socket::connect(reactor_, address_, timeout_ns_));
        co_return std::move(stream);
    }

private:
    io::Reactor& reactor_;
    const io::Address address_;
    const uint64_t timeout_ns_;
};

Result<void> check_options(const ClientOptions& options) {
    const auto wrong = [](std::string_view what) {
        return Error(ErrorCode::invalid_argument, fmt::format("NBD client: {}", what));
    };
    if (options.export_name.size() > kStringBytesMax) return wrong("the export's name is too long");
    if (options.contexts.size() > kContextsMax) return wrong("too many contexts");
    for (const std::string& each : options.contexts) {
        if (each.empty() || each.size() > kStringBytesMax)
            return wrong("a context's name is wrong");
    }
    if (options.in_flight_max < 1 || options.in_flight_max > 4096) {
        return wrong(fmt::format("{} requests in flight", options.in_flight_max));
    }
    if (options.request_bytes_max < 64 * 1024) {
        return wrong(fmt::format("requests of {} bytes", options.request_bytes_max));
    }
    if (options.backoff_min_ns == 0 || options.backoff_max_ns < options.backoff_min_ns ||
        options.connect_timeout_ns == 0 || options.request_timeout_ns == 0) {
        return wrong("a time is wrong");
    }
    return {};
}

std::vector<std::string> all_contexts(const std::vector<std::string>& named) {
    std::vector<std::string> all{std::string(kBaseAllocation)};
    for (const std::string& each : named) {
        if (std::ranges::find(all, each) == all.end()) all.push_back(each);
    }
    return all;
}

}  // namespace

// While one merges the edges of a write with what is there, no other writes. Only needed where the
// server's blocks are bigger than ours.
class NbdClient::Exclusion {
public:
    explicit Exclusion(NbdClient& client) : client_(client) {}
    Exclusion(const Exclusion&) = delete;
    Exclusion& operator=(const Exclusion&) = delete;
    ~Exclusion() {
        if (shared_) --client_.writing_;
        if (alone_) client_.merging_ = false;
        if (shared_ || alone_) client_.written_.notify_all();
    }
    io::Task<void> enter(bool alone) {
        if (client_.grain_bytes_ == kBlockBytesMin) co_return;
        if (alone) {
            ++client_.waiting_to_merge_;
            while (client_.merging_ || client_.writing_ > 0) co_await client_.written_.wait();
            --client_.waiting_to_merge_;
            client_.merging_ = alone_ = true;
        } else {
            while (client_.merging_ || client_.waiting_to_merge_ > 0) {
                co_await client_.written_.wait();
            }
            ++client_.writing_;
            shared_ = true;
        }
    }

private:
    NbdClient& client_;
    bool shared_ = false;
    bool alone_ = false;
};

// Something that is split into requests.
struct NbdClient::Transfer {
    Command command = Command::read;
    uint16_t flags = 0;
    uint64_t begin = 0;
    uint64_t end = 0;
    ConstBytes from;    // of a write: all of it, or (repeated) one piece at least
    MutableBytes into;  // of a read
    bool repeated = false;
    uint32_t piece_bytes = 0;
    uint64_t next = 0;
    std::optional<Error> error;
};

// ---- open and close

io::Task<Result<std::unique_ptr<NbdClient>>> NbdClient::open(io::Reactor& reactor,
                                                             ClientOptions options) {
    auto connector =
        std::make_unique<SocketConnector>(reactor, options.address, options.connect_timeout_ns);
    co_return co_await open(reactor, std::move(connector), std::move(options));
}

io::Task<Result<std::unique_ptr<NbdClient>>> NbdClient::open(io::Executor& executor,
                                                             std::unique_ptr<Connector> connector,
                                                             ClientOptions options) {
    CO_TRY(check_options(options));
    std::vector<std::string> contexts = all_contexts(options.contexts);
    ClientWishes wishes{options.export_name, options.tls, contexts};
    std::unique_ptr<NbdClient> client(
        new NbdClient(executor, std::move(options), std::move(contexts)));
    client->link_ = std::make_unique<ClientLink>(executor, std::move(connector), client->options_,
                                                 std::move(wishes));
    const auto started = co_await client->link_->start();
    if (!started.ok()) {
        co_await client->close();
        co_return started.error();
    }
    const Offer& offer = client->link_->offer();
    client->grain_bytes_ = std::max(offer.block_bytes_min, kBlockBytesMin);
    client->piece_bytes_ =
        std::min({offer.block_bytes_max, client->options_.request_bytes_max, kPayloadBytesMax});
    client->piece_bytes_ -= client->piece_bytes_ % client->grain_bytes_;
    CHECK(client->piece_bytes_ > 0);
    co_return std::move(client);
}

NbdClient::NbdClient(io::Executor& executor, ClientOptions options,
                     std::vector<std::string> contexts)
    : executor_(executor), options_(std::move(options)), contexts_(std::move(contexts)),
      idle_(executor), written_(executor) {}

NbdClient::~NbdClient() { CHECK(closing_ && running_ == 0); }

io::Task<void> NbdClient::close() {
    closing_ = true;
    co_await link_->close();
    while (running_ > 0) co_await idle_.wait();
}

uint64_t NbdClient::size_bytes() const { return link_->offer().size_bytes; }
bool NbdClient::read_only() const { return options_.read_only || has(kReadOnly); }
bool NbdClient::is_connected() const { return link_->is_connected(); }
uint64_t NbdClient::reconnections() const { return link_->reconnections(); }

// Old servers do not say that they have flags.
bool NbdClient::has(uint16_t flag) const {
    return link_->offer().has(kHasFlags) && link_->offer().has(flag);
}
uint16_t NbdClient::fua_flag(bool force_unit_access) const {
    return force_unit_access && has(kSendFua) ? kFua : 0;
}

Result<void> NbdClient::check(uint64_t offset_bytes, uint64_t length_bytes, bool changes) const {
    const auto refuse = [&](ErrorCode code, std::string_view why) {
        return Error(code, fmt::format("export \"{}\": {} bytes at {}: {}", options_.export_name,
                                       length_bytes, offset_bytes, why));
    };
    if (closing_) return refuse(ErrorCode::cancelled, "closing");
    if (changes && read_only()) return refuse(ErrorCode::read_only, "it is read-only");
    if (offset_bytes % kBlockBytesMin != 0 || length_bytes % kBlockBytesMin != 0) {
        return refuse(ErrorCode::invalid_argument, "no multiple of 512");
    }
    if (offset_bytes > size_bytes() || length_bytes > size_bytes() - offset_bytes) {
        return refuse(ErrorCode::out_of_range, fmt::format("it ends at {}", size_bytes()));
    }
    return {};
}

// ---- requests

io::Task<Result<void>> NbdClient::transfer_one(const Transfer& what, uint64_t offset_bytes,
                                               uint32_t length_bytes) {
    ClientRequest request;
    request.command = what.command;
    request.flags = what.flags;
    request.offset_bytes = offset_bytes;
    request.length_bytes = length_bytes;
    const uint64_t at = what.repeated ? 0 : offset_bytes - what.begin;
    if (!what.from.empty()) request.from = what.from.subspan(at, length_bytes);
    if (!what.into.empty()) request.into = what.into.subspan(at, length_bytes);
    co_return co_await link_->perform(request);
}

io::Task<void> NbdClient::transfer_pieces(Transfer& what) {
    while (what.next < what.end && !what.error) {
        const uint64_t offset = what.next;
        const auto length =
            static_cast<uint32_t>(std::min<uint64_t>(what.end - offset, what.piece_bytes));
        what.next += length;
        auto done = co_await transfer_one(what, offset, length);
        if (!done.ok() && !what.error) what.error = done.take_error();
    }
}

// A range of whole grains, in as many requests as it takes; the first error ends it.
io::Task<Result<void>> NbdClient::transfer(Transfer what) {
    if (what.piece_bytes == 0) what.piece_bytes = piece_bytes_;
    const uint64_t length = what.end - what.begin;
    if (length == 0) co_return Result<void>{};
    if (length <= what.piece_bytes) {
        co_return co_await transfer_one(what, what.begin, static_cast<uint32_t>(length));
    }
    what.next = what.begin;
    io::TaskGroup pieces(executor_);
    for (size_t i = 0; i < kPiecesAtOnce && what.next < what.end; ++i) {
        pieces.spawn(transfer_pieces(what));
    }
    co_await pieces.join();
    if (what.error) co_return *what.error;
    co_return Result<void>{};
}

// ---- reading

io::Task<Result<void>> NbdClient::read(uint64_t offset_bytes, MutableBytes into) {
    CO_TRY(check(offset_bytes, into.size(), false));
    const Running running(*this);
    const uint64_t end = offset_bytes + into.size();
    const uint64_t first = round_up(offset_bytes, grain_bytes_);
    const uint64_t last = round_down(end, grain_bytes_);
    // The edges lie in blocks that are wanted in part only; both may be the same.
    if (first != offset_bytes) {
        const uint64_t until = std::min(first, end);
        CO_TRY(co_await read_edge(offset_bytes, into.first(until - offset_bytes)));
    }
    if (first < last) {
        Transfer middle;
        middle.begin = first;
        middle.end = last;
        middle.into = into.subspan(first - offset_bytes, last - first);
        CO_TRY(co_await transfer(std::move(middle)));
    }
    if (last >= first && last != end) {
        CO_TRY(co_await read_edge(last, into.subspan(last - offset_bytes)));
    }
    co_return Result<void>{};
}

// Lies within one grain.
io::Task<Result<void>> NbdClient::read_edge(uint64_t offset_bytes, MutableBytes into) {
    const uint64_t begin = round_down(offset_bytes, grain_bytes_);
    AlignedBuffer block(grain_bytes_);
    Transfer whole;
    whole.begin = begin;
    whole.end = begin + grain_bytes_;
    whole.into = block.bytes();
    CO_TRY(co_await transfer(std::move(whole)));
    std::memcpy(into.data(), block.data() + (offset_bytes - begin), into.size());
    co_return Result<void>{};
}

// ---- writing

io::Task<Result<void>> NbdClient::write(uint64_t offset_bytes, ConstBytes from,
                                        block::WriteOptions options) {
    CO_TRY(check(offset_bytes, from.size(), true));
    const Running running(*this);
    const uint16_t flags = fua_flag(options.force_unit_access);
    CO_TRY(co_await write_any(offset_bytes, from, flags));
    if (options.force_unit_access && flags == 0) co_return co_await flush_server();
    co_return Result<void>{};
}

io::Task<Result<void>> NbdClient::write_any(uint64_t offset_bytes, ConstBytes from,
                                            uint16_t flags) {
    const uint64_t end = offset_bytes + from.size();
    const uint64_t first = round_up(offset_bytes, grain_bytes_);
    const uint64_t last = round_down(end, grain_bytes_);
    if (first != offset_bytes) {
        const uint64_t until = std::min(first, end);
        CO_TRY(co_await write_edge(offset_bytes, from.first(until - offset_bytes), flags));
    }
    if (first < last) {
        Exclusion exclusion(*this);
        co_await exclusion.enter(false);
        Transfer middle;
        middle.command = Command::write;
        middle.flags = flags;
        middle.begin = first;
        middle.end = last;
        middle.from = from.subspan(first - offset_bytes, last - first);
        CO_TRY(co_await transfer(std::move(middle)));
    }
    if (last >= first && last != end) {
        CO_TRY(co_await write_edge(last, from.subspan(last - offset_bytes), flags));
    }
    co_return Result<void>{};
}

io::Task<Result<void>> NbdClient::write_edge(uint64_t offset_bytes, ConstBytes from,
                                             uint16_t flags) {
    Exclusion exclusion(*this);
    co_await exclusion.enter(true);
    const uint64_t begin = round_down(offset_bytes, grain_bytes_);
    AlignedBuffer block(grain_bytes_);
    CO_TRY(co_await read_edge(begin, block.bytes()));
    std::memcpy(block.data() + (offset_bytes - begin), from.data(), from.size());
    Transfer whole;
    whole.command = Command::write;
    whole.flags = flags;
    whole.begin = begin;
    whole.end = begin + grain_bytes_;
    whole.from = block.bytes();
    co_return co_await transfer(std::move(whole));
}

io::Task<Result<void>> NbdClient::write_zeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                               block::ZeroOptions options) {
    CO_TRY(check(offset_bytes, length_bytes, true));
    const Running running(*this);
    const uint16_t flags = fua_flag(options.force_unit_access);
    const uint64_t end = offset_bytes + length_bytes;
    const uint64_t first = round_up(offset_bytes, grain_bytes_);
    const uint64_t last = round_down(end, grain_bytes_);
    const std::vector<std::byte> zeroes(std::min<uint64_t>(grain_bytes_, length_bytes));
    if (first != offset_bytes) {
        const uint64_t until = std::min(first, end);
        CO_TRY(co_await write_edge(offset_bytes, ConstBytes(zeroes).first(until - offset_bytes),
                                   flags));
    }
    if (first < last) CO_TRY(co_await zero_whole(first, last, flags));
    if (last >= first && last != end) {
        CO_TRY(co_await write_edge(last, ConstBytes(zeroes).first(end - last), flags));
    }
    if (options.force_unit_access && flags == 0) co_return co_await flush_server();
    co_return Result<void>{};
}

io::Task<Result<void>> NbdClient::zero_whole(uint64_t begin, uint64_t end, uint16_t flags) {
    Exclusion exclusion(*this);
    co_await exclusion.enter(false);
    if (!has(kSendWriteZeroes)) co_return co_await zero_by_writing(begin, end, flags);
    Transfer zero;
    zero.command = Command::write_zeroes;
    zero.flags = flags;
    zero.begin = begin;
    zero.end = end;
    auto done = co_await transfer(std::move(zero));
    // Some say that they can and cannot, depending on what lies below them.
    if (done.ok() || done.error().code() != ErrorCode::unsupported) co_return done;
    co_return co_await zero_by_writing(begin, end, flags);
}

io::Task<Result<void>> NbdClient::zero_by_writing(uint64_t begin, uint64_t end, uint16_t flags) {
    const auto piece = static_cast<uint32_t>(std::min<uint64_t>(
        {end - begin, piece_bytes_, std::max<size_t>(kZeroBytes, grain_bytes_)}));
    const std::vector<std::byte> zeroes(piece);
    Transfer write;
    write.command = Command::write;
    write.flags = flags;
    write.begin = begin;
    write.end = end;
    write.from = zeroes;
    write.repeated = true;
    write.piece_bytes = piece;
    co_return co_await transfer(std::move(write));
}

io::Task<Result<void>> NbdClient::discard(uint64_t offset_bytes, uint64_t length_bytes) {
    CO_TRY(check(offset_bytes, length_bytes, true));
    const Running running(*this);
    const uint64_t first = round_up(offset_bytes, grain_bytes_);
    const uint64_t last = round_down(offset_bytes + length_bytes, grain_bytes_);
    if (!has(kSendTrim) || first >= last) co_return Result<void>{};
    Exclusion exclusion(*this);
    co_await exclusion.enter(false);
    Transfer trim;
    trim.command = Command::trim;
    trim.begin = first;
    trim.end = last;
    auto done = co_await transfer(std::move(trim));
    if (!done.ok() && done.error().code() == ErrorCode::unsupported) co_return Result<void>{};
    co_return done;
}

io::Task<Result<void>> NbdClient::flush() {
    CO_TRY(check(0, 0, false));
    const Running running(*this);
    co_return co_await flush_server();
}

io::Task<Result<void>> NbdClient::flush_server() {
    const ClientLedger::Flush flush = link_->ledger().begin_flush();
    if (has(kSendFlush)) {
        ClientRequest request;
        request.command = Command::flush;
        CO_TRY(co_await link_->perform(request));
    }
    if (!link_->ledger().end_flush(flush)) {
        co_return Error(ErrorCode::io,
                        fmt::format("export \"{}\": the connection was lost since the last flush; "
                                    "the server may have forgotten writes that it acknowledged",
                                    options_.export_name));
    }
    co_return Result<void>{};
}

}  // namespace stoa::nbd
