// The public face: dispatches to the file of each operation, owns the core and its life.
#include "dataplane/pool/pool.h"

#include <algorithm>

#include <fmt/format.h>

#include "dataplane/pool/checkpoint.h"
#include "dataplane/pool/commit.h"
#include "dataplane/pool/core.h"
#include "dataplane/pool/device_ops.h"
#include "dataplane/pool/diff.h"
#include "dataplane/pool/format_device.h"
#include "dataplane/pool/open.h"
#include "dataplane/pool/reclaim.h"
#include "dataplane/pool/scrub.h"
#include "dataplane/pool/structure.h"
#include "dataplane/pool/transfer.h"
#include "dataplane/pool/volume_handle.h"

namespace stoa::pool {

class Pool::Impl {
public:
    explicit Impl(std::unique_ptr<Core> core) : core_(std::move(core)) {}
    Core& core() { return *core_; }
    [[nodiscard]] const Core& core() const { return *core_; }
    bool closed = false;

private:
    std::unique_ptr<Core> core_;
};

namespace {

Uuid uuid_of(const Core& core, ObjectId id) {
    const Object* object = core.objects.find(id);
    return object == nullptr ? Uuid{} : object->record.uuid;
}

VolumeInfo describe_volume(const Core& core, const Object& object) {
    const ObjectRecord& r = object.record;
    VolumeInfo info;
    info.uuid = r.uuid;
    info.name = r.name;
    info.size_bytes = r.size_bytes;
    info.mapped_bytes = r.mapped * kBlockBytes;
    info.created_ns = r.created_ns;
    info.parent = uuid_of(core, r.parent);
    info.origin = r.origin;
    info.hydrated = !asks_origin(r);
    info.is_protected = r.has(ObjectRecord::kProtected);
    info.deleting = r.has(ObjectRecord::kDeleted);
    for (const ObjectId id : core.objects.snapshots_of(r.id)) {
        if (!is_gone(core, *core.objects.find(id))) ++info.snapshot_count;
    }
    info.tags = r.tags;
    return info;
}

SnapshotInfo describe_snapshot(const Core& core, const Object& object) {
    const ObjectRecord& r = object.record;
    SnapshotInfo info;
    info.uuid = r.uuid;
    info.volume = uuid_of(core, r.volume);
    info.parent = uuid_of(core, r.parent);
    info.name = r.name;
    info.size_bytes = r.size_bytes;
    info.mapped_bytes = r.mapped * kBlockBytes;
    info.created_ns = r.created_ns;
    info.epoch = r.epoch;
    info.origin = r.origin;
    info.hydrated = !asks_origin(r);
    info.is_protected = r.has(ObjectRecord::kProtected);
    info.deleting = is_gone(core, object);
    for (const ObjectId child : object.children) {
        const Object* clone = core.objects.find(child);
        if (clone->record.kind == ObjectKind::volume && child != r.volume &&
            !clone->record.has(ObjectRecord::kDeleted)) {
            info.clones.push_back(clone->record.uuid);
        }
    }
    return info;
}

io::Task<void> resume_flatten(Core& core, Uuid volume) {
    const Result<void> result = co_await flatten_volume(core, volume, {});
    if (!result.ok()) core.event("flattening stopped: " + result.error().message());
}

io::Task<void> resume_hydration(Core& core, Uuid volume) {
    const Result<void> result =
        co_await hydrate_volume(core, volume, {.progress = {}, .patient = true});
    if (!result.ok()) core.event("hydration stopped: " + result.error().message());
}

// Tells when writes wait for space, and when they go on. Held for a moment is nothing to tell: a
// checkpoint gives space back.
io::Task<void> run_full_watch(Core& core) {
    constexpr uint64_t kPatienceNs = 1'000'000'000;
    constexpr uint64_t kStepNs = 50'000'000;
    bool told = false;
    uint64_t since = 0;
    while (core.writable() && !core.closing) {
        const bool full = core.held > 0;
        const uint64_t now = core.executor.now_ns();
        if (full == told) since = now;
        if (full != told && now - since >= kPatienceNs) {
            told = full;
            core.event(told ? "full: writes wait until space is freed or a device is added or grown"
                            : "has space again: the writes that waited go on");
        }
        if (full || told) co_await core.executor.sleep_ns(kStepNs);
        else co_await core.held_changed.wait();
        if (!full && !told) since = core.executor.now_ns();
    }
}

void start_background(Core& core) {
    core.devices.start_waiting();
    core.background.spawn(run_committer(core));
    core.background.spawn(run_checkpointer(core));
    core.workers.spawn(run_prover(core));
    core.workers.spawn(run_idle_watch(core));
    core.workers.spawn(run_full_watch(core));
    if (core.options.knobs.background) core.workers.spawn(run_reclaimer(core));
    for (const auto& [id, object] : core.objects.all()) {
        if (object->record.has(ObjectRecord::kFlattening) && !is_gone(core, *object)) {
            core.workers.spawn(resume_flatten(core, object->record.uuid));
        }
        if (object->record.has(ObjectRecord::kHydrating) && !is_gone(core, *object)) {
            core.workers.spawn(resume_hydration(core, object->record.uuid));
        }
    }
}

}  // namespace

Pool::Pool(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Pool::~Pool() { CHECK(impl_ == nullptr || impl_->closed); }

io::Task<Result<void>> Pool::create(io::Executor& executor, std::vector<io::Device*> devices,
                                    CreateOptions options) {
    return create_pool(executor, std::move(devices), std::move(options));
}

io::Task<Result<std::unique_ptr<Pool>>> Pool::open(io::Executor& executor,
                                                   std::vector<io::Device*> devices,
                                                   OpenOptions options) {
    CO_TRY_ASSIGN(std::unique_ptr<Core> core,
                  co_await open_core(executor, std::move(devices), std::move(options)));
    if (core->writable()) start_background(*core);
    co_return std::unique_ptr<Pool>(new Pool(std::make_unique<Impl>(std::move(core))));
}

io::Task<Result<void>> Pool::close() {
    Core& core = impl_->core();
    CHECK(!impl_->closed);
    core.closing = true;
    core.devices.stop_waiting();
    core.wake_all();
    for (const auto& handle : core.handles) co_await handle->close();
    core.handles.clear();
    // Whoever holds the lock finishes its change or learns that the pool is closing.
    {
        io::Mutex::Guard guard = co_await core.structure_lock.lock();
    }
    co_await core.workers.join();
    core.background_stopped = true;
    core.wake_all();
    co_await core.background.join();
    Result<void> result;
    if (core.failure) {
        result = *core.failure;
    } else if (core.writable()) {
        for (const auto& [id, object] : core.objects.all()) core.regions.give_back(object->stream);
        core.mark_clean = true;
        result = co_await write_checkpoint(core);
    }
    impl_->closed = true;
    co_return result;
}

PoolInfo Pool::info() const {
    const Core& core = impl_->core();
    PoolInfo info;
    info.uuid = core.label.pool;
    info.name = core.label.name;
    info.read_only = !core.writable();
    info.read_only_reason = core.read_only_reason;
    info.generation = core.superblock.generation;
    info.incarnation = core.superblock.incarnation;
    info.region_blocks = core.label.region_blocks;
    const Regions::Figures f = core.regions.figures();
    info.space = {f.total,
                  f.system,
                  f.data,
                  f.nodes,
                  f.quarantine,
                  f.bad,
                  f.free,
                  f.away,
                  core.regions.reserve_blocks(),
                  reclaim_pending(core)};
    for (size_t d = 0; d < core.devices.list.size(); ++d) {
        const PoolDevice& device = core.devices.list[d];
        const bool here = device.device != nullptr;
        info.devices.push_back({core.superblock.devices[d].uuid, here ? device.device->name() : "",
                                here ? device.device->size_bytes() : 0, !device.is_member(),
                                device.waiting > 0});
    }
    return info;
}

Counters Pool::counters() const {
    const Core& core = impl_->core();
    Counters counters = core.counters;
    counters.checkpoints = core.checkpoints_done;
    counters.journal_bytes = core.journal.ring_blocks() * kBlockBytes;
    counters.journal_used_bytes = counters.journal_bytes - core.journal.free_blocks() * kBlockBytes;
    counters.held_now = core.held;
    counters.device_flushes = core.devices.flushes();
    counters.node_hits = core.cache.hits();
    counters.node_misses = core.cache.misses();
    counters.checksum_repairs = core.blocks.repairs();
    counters.checksum_errors = core.blocks.errors();
    return counters;
}

io::Task<Result<void>> Pool::grow_device(size_t index) {
    return pool::grow_device(impl_->core(), index);
}
io::Task<Result<void>> Pool::add_device(io::Device& device, bool force, io::ForeignData* foreign) {
    return pool::add_device(impl_->core(), device, force, foreign);
}
io::Task<Result<Uuid>> Pool::create_volume(VolumeSpec spec) {
    return pool::create_volume(impl_->core(), std::move(spec));
}
io::Task<Result<void>> Pool::delete_volume(Uuid volume) {
    return pool::delete_volume(impl_->core(), volume);
}
io::Task<Result<void>> Pool::rename_volume(Uuid volume, std::string name) {
    return pool::rename_volume(impl_->core(), volume, std::move(name));
}
io::Task<Result<void>> Pool::resize_volume(Uuid volume, uint64_t size_bytes, bool allow_shrink) {
    return pool::resize_volume(impl_->core(), volume, size_bytes, allow_shrink);
}
io::Task<Result<void>> Pool::protect(Uuid volume_or_snapshot, bool on) {
    return set_protection(impl_->core(), volume_or_snapshot, on);
}
io::Task<Result<void>> Pool::set_tags(Uuid volume, std::vector<std::byte> tags) {
    return pool::set_tags(impl_->core(), volume, std::move(tags));
}

std::vector<VolumeInfo> Pool::volumes() const {
    const Core& core = impl_->core();
    std::vector<VolumeInfo> list;
    for (const ObjectId id : core.objects.ids()) {
        const Object* object = core.objects.find(id);
        if (object->record.kind == ObjectKind::volume &&
            !object->record.has(ObjectRecord::kDeleted)) {
            list.push_back(describe_volume(core, *object));
        }
    }
    return list;
}

Result<VolumeInfo> Pool::volume(Uuid volume) const {
    TRY_ASSIGN(const Object* object, find_live_volume(impl_->core(), volume));
    return describe_volume(impl_->core(), *object);
}

Result<Uuid> Pool::find_volume(const std::string& name) const {
    const Object* object = impl_->core().objects.find_volume(name);
    if (object == nullptr) {
        return Error(ErrorCode::not_found,
                     fmt::format("no volume '{}' in pool {}", name, impl_->core().label.name));
    }
    return object->record.uuid;
}

io::Task<Result<std::vector<Uuid>>> Pool::snapshot(std::vector<SnapshotSpec> specs) {
    return take_snapshots(impl_->core(), std::move(specs));
}
io::Task<Result<void>> Pool::delete_snapshot(Uuid snapshot) {
    return pool::delete_snapshot(impl_->core(), snapshot);
}
io::Task<Result<Uuid>> Pool::clone(Uuid snapshot, VolumeSpec spec) {
    return clone_snapshot(impl_->core(), snapshot, std::move(spec));
}
io::Task<Result<void>> Pool::rollback(Uuid volume, Uuid snapshot) {
    return roll_back(impl_->core(), volume, snapshot);
}
io::Task<Result<void>> Pool::flatten(Uuid volume, Progress progress) {
    return flatten_volume(impl_->core(), volume, std::move(progress));
}

std::vector<SnapshotInfo> Pool::snapshots(std::optional<Uuid> volume) const {
    const Core& core = impl_->core();
    std::vector<SnapshotInfo> list;
    for (const ObjectId id : core.objects.ids()) {
        const Object* object = core.objects.find(id);
        if (object->record.kind != ObjectKind::snapshot || is_gone(core, *object)) continue;
        if (volume && uuid_of(core, object->record.volume) != *volume) continue;
        list.push_back(describe_snapshot(core, *object));
    }
    return list;
}

Result<SnapshotInfo> Pool::snapshot_info(Uuid snapshot) const {
    TRY_ASSIGN(const Object* object, find_live_snapshot(impl_->core(), snapshot));
    return describe_snapshot(impl_->core(), *object);
}

io::Task<Result<block::Volume*>> Pool::attach(Uuid uuid, bool read_only) {
    Core& core = impl_->core();
    // Who deletes, shrinks or rolls back has looked for attachments, and may still wait for room.
    io::Mutex::Guard guard = co_await core.structure_lock.lock();
    CO_TRY_ASSIGN(Object * object, find_live_tree(core, uuid));
    const bool snapshot = object->record.kind == ObjectKind::snapshot;
    if (!read_only && snapshot) {
        co_return Error(ErrorCode::read_only, fmt::format("snapshot {} can only be attached "
                                                          "read-only; clone it to write",
                                                          full_name(core, *object)));
    }
    if (!read_only && !core.writable()) co_return core.read_only_error();
    if (!read_only && object->written_by_attachment) {
        co_return Error(ErrorCode::in_use, fmt::format("volume {} is attached for writing already; "
                                                       "detach it there, or attach it read-only",
                                                       object->record.name));
    }
    if (core.closing) co_return core.closing_error();
    core.handles.push_back(std::make_unique<VolumeHandle>(core, *object, read_only));
    ++object->readers;
    if (!read_only) object->written_by_attachment = true;
    co_return static_cast<block::Volume*>(core.handles.back().get());
}

block::Volume* Pool::share(block::Volume* handle) {
    Core& core = impl_->core();
    auto* of = static_cast<VolumeHandle*>(handle);
    core.handles.push_back(std::make_unique<VolumeHandle>(core, of->object(), of->read_only()));
    core.handles.back()->mark_shared();
    ++of->object().readers;
    return core.handles.back().get();
}

io::Task<void> Pool::detach(block::Volume* handle) {
    Core& core = impl_->core();
    const auto is_it = [handle](const auto& owned) { return owned.get() == handle; };
    CHECK(std::ranges::any_of(core.handles, is_it));
    auto* closing = static_cast<VolumeHandle*>(handle);
    co_await closing->close();
    Object& object = closing->object();
    --object.readers;
    if (!closing->read_only() && !closing->is_shared()) {
        object.written_by_attachment = false;
        core.regions.give_back(object.stream);
    }
    std::erase_if(core.handles, is_it);
    core.reclaim_signal.notify_all();
}

io::Task<Result<DiffPage>> Pool::diff(Uuid from, Uuid to, uint64_t offset_bytes,
                                      size_t ranges_max) {
    return diff_trees(impl_->core(), from, to, offset_bytes, ranges_max);
}
io::Task<Result<uint64_t>> Pool::exclusive_bytes(Uuid volume_or_snapshot) {
    return count_exclusive_bytes(impl_->core(), volume_or_snapshot);
}
io::Task<Result<ScrubReport>> Pool::scrub(ScrubOptions options) {
    return scrub_pool(impl_->core(), std::move(options));
}

std::vector<DamageRange> Pool::damage() const {
    const Core& core = impl_->core();
    std::vector<DamageRange> list;
    for (const ObjectId id : core.objects.ids()) {
        const ObjectRecord& r = core.objects.find(id)->record;
        if (r.kind != ObjectKind::damage) continue;
        list.push_back(
            {uuid_of(core, r.volume), r.damage_first * kBlockBytes, r.damage_blocks * kBlockBytes});
    }
    return list;
}

io::Task<Result<BlockExplanation>> Pool::explain(Uuid volume_or_snapshot, uint64_t offset_bytes) {
    return explain_block(impl_->core(), volume_or_snapshot, offset_bytes);
}

io::Task<Result<void>> Pool::settle() {
    Core& core = impl_->core();
    core.background_error.reset();
    core.reclaim_signal.notify_all();
    while (reclaim_pending(core)) {
        if (!core.writable()) co_return core.read_only_error();
        if (core.closing) co_return core.closing_error();
        if (core.background_error) co_return *core.background_error;
        co_await core.work.wait();
    }
    co_return Result<void>{};
}

io::Task<Result<void>> Pool::hydrate(Uuid volume, HydrateOptions options) {
    return hydrate_volume(impl_->core(), volume, std::move(options));
}

io::Task<Result<void>> Pool::checkpoint() {
    Core& core = impl_->core();
    if (!core.writable()) co_return core.read_only_error();
    if (core.closing) co_return core.closing_error();
    const uint64_t target = core.checkpoints_done + (core.checkpoint_lock.is_locked() ? 2 : 1);
    while (core.checkpoints_done < target) {
        if (!core.writable()) co_return core.read_only_error();
        core.want_checkpoint();
        co_await core.checkpoint_signal.wait();
    }
    co_return Result<void>{};
}

}  // namespace stoa::pool
