#include "dataplane/service/attachments.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <utility>

#include "dataplane/service/objects.h"
#include "dataplane/service/paths.h"

namespace stoa::service {

namespace {

constexpr uint64_t kTickNs = 100'000'000;
constexpr uint64_t kRetryNs = 1'000'000'000;
constexpr uint32_t kModeMax = 0777;

// What a URI's query may not hold as it is (RFC 3986).
std::string escape(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || std::string_view("-._~/").contains(c);
        if (plain) out += c;
        else out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return out;
}

// github.com/NetworkBlockDevice/nbd doc/uri.md
std::string uri_of(const AttachmentRecord& record) {
    const auto address = io::Address::parse(record.listen);
    if (!address.ok()) return {};
    const std::string name = escape(record.export_name);
    if (!address->path.empty()) {
        return fmt::format("nbd{}+unix:///{}?socket={}", record.tls ? "s" : "", name,
                           escape(address->path));
    }
    const bool six = address->host.contains(':');
    return fmt::format("nbd{}://{}{}{}:{}/{}", record.tls ? "s" : "", six ? "[" : "", address->host,
                       six ? "]" : "", address->port, name);
}

bool takes_any_port(const std::string& listen) {
    return listen.starts_with("tcp:") && listen.ends_with(":0");
}

bool is_loopback(const std::string& host) {
    return host == "localhost" || host == "::1" || host.starts_with("127.");
}

// The same wherever the daemon is started, and one text for one place.
Result<void> check_listen(const io::Address& address, const rpc::AttachmentCreate& request) {
    if (!address.path.empty()) {
        const auto normal = std::filesystem::path(address.path).lexically_normal();
        if (normal.is_absolute() && normal.string() == address.path) return {};
        return Error(ErrorCode::invalid_argument,
                     fmt::format("{}: must be an absolute path without \"//\", \".\" and \"..\"",
                                 address.to_string()));
    }
    if (request.tls || request.insecure || is_loopback(address.host)) return {};
    return Error(ErrorCode::invalid_argument,
                 fmt::format("{}: others could read and write the volume; give \"tls\", or "
                             "\"insecure\": true if the network is yours alone",
                             address.to_string()));
}

std::string described(const AttachmentRecord& record) {
    return fmt::format("attachment {} (epoch {}) on {}", record.uuid.to_string(), record.epoch,
                       record.listen);
}

// Two that may not both be: the one with the higher epoch stays.
bool contend(const AttachmentRecord& one, const AttachmentRecord& other) {
    return !one.read_only && !other.read_only && one.pool == other.pool &&
           one.object == other.object;
}

}  // namespace

Attachments::Attachments(io::Reactor& reactor, StateFile& state, Events& events, Pools& pools,
                         nbd::BufferLimits limits)
    : reactor_(reactor), state_(state), events_(events), pools_(pools), buffers_(reactor, limits),
      changing_(reactor), retrying_(reactor) {
    for (const AttachmentRecord& record : state.state.attachments) {
        items_[record.uuid] = std::make_unique<Item>(record, "its pool is not open yet");
        if (!record.read_only && record.epoch > highest_epoch(record)) {
            set_highest_epoch(record, record.epoch);
        }
    }
}

Attachments::~Attachments() {
    for (const auto& [uuid, item] : items_) CHECK(item->server == nullptr);
}

// ---- serving

Result<void> Attachments::prepare(Item& item, bool takes_over) {
    const AttachmentRecord& record = item.record;
    if (record.tls) {
        TRY_ASSIGN(item.tls, TlsGuard::create(reactor_, *record.tls));
    }
    TRY_ASSIGN(const io::Address address, io::Address::parse(record.listen));
    io::ListenOptions options;
    options.mode = record.mode;
    options.owner = record.owner;
    options.group = record.group;
    options.spares_descriptors = true;
    options.takes_over = takes_over;
    TRY_ASSIGN(item.listener, io::Listener::open(reactor_, address, options));
    item.record.listen = item.listener->address().to_string();
    return {};
}

io::Task<Result<void>> Attachments::activate(Item& item) {
    const AttachmentRecord& record = item.record;
    CO_TRY_ASSIGN(PoolUse pool, pools_.use(record.pool));
    if (item.listener == nullptr) CO_TRY(prepare(item, true));
    // Nobody is served who would find no volume.
    auto attached = co_await pool->attach(record.object, record.read_only);
    if (!attached.ok()) {
        item.listener.reset();
        co_return attached.take_error();
    }
    item.handle = *attached;
    item.exported =
        std::make_unique<PoolExport>(*pool, *item.handle, record.object, record.export_name);
    nbd::ServerOptions serving;
    serving.handshake.tls = item.tls.get();
    serving.handshake.tls_required = item.tls != nullptr;
    item.server = std::make_unique<nbd::Server>(reactor_, *item.exported, buffers_, serving);
    item.server->start(std::move(item.listener));
    item.error.clear();
    item.pool.emplace(std::move(pool));
    co_return Result<void>{};
}

io::Task<void> Attachments::deactivate(Item& item) {
    if (item.server == nullptr) co_return;
    // Nothing new passes the gate; the handle drops what it holds and waits for the rest; then the
    // connections have nothing to wait for.
    item.exported->close();
    io::TaskGroup stopping(reactor_);
    stopping.spawn(item.server->stop());
    co_await (*item.pool)->detach(std::exchange(item.handle, nullptr));
    co_await stopping.join();
    item.server.reset();
    item.exported.reset();
    item.pool.reset();
}

void Attachments::start() { ensure_retrying(); }

void Attachments::ensure_retrying() {
    if (std::exchange(is_retrying_, true)) return;
    retrying_.spawn(retry());
}

void Attachments::pool_opened(const Uuid& pool) {
    retrying_.spawn(serve_waiting(pool));
    ensure_retrying();
}

io::Task<void> Attachments::serve_waiting(std::optional<Uuid> pool) {
    const io::Mutex::Guard guard = co_await changing_.lock();
    for (const auto& [uuid, item] : items_) {
        if (stopping_) co_return;
        const bool meant = pool ? item->record.pool == *pool : pools_.get(item->record.pool).ok();
        if (item->server != nullptr || !meant) continue;
        const auto served = co_await activate(*item);
        if (served.ok() || item->error == served.error().message()) continue;
        item->error = served.error().message();
        events_.add(fmt::format("{}: {}", described(item->record), item->error));
    }
}

io::Task<void> Attachments::retry() {
    const auto waits = [](const auto& each) { return each.second->server == nullptr; };
    while (!stopping_) {
        const uint64_t again = reactor_.now_ns() + kRetryNs;
        while (!stopping_ && reactor_.now_ns() < again) co_await reactor_.sleep_ns(kTickNs);
        co_await serve_waiting(std::nullopt);
        if (std::ranges::none_of(items_, waits)) break;
    }
    is_retrying_ = false;
}

io::Task<void> Attachments::stop(io::Task<void> meanwhile) {
    stopping_ = true;
    co_await retrying_.join();
    const io::Mutex::Guard guard = co_await changing_.lock();
    io::TaskGroup group(reactor_);
    for (const auto& [uuid, item] : items_) group.spawn(deactivate(*item));
    group.spawn(std::move(meanwhile));
    co_await group.join();
    co_await buffers_.stop();
}

// ---- changes

Result<AttachmentRecord> Attachments::record_of(const rpc::AttachmentCreate& request) const {
    TRY_ASSIGN(const Uuid pool_uuid, pools_.find(request.pool));
    TRY_ASSIGN(const pool::Pool* pool, pools_.get(pool_uuid));
    TRY_ASSIGN(const Uuid object, find_object(*pool, request.object));
    TRY_ASSIGN(const io::Address address, io::Address::parse(request.listen));
    TRY(check_listen(address, request));
    if (request.tls) {
        TRY(check_absolute("\"certificate_file\"", request.tls->certificate_file));
        TRY(check_absolute("\"key_file\"", request.tls->key_file));
        TRY(check_absolute_if_any("\"client_authority_file\"", request.tls->client_authority_file));
    }
    AttachmentRecord record;
    record.uuid = request.uuid.value_or(Uuid::from_random(reactor_.random(), reactor_.random()));
    record.pool = pool_uuid;
    record.object = object;
    record.listen = address.to_string();
    record.epoch = request.epoch;
    record.owner = request.owner;
    record.tls = request.tls;
    record.group = request.group;
    const auto volume = pool->volume(object);
    record.read_only = request.read_only || !volume.ok();
    const char* const end = request.mode.data() + request.mode.size();
    const auto [parsed, failed] = std::from_chars(request.mode.data(), end, record.mode, 8);
    if (failed != std::errc() || parsed != end || record.mode > kModeMax) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("\"mode\" must be octal from 0 to 0777, not {}",
                                 to_text(Json(request.mode))));
    }
    record.export_name = request.export_name;
    if (record.export_name.empty()) {
        record.export_name = volume.ok() ? volume->name : pool->snapshot_info(object)->name;
    }
    if (record.export_name.size() > nbd::kStringBytesMax) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("\"export_name\" has {} bytes; at most {} are possible",
                                 record.export_name.size(), nbd::kStringBytesMax));
    }
    return record;
}

uint64_t Attachments::highest_epoch(const AttachmentRecord& record) const {
    for (const EpochRecord& each : state_.state.epochs) {
        if (each.pool == record.pool && each.volume == record.object) return each.epoch;
    }
    return 0;
}

void Attachments::set_highest_epoch(const AttachmentRecord& record, uint64_t epoch) {
    auto& epochs = state_.state.epochs;
    std::erase_if(epochs, [&record](const EpochRecord& each) {
        return each.pool == record.pool && each.volume == record.object;
    });
    // 0 is what nobody has passed.
    if (epoch > 0) epochs.push_back({record.pool, record.object, epoch});
}

Result<void> Attachments::check_room(const AttachmentRecord& record) const {
    for (const auto& [uuid, item] : items_) {
        const AttachmentRecord& other = item->record;
        if (other.listen == record.listen && !takes_any_port(record.listen)) {
            if (!contend(record, other) || other.epoch >= record.epoch) {
                return Error(ErrorCode::in_use,
                             fmt::format("{}: is taken by {}", record.listen, described(other)));
            }
        }
        if (contend(record, other) && other.epoch >= record.epoch) {
            return Error(
                ErrorCode::in_use,
                fmt::format("volume {}: is attached for writing by {}; an attachment with a higher "
                            "epoch than {} would cut it off",
                            record.object.to_string(), described(other), other.epoch));
        }
    }
    if (const uint64_t highest = highest_epoch(record);
        !record.read_only && record.epoch < highest) {
        return Error(ErrorCode::in_use,
                     fmt::format("volume {}: was attached for writing with epoch {}, which is "
                                 "higher than {}; nobody with a lower one may write any more",
                                 record.object.to_string(), highest, record.epoch));
    }
    return {};
}

io::Task<Result<void>> Attachments::make_room(const AttachmentRecord& record) {
    const auto is_older = [&record](const AttachmentRecord& other) {
        return contend(record, other);
    };
    auto& remembered = state_.state.attachments;
    if (std::ranges::none_of(remembered, is_older)) co_return Result<void>{};
    // The older one is gone for good: also if what follows fails, it must not come back. Forgotten
    // before it is cut: if that fails, it goes on.
    const std::vector<AttachmentRecord> before = remembered;
    const uint64_t highest = highest_epoch(record);
    std::erase_if(remembered, is_older);
    set_highest_epoch(record, record.epoch);
    auto saved = co_await state_.save();
    if (!saved.ok()) {
        remembered = before;
        set_highest_epoch(record, highest);
        co_return saved;
    }
    for (const auto& [uuid, item] : items_) {
        if (!is_older(item->record)) continue;
        co_await deactivate(*item);
        events_.add(fmt::format("{}: cut off by epoch {}", described(item->record), record.epoch));
    }
    std::erase_if(items_, [&](const auto& each) { return is_older(each.second->record); });
    co_return Result<void>{};
}

io::Task<Result<rpc::AttachmentStatus>> Attachments::create(rpc::AttachmentCreate request) {
    const io::Mutex::Guard guard = co_await changing_.lock();
    if (stopping_) co_return Error(ErrorCode::cancelled, "the daemon is stopping");
    CO_TRY_ASSIGN(AttachmentRecord record, record_of(request));
    if (const auto known = items_.find(record.uuid); known != items_.end()) {
        AttachmentRecord same = known->second->record;
        if (takes_any_port(record.listen)) same.listen = record.listen;
        if (same == record) co_return status_of(*known->second);
        co_return Error(ErrorCode::already_exists,
                        fmt::format("{}: exists with another content", described(record)));
    }
    CO_TRY(check_room(record));
    auto item = std::make_unique<Item>(record);
    // On the socket of the one that is cut off: not before that is gone.
    const bool takes_socket = std::ranges::any_of(items_, [&record](const auto& each) {
        return each.second->record.listen == record.listen;
    });
    if (!takes_socket) CO_TRY(prepare(*item, false));
    CO_TRY(co_await make_room(record));
    const auto served = co_await activate(*item);
    if (!served.ok()) co_return served.error();
    // Acknowledged only when it would come back.
    state_.state.attachments.push_back(item->record);
    const uint64_t highest = highest_epoch(record);
    if (!record.read_only) set_highest_epoch(record, record.epoch);
    const auto saved = co_await state_.save();
    if (!saved.ok()) {
        if (!record.read_only) set_highest_epoch(record, highest);
        std::erase(state_.state.attachments, item->record);
        co_await deactivate(*item);
        co_return saved.error();
    }
    events_.add(described(item->record) + ": serving");
    const Item& kept = *(items_[record.uuid] = std::move(item));
    co_return status_of(kept);
}

io::Task<Result<void>> Attachments::remove(Uuid uuid) {
    const io::Mutex::Guard guard = co_await changing_.lock();
    const auto found = items_.find(uuid);
    if (found == items_.end()) {
        co_return Error(ErrorCode::not_found,
                        fmt::format("attachment {}: there is none", uuid.to_string()));
    }
    const AttachmentRecord record = found->second->record;
    // Forgotten first: if that fails, it is served on, as it would be after a restart.
    std::erase(state_.state.attachments, record);
    const auto saved = co_await state_.save();
    if (!saved.ok()) {
        state_.state.attachments.push_back(record);
        co_return saved.error();
    }
    co_await deactivate(*found->second);
    items_.erase(uuid);
    events_.add(described(record) + ": removed");
    co_return Result<void>{};
}

io::Task<void> Attachments::volume_deleted(Uuid pool, Uuid volume) {
    const io::Mutex::Guard guard = co_await changing_.lock();
    const size_t forgotten = std::erase_if(state_.state.epochs, [&](const EpochRecord& each) {
        return each.pool == pool && each.volume == volume;
    });
    // If that fails, the next save does it.
    if (forgotten > 0) static_cast<void>(co_await state_.save());
}

Result<void> Attachments::reload_tls(const Uuid& uuid) {
    TRY_ASSIGN(const rpc::AttachmentStatus known, status(uuid));
    Item& item = *items_.at(known.uuid);
    if (item.tls == nullptr) {
        return Error(ErrorCode::invalid_argument, described(item.record) + ": serves without TLS");
    }
    return item.tls->reload();
}

// ---- knowledge

rpc::AttachmentStatus Attachments::status_of(const Item& item) const {
    rpc::AttachmentStatus status;
    status.uuid = item.record.uuid;
    status.pool = item.record.pool;
    status.object = item.record.object;
    status.listen = item.record.listen;
    status.uri = uri_of(item.record);
    status.epoch = item.record.epoch;
    status.read_only = item.record.read_only;
    status.error = item.error;
    if (item.server == nullptr) status.state = rpc::AttachmentState::waiting;
    else status.connections = static_cast<uint32_t>(item.server->counters().connections);
    return status;
}

Result<rpc::AttachmentStatus> Attachments::status(const Uuid& uuid) const {
    const auto found = items_.find(uuid);
    if (found == items_.end()) {
        return Error(ErrorCode::not_found,
                     fmt::format("attachment {}: there is none", uuid.to_string()));
    }
    return status_of(*found->second);
}

std::vector<rpc::AttachmentStatus> Attachments::list() const {
    std::vector<rpc::AttachmentStatus> all;
    all.reserve(items_.size());
    for (const auto& [uuid, item] : items_) all.push_back(status_of(*item));
    return all;
}

std::vector<std::string> Attachments::users_of(const Uuid& pool) const {
    std::vector<std::string> users;
    for (const auto& [uuid, item] : items_) {
        if (item->record.pool == pool) users.push_back(described(item->record));
    }
    return users;
}

}  // namespace stoa::service
