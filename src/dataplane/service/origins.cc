#include "dataplane/service/origins.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "dataplane/service/paths.h"

namespace stoa::service {

namespace {

constexpr uint64_t kTickNs = 100'000'000;
constexpr uint64_t kRetryNs = 2'000'000'000;

std::string described(const OriginRecord& record) {
    return fmt::format("origin {} at {}", record.uuid.to_string(), record.address);
}

Result<std::unique_ptr<io::TlsContext>> tls_of(const OriginRecord& record) {
    if (!record.tls) return std::unique_ptr<io::TlsContext>();
    return io::TlsContext::client({record.tls->authority_file, record.tls->fingerprint,
                                   record.tls->host, record.tls->certificate_file,
                                   record.tls->key_file});
}

Result<void> check_paths(const io::Address& address, const rpc::OriginCreate& request) {
    TRY(check_absolute_if_any("the socket in \"address\"", address.path));
    if (!request.tls) return {};
    TRY(check_absolute_if_any("\"authority_file\"", request.tls->authority_file));
    TRY(check_absolute_if_any("\"certificate_file\"", request.tls->certificate_file));
    return check_absolute_if_any("\"key_file\"", request.tls->key_file);
}

}  // namespace

// ---- one

Origin::Origin(io::Reactor& reactor, OriginRecord record, Events& events)
    : reactor_(reactor), record_(std::move(record)), events_(events), tried_(reactor),
      running_(reactor) {}

Origin::~Origin() = default;

io::Task<Result<void>> Origin::open() {
    CO_TRY_ASSIGN(tls_, tls_of(record_));
    nbd::ClientOptions options;
    CO_TRY_ASSIGN(options.address, io::Address::parse(record_.address));
    options.export_name = record_.export_name;
    options.tls = tls_.get();
    options.read_only = true;
    options.hold_ns = kOriginHoldNs;
    CO_TRY_ASSIGN(auto client, co_await nbd::NbdClient::open(reactor_, std::move(options)));
    const uint64_t size = client->size_bytes();
    if (record_.size_bytes != 0 && record_.size_bytes != size) {
        co_await client->close();
        co_return Error(ErrorCode::io,
                        fmt::format("{}: the export has {} bytes; the origin had {}: it is another "
                                    "one",
                                    described(record_), size, record_.size_bytes));
    }
    record_.size_bytes = size;
    client_ = std::move(client);
    co_return Result<void>{};
}

void Origin::start() { running_.spawn(keep_connected()); }

bool Origin::is_connected() const { return client_ != nullptr && client_->is_connected(); }

void Origin::note(bool connected, const std::string& why) {
    if (connected != was_connected_ || why != error_) {
        events_.add(connected ? described(record_) + ": connected"
                              : fmt::format("{}: {}", described(record_), why));
    }
    was_connected_ = connected;
    error_ = why;
}

io::Task<void> Origin::keep_connected() {
    was_connected_ = is_connected();
    while (!closing_) {
        if (client_ == nullptr) {
            const auto opened = co_await open();
            if (closing_) co_return;
            note(opened.ok(), opened.ok() ? std::string() : opened.error().message());
            tried_.notify_all();
        } else {
            const bool connected = client_->is_connected();
            note(connected, connected ? "" : "the connection is lost");
        }
        const uint64_t again = reactor_.now_ns() + kRetryNs;
        while (!closing_ && reactor_.now_ns() < again) co_await reactor_.sleep_ns(kTickNs);
    }
}

io::Task<void> Origin::close() {
    closing_ = true;
    tried_.notify_all();
    co_await running_.join();
    if (client_ != nullptr) co_await client_->close();
}

io::Task<Result<nbd::NbdClient*>> Origin::client() {
    const uint64_t give_up = reactor_.now_ns() + kOriginHoldNs;
    while (client_ == nullptr && !closing_) {
        if (reactor_.now_ns() >= give_up) co_return Error(ErrorCode::io, error_);
        co_await tried_.wait();
    }
    if (closing_) co_return Error(ErrorCode::cancelled, described(record_) + ": is being closed");
    co_return client_.get();
}

io::Task<Result<void>> Origin::read(uint64_t offset_bytes, MutableBytes into) {
    CO_TRY_ASSIGN(nbd::NbdClient * from, co_await client());
    co_return co_await from->read(offset_bytes, into);
}

io::Task<Result<std::vector<block::Extent>>> Origin::extents(uint64_t offset_bytes,
                                                             uint64_t length_bytes,
                                                             size_t extents_max) {
    CO_TRY_ASSIGN(nbd::NbdClient * from, co_await client());
    co_return co_await from->extents(offset_bytes, length_bytes, extents_max);
}

io::Task<Result<void>> Origin::flush() { co_return Result<void>{}; }

namespace {

io::Task<Result<void>> refused(const OriginRecord& record) {
    co_return Error(ErrorCode::read_only,
                    described(record) + ": is an origin, which never changes");
}

}  // namespace

io::Task<Result<void>> Origin::write(uint64_t /*offset_bytes*/, ConstBytes /*from*/,
                                     block::WriteOptions /*options*/) {
    return refused(record_);
}

io::Task<Result<void>> Origin::discard(uint64_t /*offset_bytes*/, uint64_t /*length_bytes*/) {
    return refused(record_);
}

io::Task<Result<void>> Origin::write_zeroes(uint64_t /*offset_bytes*/, uint64_t /*length_bytes*/,
                                            block::ZeroOptions /*options*/) {
    return refused(record_);
}

// ---- all

Origins::Origins(io::Reactor& reactor, StateFile& state, Events& events, Users users)
    : reactor_(reactor), state_(state), events_(events), users_(std::move(users)),
      changing_(reactor) {
    for (const OriginRecord& record : state.state.origins) {
        items_[record.uuid] = std::make_unique<Origin>(reactor, record, events);
    }
}

Origins::~Origins() = default;

void Origins::start() {
    for (const auto& [uuid, origin] : items_) origin->start();
}

io::Task<void> Origins::stop() {
    stopping_ = true;
    const io::Mutex::Guard guard = co_await changing_.lock();
    io::TaskGroup closing(reactor_);
    for (const auto& [uuid, origin] : items_) closing.spawn(origin->close());
    co_await closing.join();
}

block::Volume* Origins::find(const Uuid& uuid) const {
    const auto found = items_.find(uuid);
    return found == items_.end() ? nullptr : found->second.get();
}

io::Task<io::Mutex::Guard> Origins::lock() { co_return co_await changing_.lock(); }

io::Task<Result<rpc::OriginStatus>> Origins::create(rpc::OriginCreate request) {
    const io::Mutex::Guard guard = co_await changing_.lock();
    if (stopping_) co_return Error(ErrorCode::cancelled, "the daemon is stopping");
    CO_TRY_ASSIGN(const io::Address address, io::Address::parse(request.address));
    CO_TRY(check_paths(address, request));
    OriginRecord record;
    record.uuid = request.uuid.value_or(Uuid::from_random(reactor_.random(), reactor_.random()));
    record.address = address.to_string();
    record.export_name = request.export_name;
    record.tls = request.tls;
    if (const auto known = items_.find(record.uuid); known != items_.end()) {
        record.size_bytes = known->second->record().size_bytes;
        if (record == known->second->record()) co_return status(record.uuid);
        co_return Error(ErrorCode::already_exists, fmt::format("{}: exists with another content",
                                                               described(known->second->record())));
    }
    auto origin = std::make_unique<Origin>(reactor_, record, events_);
    CO_TRY(co_await origin->open());
    state_.state.origins.push_back(origin->record());
    const auto saved = co_await state_.save();
    if (!saved.ok()) {
        std::erase(state_.state.origins, origin->record());
        co_await origin->close();
        co_return saved.error();
    }
    events_.add(described(record) + ": added");
    origin->start();
    items_[record.uuid] = std::move(origin);
    co_return status(record.uuid);
}

io::Task<Result<void>> Origins::remove(Uuid uuid) {
    const io::Mutex::Guard guard = co_await changing_.lock();
    CO_TRY_ASSIGN(const rpc::OriginStatus known, status(uuid));
    const OriginRecord record = items_.at(uuid)->record();
    if (!known.users.empty()) {
        co_return Error(
            ErrorCode::in_use,
            fmt::format(
                "{}: is needed by {}{}; hydrate or delete them first", described(record),
                known.users.front(),
                known.users.size() > 1 ? fmt::format(" and {} more", known.users.size() - 1) : ""));
    }
    std::erase(state_.state.origins, record);
    auto saved = co_await state_.save();
    if (!saved.ok()) {
        state_.state.origins.push_back(record);
        co_return saved;
    }
    forgotten_.push_back(std::move(items_.at(uuid)));
    items_.erase(uuid);
    events_.add(described(record) + ": removed");
    co_await forgotten_.back()->close();
    co_return Result<void>{};
}

Result<rpc::OriginStatus> Origins::status(const Uuid& uuid) const {
    const auto found = items_.find(uuid);
    if (found == items_.end()) {
        return Error(ErrorCode::not_found,
                     fmt::format("origin {}: there is none", uuid.to_string()));
    }
    const Origin& origin = *found->second;
    rpc::OriginStatus status;
    status.uuid = uuid;
    status.address = origin.record().address;
    status.export_name = origin.record().export_name;
    status.size_bytes = origin.size_bytes();
    status.connected = origin.is_connected();
    status.error = origin.error();
    status.users = users_(uuid);
    return status;
}

std::vector<rpc::OriginStatus> Origins::list() const {
    std::vector<rpc::OriginStatus> all;
    all.reserve(items_.size());
    for (const auto& [uuid, origin] : items_) all.push_back(*status(uuid));
    return all;
}

}  // namespace stoa::service
