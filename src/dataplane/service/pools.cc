#include "dataplane/service/pools.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <span>
#include <utility>

#include "dataplane/io/blkid/signatures.h"
#include "dataplane/io/device_paths.h"
#include "dataplane/io/lock_holder.h"
#include "dataplane/io/run_in_thread.h"
#include "dataplane/io/small_file.h"
#include "dataplane/service/paths.h"

namespace stoa::service {

namespace {

constexpr uint64_t kBlockBytes = 4096;
constexpr uint64_t kTickNs = 100'000'000;

std::vector<io::Device*> pointers(const std::vector<std::unique_ptr<io::DeviceFile>>& devices) {
    std::vector<io::Device*> list;
    list.reserve(devices.size());
    for (const auto& device : devices) list.push_back(device.get());
    return list;
}

// What a crash leaves of a file that is made: nothing in it yet, or all of its size.
void reuse_unfinished(rpc::DeviceSpec& spec) {
    if (spec.create_bytes == 0) return;
    std::error_code failed;
    const auto status = std::filesystem::symlink_status(spec.path, failed);
    if (failed || !std::filesystem::is_regular_file(status)) return;
    const uint64_t size = std::filesystem::file_size(spec.path, failed);
    if (failed) return;
    if (size == spec.create_bytes) spec.create_bytes = 0;
    else if (size == 0) std::filesystem::remove(spec.path, failed);
}

rpc::Space space_of(const pool::SpaceInfo& from) {
    rpc::Space space;
    space.total_bytes = from.total * kBlockBytes;
    space.system_bytes = from.system * kBlockBytes;
    space.data_bytes = from.data * kBlockBytes;
    space.node_bytes = from.nodes * kBlockBytes;
    space.quarantine_bytes = from.quarantine * kBlockBytes;
    space.bad_bytes = from.bad * kBlockBytes;
    space.free_bytes = from.free * kBlockBytes;
    space.away_bytes = from.away * kBlockBytes;
    space.reserve_bytes = from.reserve * kBlockBytes;
    space.settling = from.settling;
    return space;
}

}  // namespace

Pools::Pools(io::Reactor& reactor, StateFile& state, Events& events, PoolsOptions options,
             std::string ring_directory, pool::OriginResolver origins)
    : reactor_(reactor), state_(state), events_(events), options_(std::move(options)),
      origins_(std::move(origins)), ring_directory_(std::move(ring_directory)), use_ended_(reactor),
      trying_(reactor) {
    for (const PoolRecord& record : state.state.pools) entries_[record.uuid].record = record;
}

Pools::~Pools() = default;

// ---- opening what is remembered

void Pools::start(std::function<void(const Uuid&)> opened) {
    opened_ = std::move(opened);
    trying_.spawn(keep_trying());
}

io::Task<void> Pools::keep_trying() {
    while (!stopping_) {
        for (const Uuid& uuid : list()) {
            // Beside each other: one whose device does not answer holds up no other.
            if (!stopping_) trying_.spawn(try_to_open(uuid));
        }
        look_for_rings();
        const uint64_t again = reactor_.now_ns() + options_.retry_ns;
        while (!stopping_ && reactor_.now_ns() < again) co_await reactor_.sleep_ns(kTickNs);
    }
}

void Pools::look_for_rings() {
    for (auto& [uuid, entry] : entries_) {
        const bool has = entry.open != nullptr && !entry.busy && entry.open->ring != nullptr;
        if (!has || entry.told_of_ring || entry.open->ring->can_be_found()) continue;
        entry.told_of_ring = true;
        events_.add(
            fmt::format("pool {}: its ring {} was taken away: from now on a crash loses "
                        "writes that are acknowledged and not flushed; restart the daemon "
                        "(orderly), which makes a new one",
                        entry.record.name, entry.open->ring_path));
    }
}

io::Task<void> Pools::try_to_open(Uuid uuid) {
    const auto found = entries_.find(uuid);
    if (found == entries_.end() || found->second.open != nullptr || found->second.busy) co_return;
    found->second.busy = true;
    auto opened = co_await open_remembered(found->second.record);
    if (opened.ok()) {
        PoolRecord record = settled(entries_.at(uuid).record, **opened);
        if (record != entries_.at(uuid).record) {
            // If that fails, it is the next start that does it.
            const auto remembered = co_await remember(record);
            if (remembered.ok()) entries_.at(uuid).record = std::move(record);
        }
    }
    // An entry that is busy is not removed.
    Entry& entry = entries_.at(uuid);
    entry.busy = false;
    if (!opened.ok()) {
        if (entry.error != opened.error().message()) {
            entry.error = opened.error().message();
            events_.add(fmt::format("pool {}: not opened: {}", entry.record.name, entry.error));
        }
        co_return;
    }
    entry.error.clear();
    entry.told_of_ring = false;
    entry.open = *std::move(opened);
    entry.record.name = entry.open->pool->info().name;
    events_.add(fmt::format("pool {}: opened", entry.record.name));
    opened_(uuid);
}

// Waits a while for the lock: I/O of a killed owner can be on its way still.
io::Task<Result<std::unique_ptr<io::DeviceFile>>> Pools::open_device(
    std::string path, io::DeviceFileOptions options) {
    // If it does not answer, a thread of its own waits for it, not everybody.
    static_cast<void>(
        co_await io::run_in_thread(reactor_, [&path] { return io::can_be_opened(path); }));
    options.lock_wait_ms = 0;
    const uint64_t give_up = reactor_.now_ns() + options_.lock_patience_ns;
    while (true) {
        auto device = io::DeviceFile::open(reactor_, path, options);
        if (device.ok() || device.error().code() != ErrorCode::busy || stopping_) co_return device;
        if (reactor_.now_ns() >= give_up) {
            const auto holder =
                co_await io::run_in_thread(reactor_, [&path] { return io::lock_holder(path); });
            if (!holder) co_return device;
            co_return Error(ErrorCode::busy,
                            fmt::format("device {}: is in use by {}; close its pool there, or stop "
                                        "that",
                                        path, *holder));
        }
        co_await reactor_.sleep_ns(kTickNs);
    }
}

io::Task<Result<std::vector<std::unique_ptr<io::DeviceFile>>>> Pools::open_devices(
    std::vector<rpc::DeviceSpec>& specs, bool force) {
    std::vector<std::string> paths;
    for (const rpc::DeviceSpec& spec : specs) paths.push_back(spec.path);
    CO_TRY(co_await io::run_in_thread(reactor_, [&paths] { return io::check_distinct(paths); }));
    if (force) {
        co_await io::run_in_thread(reactor_, [&specs] {
            for (rpc::DeviceSpec& spec : specs) reuse_unfinished(spec);
            return true;
        });
    }
    std::vector<std::unique_ptr<io::DeviceFile>> devices;
    for (size_t i = 0; i < specs.size(); ++i) {
        io::DeviceFileOptions options;
        options.create = specs[i].create_bytes > 0;
        options.size_bytes = specs[i].create_bytes;
        auto device = co_await open_device(specs[i].path, options);
        if (!device.ok()) {
            remove_created(specs, i);
            co_return device.take_error();
        }
        devices.push_back(*std::move(device));
    }
    co_return devices;
}

std::string Pools::ring_path(const Uuid& uuid) const {
    return fmt::format("{}/{}.ring", ring_directory_, uuid.to_string());
}

const RingRecord* Pools::known_ring(const Uuid& uuid) const {
    const auto& rings = state_.state.rings;
    const auto found = std::ranges::find(rings, uuid, &RingRecord::pool);
    return found != rings.end() && found->boot_id == options_.boot_id ? &*found : nullptr;
}

io::Task<Result<void>> Pools::open_ring(PoolRecord record, Open& open, bool accept_lost) {
    open.ring_path = ring_path(record.uuid);
    if (const RingRecord* known = known_ring(record.uuid); known != nullptr) {
        std::error_code failed;
        const bool is_there =
            std::filesystem::file_size(known->path, failed) == options_.ring_bytes;
        if (is_there && !failed) {
            open.ring_path = known->path;
        } else if (accept_lost) {
            events_.add(
                fmt::format("pool {}: opened without the writes that were acknowledged and "
                            "not flushed, as asked: its ring {} is gone",
                            record.name, known->path));
        } else {
            co_return Error(
                ErrorCode::not_found,
                fmt::format("pool {}: was not closed, and its ring with the writes that were "
                            "acknowledged and not flushed is gone or has another size: {}; put it "
                            "back, or lose them: pool.open with \"accept_damaged\"",
                            record.name, known->path));
        }
    }
    CO_TRY_ASSIGN(open.ring, io::open_shared_memory(open.ring_path, options_.ring_bytes));
    const RingRecord ring{record.uuid, open.ring_path, options_.boot_id};
    auto& rings = state_.state.rings;
    if (std::ranges::find(rings, ring) != rings.end()) co_return Result<void>{};
    const auto same = [&record](const RingRecord& each) { return each.pool == record.uuid; };
    std::optional<RingRecord> before;
    if (const auto old = std::ranges::find_if(rings, same); old != rings.end()) before = *old;
    std::erase_if(rings, same);
    rings.push_back(ring);
    auto saved = co_await state_.save();
    if (!saved.ok()) {
        std::erase_if(rings, same);
        if (before) rings.push_back(*std::move(before));
    }
    co_return saved;
}

// Forgotten first: one that is remembered must be there.
io::Task<void> Pools::remove_ring(Uuid uuid, std::string path) {
    auto& rings = state_.state.rings;
    const auto known = std::ranges::find(rings, uuid, &RingRecord::pool);
    if (known != rings.end()) {
        RingRecord before = std::move(*known);
        rings.erase(known);
        if (!(co_await state_.save()).ok()) {
            rings.push_back(std::move(before));
            co_return;
        }
    }
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
}

// One that became read-only may not have taken over what is in its ring.
io::Task<Result<bool>> Pools::close_pool(pool::Pool& pool) {
    const bool writable = !pool.info().read_only;
    CO_TRY(co_await pool.close());
    co_return writable;
}

void Pools::remove_created(const std::vector<rpc::DeviceSpec>& specs, size_t count) {
    std::error_code ignored;
    for (size_t i = 0; i < count; ++i) {
        if (specs[i].create_bytes > 0) std::filesystem::remove(specs[i].path, ignored);
    }
}

// A crash can lie between remembering a device and adding it, and add_device puts it last.
io::Task<Result<std::unique_ptr<Pools::Open>>> Pools::open_remembered(PoolRecord record) {
    auto opened = co_await open_record(record, false);
    if (opened.ok() || record.devices.size() < 2) co_return opened;
    switch (opened.error().code()) {
        case ErrorCode::not_found:
        case ErrorCode::invalid_argument:
        case ErrorCode::corrupt: break;
        default: co_return opened;
    }
    record.devices.pop_back();
    record.accept_missing_devices = false;
    auto without = co_await open_record(std::move(record), false);
    co_return without.ok() ? std::move(without) : std::move(opened);
}

PoolRecord Pools::settled(PoolRecord record, const Open& open) {
    size_t missing = 0;
    for (const auto& device : open.pool->info().devices) {
        if (!device.missing) continue;
        ++missing;
        events_.add(fmt::format("pool {}: opened without device {}{}", record.name,
                                device.uuid.to_string(),
                                device.name.empty() ? "" : " (" + device.name + ")"));
    }
    if (missing > 0) return record;
    record.accept_missing_devices = false;
    std::vector<std::string> here;
    for (const auto& device : open.devices) here.emplace_back(device->name());
    for (const std::string& path : record.devices) {
        if (std::ranges::find(here, path) != here.end()) continue;
        events_.add(
            fmt::format("pool {}: device {}: is not of this pool, which is whole without "
                        "it: forgotten",
                        record.name, path));
    }
    record.devices = std::move(here);
    return record;
}

io::Task<Result<std::unique_ptr<Pools::Open>>> Pools::open_record(PoolRecord record,
                                                                  bool accept_damaged) {
    CO_TRY(co_await io::run_in_thread(reactor_,
                                      [&record] { return io::check_distinct(record.devices); }));
    auto open = std::make_unique<Open>();
    const bool has_ring = !record.read_only && !record.uuid.is_nil();
    for (const std::string& path : record.devices) {
        io::DeviceFileOptions options;
        options.read_only = record.read_only;
        auto device = co_await open_device(path, options);
        const bool may_miss = record.accept_missing_devices && !device.ok() &&
                              device.error().code() == ErrorCode::not_found;
        if (may_miss) continue;
        CO_TRY_ASSIGN(auto opened, std::move(device));
        open->devices.push_back(std::move(opened));
    }
    pool::OpenOptions options;
    options.cache_bytes = options_.cache_bytes;
    options.read_only = record.read_only;
    options.accept_damaged = accept_damaged;
    options.accept_missing_devices = record.accept_missing_devices;
    options.origins = origins_;
    options.events = [this, name = record.name](const std::string& text) {
        events_.add(fmt::format("pool {}: {}", name, text));
    };
    if (has_ring) CO_TRY(co_await open_ring(record, *open, accept_damaged));
    options.acknowledged = open->ring.get();
    CO_TRY_ASSIGN(open->pool,
                  co_await pool::Pool::open(reactor_, pointers(open->devices), std::move(options)));
    if (const RingRecord* ring = known_ring(record.uuid); !has_ring && ring != nullptr) {
        events_.add(
            fmt::format("pool {}: opened read-only, and was not closed: writes that were "
                        "acknowledged and not flushed are not shown, they are in its ring "
                        "{} until it is opened for writing",
                        record.name, ring->path));
    }
    co_return open;
}

io::Task<Result<void>> Pools::stop() {
    stopping_ = true;
    co_await trying_.join();
    Result<void> result;
    for (auto& [uuid, entry] : entries_) {
        if (entry.open == nullptr) continue;
        auto closed = co_await close_pool(*entry.open->pool);
        if (!closed.ok()) {
            events_.add(fmt::format("pool {}: closed with an error, will recover: {}",
                                    entry.record.name, closed.error().message()));
            result = closed.take_error();
        } else if (entry.open->ring != nullptr && *closed) {
            co_await remove_ring(uuid, entry.open->ring_path);
        }
    }
    for (auto& [uuid, entry] : entries_) {
        while (entry.uses > 0) co_await use_ended_.wait();
        entry.open.reset();
    }
    co_return result;
}

// ---- changes

Result<void> Pools::check_name(std::string_view name) const {
    for (const auto& [uuid, entry] : entries_) {
        if (entry.record.name == name) {
            return Error(ErrorCode::already_exists,
                         fmt::format("pool {}: this name is taken by {}", name, uuid.to_string()));
        }
    }
    return {};
}

Result<void> Pools::check_same(const Entry& known, const rpc::PoolCreate& request) {
    const PoolRecord& record = known.record;
    // It may have got devices since.
    const bool same = record.name == request.name &&
                      record.devices.size() >= request.devices.size() &&
                      std::ranges::equal(std::span(record.devices).first(request.devices.size()),
                                         request.devices, {}, {}, &rpc::DeviceSpec::path);
    if (!same) {
        return Error(ErrorCode::already_exists,
                     fmt::format("pool {}: exists with another name or other devices",
                                 record.uuid.to_string()));
    }
    if (known.busy) {
        return Error(ErrorCode::busy,
                     fmt::format("pool {}: is being created, opened or closed", record.name));
    }
    return {};
}

io::Task<Result<void>> Pools::remember(PoolRecord record) {
    auto& remembered = state_.state.pools;
    const Uuid uuid = record.uuid;
    const auto same = [&uuid](const PoolRecord& each) { return each.uuid == uuid; };
    std::optional<PoolRecord> before;
    if (const auto known = std::ranges::find_if(remembered, same); known != remembered.end()) {
        before = *known;
    }
    std::erase_if(remembered, same);
    remembered.push_back(std::move(record));
    auto saved = co_await state_.save();
    if (!saved.ok()) {
        std::erase_if(remembered, same);
        if (before) remembered.push_back(*std::move(before));
    }
    co_return saved;
}

// Remembered once it exists as a whole: what a crash leaves is an unfinished pool, which can be
// created again with force.
io::Task<Result<void>> Pools::make(Uuid uuid, rpc::PoolCreate request) {
    CO_TRY_ASSIGN(auto devices, co_await open_devices(request.devices, request.force));
    pool::CreateOptions options;
    options.name = request.name;
    options.uuid = uuid;
    options.force = request.force;
    io::blkid::Signatures signatures(reactor_);
    options.foreign = &signatures;
    options.capacity_max_bytes = request.capacity_max_bytes;
    options.reserve_blocks = request.reserve_bytes / kBlockBytes;
    auto made = co_await pool::Pool::create(reactor_, pointers(devices), options);
    devices.clear();
    if (!made.ok()) {
        remove_created(request.devices, request.devices.size());
        co_return made;
    }
    // Of an earlier pool with this UUID: nothing in it is this one's.
    const RingRecord* earlier = known_ring(uuid);
    co_await remove_ring(uuid, earlier != nullptr ? earlier->path : ring_path(uuid));
    auto opened = co_await open_record(entries_.at(uuid).record, false);
    Result<void> result;
    if (opened.ok()) {
        result = co_await remember_open(entries_.at(uuid).record, *opened);
    } else {
        result = opened.take_error();
    }
    if (result.ok()) {
        entries_.at(uuid).open = *std::move(opened);
    } else {
        remove_created(request.devices, request.devices.size());
        co_await remove_ring(uuid, ring_path(uuid));
    }
    co_return result;
}

io::Task<Result<void>> Pools::remember_open(PoolRecord record, std::unique_ptr<Open>& open) {
    const Uuid uuid = record.uuid;
    auto saved = co_await remember(std::move(record));
    if (saved.ok()) co_return saved;
    const std::string ring = open->ring != nullptr ? open->ring_path : "";
    const auto closed = co_await close_pool(*open->pool);
    open.reset();
    // Else what is not in the devices is in the ring still.
    if (!ring.empty() && closed.ok() && *closed) co_await remove_ring(uuid, ring);
    co_return saved;
}

io::Task<Result<Uuid>> Pools::create(rpc::PoolCreate request) {
    for (const rpc::DeviceSpec& device : request.devices) {
        CO_TRY(check_absolute("\"path\" of a device", device.path));
    }
    if (request.uuid && request.uuid->is_nil()) {
        co_return Error(ErrorCode::invalid_argument, "\"uuid\" must not be the nil UUID");
    }
    if (request.uuid && entries_.contains(*request.uuid)) {
        CO_TRY(check_same(entries_.at(*request.uuid), request));
        co_return *request.uuid;
    }
    CO_TRY(check_name(request.name));
    const Uuid uuid =
        request.uuid.value_or(Uuid::from_random(reactor_.random(), reactor_.random()));
    Entry& entry = entries_[uuid];
    entry.busy = true;
    entry.error = "it is being created";
    entry.record = {.uuid = uuid, .name = request.name, .devices = {}};
    for (const rpc::DeviceSpec& device : request.devices) {
        entry.record.devices.push_back(device.path);
    }
    const std::string name = request.name;
    const auto result = co_await make(uuid, std::move(request));
    Entry& after = entries_.at(uuid);
    after.busy = false;
    after.error.clear();
    if (!result.ok()) {
        entries_.erase(uuid);
        co_return result.error();
    }
    events_.add(fmt::format("pool {}: created", name));
    co_return uuid;
}

io::Task<Result<Uuid>> Pools::open(rpc::PoolOpen request) {
    for (const std::string& path : request.devices) {
        CO_TRY(check_absolute("each of \"devices\"", path));
    }
    PoolRecord record;
    record.devices = request.devices;
    record.accept_missing_devices = request.accept_missing_devices;
    // Read-only and without a ring: who is it?
    record.read_only = true;
    CO_TRY_ASSIGN(auto seen, co_await open_record(record, request.accept_damaged));
    const pool::PoolInfo info = seen->pool->info();
    CO_TRY(co_await seen->pool->close());
    seen.reset();
    record.uuid = info.uuid;
    record.name = info.name;
    record.read_only = request.read_only;
    const auto known = entries_.find(record.uuid);
    if (known != entries_.end() && (known->second.open != nullptr || known->second.busy)) {
        co_return Error(ErrorCode::already_exists, fmt::format("pool {}: is open", info.name));
    }
    if (known == entries_.end()) CO_TRY(check_name(record.name));
    Entry& entry = entries_[record.uuid];  // one that is busy is not removed
    entry.busy = true;
    entry.record.name = record.name;
    auto opened = co_await open_record(record, request.accept_damaged);
    Result<void> result;
    if (opened.ok()) {
        record = settled(std::move(record), **opened);
        result = co_await remember_open(record, *opened);
    } else {
        result = opened.take_error();
    }
    entry.busy = false;
    if (!result.ok()) {
        if (entry.record.uuid.is_nil()) entries_.erase(record.uuid);
        co_return result.take_error();
    }
    entry.record = record;
    entry.error.clear();
    entry.told_of_ring = false;
    entry.open = *std::move(opened);
    events_.add(fmt::format("pool {}: opened", record.name));
    opened_(record.uuid);
    co_return record.uuid;
}

Result<void> Pools::begin_close(const Uuid& uuid) {
    Entry& entry = entries_.at(uuid);
    if (entry.busy || entry.changing) {
        return Error(ErrorCode::busy, fmt::format("pool {}: is being {}", name(uuid),
                                                  entry.changing ? "changed" : "opened or closed"));
    }
    entry.busy = true;
    return {};
}

io::Task<Result<void>> Pools::finish_close(Uuid uuid) {
    // One that is busy is not removed by others.
    Entry& entry = entries_.at(uuid);
    std::erase_if(state_.state.pools,
                  [&uuid](const PoolRecord& each) { return each.uuid == uuid; });
    auto saved = co_await state_.save();
    if (!saved.ok()) {
        state_.state.pools.push_back(entry.record);
        entry.busy = false;
        co_return saved;
    }
    // One that was opened read-only has not looked into the ring.
    const bool has_ring = entry.open != nullptr && entry.open->ring != nullptr;
    const std::string ring = has_ring ? entry.open->ring_path : "";
    Result<bool> result(false);
    if (entry.open != nullptr) result = co_await close_pool(*entry.open->pool);
    while (entry.uses > 0) co_await use_ended_.wait();
    events_.add(fmt::format("pool {}: closed", name(uuid)));
    entries_.erase(uuid);
    if (!result.ok()) co_return result.take_error();
    // Else what is not in the devices is in the ring still.
    if (has_ring && *result) co_await remove_ring(uuid, ring);
    co_return Result<void>{};
}

io::Task<Result<void>> Pools::add_device(Uuid uuid, rpc::PoolAddDevice request) {
    CO_TRY(check_absolute("\"path\" of a device", request.device.path));
    CO_TRY_ASSIGN([[maybe_unused]] const PoolUse open, use(uuid));
    bool& changing = entries_.at(uuid).changing;
    if (changing) {
        co_return Error(ErrorCode::busy, fmt::format("pool {}: gets another device", name(uuid)));
    }
    changing = true;
    auto result = co_await change_devices(uuid, std::move(request));
    changing = false;
    co_return result;
}

io::Task<Result<void>> Pools::change_devices(Uuid uuid, rpc::PoolAddDevice request) {
    CO_TRY_ASSIGN(const PoolUse pool, use(uuid));
    std::vector<std::string> paths = entries_.at(uuid).record.devices;
    paths.push_back(request.device.path);
    CO_TRY(co_await io::run_in_thread(reactor_, [&paths] { return io::check_distinct(paths); }));
    std::vector<rpc::DeviceSpec> specs{request.device};
    CO_TRY_ASSIGN(auto devices, co_await open_devices(specs, request.force));
    // Remembered first: one that was not added is left out at the next start, and a pool with less
    // devices than it has is not opened.
    PoolRecord record = entries_.at(uuid).record;
    record.devices.push_back(request.device.path);
    auto remembered = co_await remember(record);
    if (!remembered.ok()) {
        remove_created(specs, 1);
        co_return remembered;
    }
    io::blkid::Signatures signatures(reactor_);
    auto added = co_await pool->add_device(*devices.front(), request.force, &signatures);
    Entry& entry = entries_.at(uuid);
    if (!added.ok()) {
        // One that stays remembered must be there, or the pool is not opened any more.
        const auto forgotten = co_await remember(entry.record);
        if (forgotten.ok()) remove_created(specs, 1);
        co_return added;
    }
    entry.record = record;
    entry.open->devices.push_back(std::move(devices.front()));
    co_return Result<void>{};
}

io::Task<Result<void>> Pools::grow(Uuid uuid) {
    CO_TRY_ASSIGN(const PoolUse pool, use(uuid));
    const size_t count = pool->info().devices.size();
    for (size_t i = 0; i < count; ++i) {
        if (!pool->info().devices.at(i).missing) CO_TRY(co_await pool->grow_device(i));
    }
    co_return Result<void>{};
}

// ---- knowledge

Result<Uuid> Pools::find(std::string_view name_or_uuid) const {
    if (const auto uuid = Uuid::parse(name_or_uuid); uuid.ok() && entries_.contains(*uuid)) {
        return *uuid;
    }
    for (const auto& [uuid, entry] : entries_) {
        if (entry.record.name == name_or_uuid) return uuid;
    }
    return Error(ErrorCode::not_found,
                 fmt::format("pool {}: there is none", to_text(Json(name_or_uuid))));
}

Result<pool::Pool*> Pools::get(const Uuid& uuid) const {
    const auto found = entries_.find(uuid);
    if (found == entries_.end()) {
        return Error(ErrorCode::not_found, fmt::format("pool {}: there is none", uuid.to_string()));
    }
    const Entry& entry = found->second;
    if (entry.open == nullptr || entry.busy) {
        return Error(ErrorCode::busy,
                     fmt::format("pool {}: is not open: {}", entry.record.name,
                                 entry.error.empty() ? "it is being opened" : entry.error));
    }
    return entry.open->pool.get();
}

Result<PoolUse> Pools::use(const Uuid& uuid) {
    TRY_ASSIGN(pool::Pool * pool, get(uuid));
    return PoolUse(*pool, entries_.at(uuid).uses, use_ended_);
}

rpc::PoolStatus Pools::status(const Uuid& uuid) const {
    const Entry& entry = entries_.at(uuid);
    rpc::PoolStatus status;
    status.uuid = uuid;
    status.name = entry.record.name;
    status.error = entry.error;
    if (entry.open == nullptr) {
        status.state = entry.error.empty() ? rpc::PoolState::opening : rpc::PoolState::failed;
        status.read_only = entry.record.read_only;
        for (const std::string& path : entry.record.devices) {
            status.devices.push_back({Uuid{}, path, 0, false, false});
        }
        return status;
    }
    const pool::PoolInfo info = entry.open->pool->info();
    status.state = rpc::PoolState::open;
    status.read_only = info.read_only;
    status.read_only_reason = info.read_only_reason;
    status.space = space_of(info.space);
    status.held_writes = entry.open->pool->counters().held_now;
    for (const auto& device : info.devices) {
        status.devices.push_back(
            {device.uuid, device.name, device.size_bytes, device.missing, device.host_full});
    }
    return status;
}

std::vector<Uuid> Pools::list() const {
    std::vector<Uuid> uuids;
    uuids.reserve(entries_.size());
    for (const auto& [uuid, entry] : entries_) uuids.push_back(uuid);
    return uuids;
}

std::string Pools::name(const Uuid& uuid) const {
    const auto found = entries_.find(uuid);
    return found == entries_.end() ? uuid.to_string() : found->second.record.name;
}

}  // namespace stoa::service
