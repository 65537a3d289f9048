#include "dataplane/serve/nbd/client_link.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace stoa::nbd {

namespace {

constexpr unsigned kSlotBits = 16;
constexpr size_t kBatchRequests = 64;  // of one write to the stream
constexpr uint64_t kBatchBytes = 1 << 20;
constexpr uint64_t kPauseNs = 50'000'000;
constexpr uint64_t kLeaveNs = 1'000'000'000;
constexpr uint64_t kTickMinNs = 1'000'000;
constexpr uint64_t kTickMaxNs = 100'000'000;

bool changes(Command command) {
    return command == Command::write || command == Command::trim ||
           command == Command::write_zeroes;
}

}  // namespace

ClientLink::ClientLink(io::Executor& executor, std::unique_ptr<Connector> connector,
                       const ClientOptions& options, ClientWishes wishes)
    : executor_(executor), connector_(std::move(connector)), options_(options),
      wishes_(std::move(wishes)),
      name_(fmt::format("export \"{}\" of {}", options.export_name, options.address.to_string())),
      backoff_ns_(options.backoff_min_ns), permits_(executor, options.in_flight_max),
      slots_(options.in_flight_max), received_(kReceiveBytes), to_write_(executor),
      to_watch_(executor), tasks_(executor), watcher_(executor) {
    for (size_t i = slots_.size(); i > 0; --i) free_slots_.push_back(static_cast<uint16_t>(i - 1));
}

ClientLink::~ClientLink() {
    CHECK(tasks_.running() == 0 && watcher_.running() == 0);
    CHECK(free_slots_.size() == slots_.size());
}

// ---- connecting

io::Task<Result<void>> ClientLink::start() {
    watcher_.spawn(watch());
    auto connected = co_await connect();
    if (!connected.ok()) co_return connected;
    tasks_.spawn(run());
    co_return Result<void>{};
}

io::Task<Result<void>> ClientLink::connect() {
    CO_TRY_ASSIGN(std::unique_ptr<io::Stream> stream, co_await connector_->connect());
    if (closing_) co_return Error(ErrorCode::cancelled, name_ + ": closing");
    connect_deadline_ns_ = executor_.now_ns() + options_.connect_timeout_ns;
    to_watch_.notify_all();
    auto chosen = co_await choose_export(executor_, std::move(stream), wishes_,
                                         [this](io::Stream* used) { in_use_ = used; });
    const bool late = executor_.now_ns() >= connect_deadline_ns_;
    connect_deadline_ns_ = 0;
    in_use_ = nullptr;
    if (!chosen.ok() && closing_) co_return Error(ErrorCode::cancelled, name_ + ": closing");
    if (!chosen.ok() && late) {
        co_return Error(ErrorCode::io, fmt::format("{}: no end of the handshake within {} ms",
                                                   name_, options_.connect_timeout_ns / 1'000'000));
    }
    CO_TRY_ASSIGN(Chosen made, std::move(chosen));
    if (closing_) co_return Error(ErrorCode::cancelled, name_ + ": closing");
    if (offered_) {
        auto same = compare(made.offer);
        if (!same.ok()) {
            failed_ = same.error();
            co_return same;
        }
    } else {
        if (made.offer.has(kReadOnly) && !options_.read_only) {
            co_return Error(ErrorCode::read_only, name_ + ": the server offers it read-only");
        }
        offer_ = made.offer;
        offered_ = true;
    }
    context_ids_ = std::move(made.offer.context_ids);
    structured_ = made.offer.structured_replies;
    stream_ = std::move(made.stream);
    connected_ = true;
    co_return Result<void>{};
}

// After a reconnection all must be there that was there before: requests were made for it.
Result<void> ClientLink::compare(const Offer& fresh) const {
    const auto differs = [&](std::string_view what) {
        return Error(ErrorCode::io,
                     fmt::format("{}: has changed while the server was away: {}", name_, what));
    };
    if (fresh.size_bytes != offer_.size_bytes) {
        return differs(fmt::format("{} bytes were {}", fresh.size_bytes, offer_.size_bytes));
    }
    if (fresh.name != offer_.name) {
        return differs(fmt::format("its name is \"{}\" and was \"{}\"", printable(fresh.name),
                                   printable(offer_.name)));
    }
    if (fresh.has(kReadOnly) && !options_.read_only) return differs("it is read-only now");
    const unsigned needed = offer_.flags & (kSendFlush | kSendFua | kSendTrim | kSendWriteZeroes);
    if ((fresh.flags & needed) != needed) {
        return differs(
            fmt::format("its flags are {:#x} and were {:#x}", fresh.flags, offer_.flags));
    }
    if (fresh.block_bytes_min > offer_.block_bytes_min ||
        fresh.block_bytes_max < offer_.block_bytes_max) {
        return differs("the sizes of its blocks");
    }
    for (size_t i = 0; i < wishes_.contexts.size(); ++i) {
        if (offer_.context_ids[i] && !fresh.context_ids[i]) {
            return differs(fmt::format("context {} is missing", wishes_.contexts[i]));
        }
    }
    return {};
}

io::Task<void> ClientLink::run() {
    while (true) {
        broken_ = false;
        begin_ = end_ = 0;
        io::TaskGroup writer(executor_);
        writer.spawn(write_requests());
        const Result<void> ended = co_await read_replies();
        break_connection(ended.ok() ? Error(ErrorCode::io, "ended") : ended.error());
        co_await writer.join();
        lose();
        while (!connected_ && !closing_) {
            co_await pause(backoff_ns_);
            if (closing_) break;
            backoff_ns_ = std::min(backoff_ns_ * 2, options_.backoff_max_ns);
            const auto again = co_await connect();
            if (again.ok()) break;
            if (!closing_) last_error_ = again.error();
            if (failed_) {
                for (ClientRequest* each : slots_) {
                    if (each != nullptr && !each->done) complete(*each, *failed_);
                }
                co_return;
            }
        }
        if (!connected_) co_return;
        ++reconnections_;
    }
}

io::Task<void> ClientLink::pause(uint64_t duration_ns) {
    const uint64_t until = executor_.now_ns() + duration_ns;
    while (!closing_ && executor_.now_ns() < until) {
        co_await executor_.sleep_ns(std::min(kPauseNs, until - executor_.now_ns()));
    }
}

void ClientLink::break_connection(Error why) {
    if (broken_) return;
    broken_ = true;
    last_error_ = std::move(why);
    stream_->shut_down();
    to_write_.notify_all();
}

// Nothing of the connection runs any more: what was sent on it is to be sent again.
void ClientLink::lose() {
    stream_.reset();
    connected_ = false;
    away_since_ns_ = executor_.now_ns();
    if (!options_.server_keeps_acknowledged) ledger_.lose();
    to_send_.clear();
    std::vector<ClientRequest*> held;
    for (ClientRequest* each : slots_) {
        if (each == nullptr) continue;
        CHECK(!each->done && !each->sending && !each->receiving);
        each->sent = false;
        each->forget_answer();
        held.push_back(each);
    }
    std::ranges::sort(held, {}, &ClientRequest::sequence);
    to_send_.assign(held.begin(), held.end());
    if (!is_away_too_long()) return;
    for (ClientRequest* each : held) complete(*each, away());
}

bool ClientLink::is_away_too_long() const {
    return !connected_ && executor_.now_ns() - away_since_ns_ >= options_.hold_ns;
}

Error ClientLink::away() const {
    if (failed_) return *failed_;
    return {ErrorCode::io, fmt::format("{}: the server is away: {}", name_, last_error_.message())};
}

// ---- requests

io::Task<Result<void>> ClientLink::perform(ClientRequest& request) {
    co_await permits_.acquire();
    Result<void> result;
    if (closing_) {
        result = Error(ErrorCode::cancelled, name_ + ": closing");
    } else if (failed_ || is_away_too_long()) {
        result = away();
    } else {
        enqueue(request);
        co_await request;
        result = std::move(request.result);
    }
    permits_.release();
    co_return result;
}

void ClientLink::enqueue(ClientRequest& request) {
    CHECK(!free_slots_.empty());
    const uint16_t slot = free_slots_.back();
    free_slots_.pop_back();
    slots_[slot] = &request;
    request.sequence = next_sequence_++;
    request.cookie = request.sequence << kSlotBits | slot;
    request.started_ns = executor_.now_ns();
    to_send_.push_back(&request);
    to_write_.notify_all();
    to_watch_.notify_all();
}

ClientRequest* ClientLink::find(uint64_t cookie) const {
    const size_t slot = cookie & ((1U << kSlotBits) - 1);
    if (slot >= slots_.size() || slots_[slot] == nullptr) return nullptr;
    ClientRequest& request = *slots_[slot];
    return request.cookie == cookie && request.sent && !request.done ? &request : nullptr;
}

void ClientLink::complete(ClientRequest& request, Result<void> result) {
    CHECK(!request.done);
    request.done = true;
    if (!request.sent) std::erase(to_send_, &request);
    const bool is_volatile = changes(request.command) && (request.flags & kFua) == 0;
    if (result.ok() && is_volatile) ledger_.acknowledge();
    request.result = std::move(result);
    release(request);
}

// Resumes whoever waits for it, unless the stream still has its buffers.
void ClientLink::release(ClientRequest& request) {
    if (!request.done || request.sending || request.receiving) return;
    const auto slot = static_cast<uint16_t>(request.cookie & ((1U << kSlotBits) - 1));
    slots_[slot] = nullptr;
    free_slots_.push_back(slot);
    executor_.post(request);
}

// ---- sending

io::Task<void> ClientLink::write_requests() {
    std::vector<ClientRequest*> batch;
    std::vector<std::byte> headers;
    std::vector<ConstBytes> parts;
    while (true) {
        while (to_send_.empty() && !broken_ && !closing_) co_await to_write_.wait();
        if (broken_) co_return;
        if (closing_) {
            co_await take_leave();
            co_return;
        }
        take_batch(batch, headers, parts);
        const Result<void> written = co_await stream_->write(parts);
        for (ClientRequest* each : batch) {
            each->sending = false;
            release(*each);
        }
        if (!written.ok()) {
            break_connection(written.error());
            co_return;
        }
    }
}

void ClientLink::take_batch(std::vector<ClientRequest*>& batch, std::vector<std::byte>& headers,
                            std::vector<ConstBytes>& parts) {
    batch.clear();
    parts.clear();
    headers.resize(kBatchRequests * kRequestBytes);
    uint64_t bytes = 0;
    while (!to_send_.empty() && batch.size() < kBatchRequests && bytes < kBatchBytes) {
        ClientRequest& request = *to_send_.front();
        to_send_.pop_front();
        std::byte* header = headers.data() + batch.size() * kRequestBytes;
        encode_request(header, {request.flags, static_cast<uint16_t>(request.command),
                                request.cookie, request.offset_bytes, request.length_bytes});
        parts.emplace_back(header, kRequestBytes);
        if (!request.from.empty()) parts.push_back(request.from);
        bytes += request.from.size();
        request.sent = true;
        request.sending = true;
        request.sent_ns = executor_.now_ns();
        batch.push_back(&request);
    }
}

io::Task<void> ClientLink::take_leave() {
    std::vector<std::byte> bytes(kRequestBytes);
    Request request;
    request.command = static_cast<uint16_t>(Command::disconnect);
    encode_request(bytes.data(), request);
    // Politeness only: the server need not hear it.
    const Result<void> said = co_await io::write_all(*stream_, bytes);
    if (said.ok()) static_cast<void>(co_await stream_->finish());
    break_connection(Error(ErrorCode::cancelled, name_ + ": closing"));
}

// ---- times

bool ClientLink::has_to_watch() const {
    return connect_deadline_ns_ != 0 || close_deadline_ns_ != 0 ||
           free_slots_.size() < slots_.size();
}

io::Task<void> ClientLink::watch() {
    const uint64_t shortest = std::min({options_.request_timeout_ns, options_.connect_timeout_ns,
                                        options_.hold_ns == 0 ? UINT64_MAX : options_.hold_ns});
    const uint64_t tick = std::clamp(shortest / 8, kTickMinNs, kTickMaxNs);
    while (watched_) {
        if (!has_to_watch()) {
            co_await to_watch_.wait();
            continue;
        }
        co_await executor_.sleep_ns(tick);
        look_at_times();
    }
}

void ClientLink::look_at_times() {
    const uint64_t now = executor_.now_ns();
    if (connect_deadline_ns_ != 0 && now >= connect_deadline_ns_ && in_use_ != nullptr) {
        in_use_->shut_down();
    }
    if (close_deadline_ns_ != 0 && now >= close_deadline_ns_ && connected_) {
        break_connection(Error(ErrorCode::cancelled, name_ + ": closing"));
    }
    const uint64_t longest = options_.request_timeout_ns + options_.hold_ns;
    for (ClientRequest* each : slots_) {
        if (each == nullptr) continue;
        const bool is_stuck = each->sent && now - each->sent_ns >= options_.request_timeout_ns;
        if (is_stuck && connected_ && !broken_) {
            break_connection(
                Error(ErrorCode::io, fmt::format("{}: no answer within {} ms", name_,
                                                 options_.request_timeout_ns / 1'000'000)));
        }
        if (each->done) continue;
        // Never longer than this, though the server comes back again and again.
        const bool is_over = now - each->started_ns >= longest;
        if (is_over && each->sent && connected_ && !broken_) {
            break_connection(Error(ErrorCode::io, name_ + ": no answer to a request sent again"));
        }
        if (is_over || is_away_too_long()) complete(*each, away());
    }
}

// ---- the end

io::Task<void> ClientLink::close() {
    closing_ = true;
    close_deadline_ns_ = executor_.now_ns() + kLeaveNs;
    for (ClientRequest* each : slots_) {
        if (each != nullptr && !each->done) {
            complete(*each, Error(ErrorCode::cancelled, name_ + ": closing"));
        }
    }
    if (in_use_ != nullptr) in_use_->shut_down();
    to_write_.notify_all();
    to_watch_.notify_all();
    co_await tasks_.join();
    watched_ = false;
    to_watch_.notify_all();
    co_await watcher_.join();
}

}  // namespace stoa::nbd
