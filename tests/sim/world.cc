#include "tests/sim/world.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "dataplane/io/sync.h"
#include "dataplane/pool/test_image_source.h"

namespace stoa::simtest {

namespace {

// A disk's content as fsck reads it.

}  // namespace

// ---- origins

io::Task<Result<void>> Origin::read(uint64_t offset_bytes, MutableBytes into) {
    if (gone_) {
        missed_ = true;
        co_return Error(ErrorCode::io, "the origin is gone");
    }
    co_await executor_.sleep_ns(20'000);
    if (offset_bytes + into.size() > size_bytes_) {
        co_return Error(ErrorCode::out_of_range, "the origin is shorter");
    }
    for (size_t at = 0; at < into.size(); at += kSectorBytes) {
        fill_sector(tag((offset_bytes + at) / kSectorBytes), into.data() + at);
    }
    co_return Result<void>{};
}

io::Task<Result<void>> Origin::write(uint64_t, ConstBytes, block::WriteOptions) {
    co_return Error(ErrorCode::read_only, "an origin is never written");
}

io::Task<Result<void>> Origin::flush() { co_return Result<void>{}; }

io::Task<Result<void>> Origin::discard(uint64_t, uint64_t) {
    co_return Error(ErrorCode::read_only, "an origin is never discarded");
}

io::Task<Result<void>> Origin::write_zeroes(uint64_t, uint64_t, block::ZeroOptions) {
    co_return Error(ErrorCode::read_only, "an origin is never zeroed");
}

io::Task<Result<std::vector<block::Extent>>> Origin::extents(uint64_t offset_bytes,
                                                             uint64_t length_bytes, size_t) {
    co_return std::vector<block::Extent>{{offset_bytes, length_bytes, block::ExtentKind::data}};
}

Origin& World::add_origin(const Uuid& uuid, uint64_t id, uint64_t size_bytes) {
    auto& slot = origins_[uuid];
    slot = std::make_unique<Origin>(simulator_, id, size_bytes);
    return *slot;
}

void World::lose_origin(const Uuid& uuid) {
    const auto at = origins_.find(uuid);
    if (at != origins_.end()) at->second->vanish();
}

// ---- disks and crashes

uint64_t Remains::hash() const {
    uint64_t value = 0;
    for (const io::sim::Medium& disk : disks) {
        value = io::sim::mix(value + disk.visible().hash());
        value = io::sim::mix(value + disk.durable().hash());
    }
    for (size_t at = 0; at + 8 <= shared.size(); at += 8) {
        const auto word = load_le<uint64_t>(shared.data() + at);
        if (word != 0) value = io::sim::mix(value + word + at);
    }
    return value;
}

World::World(WorldOptions options) : options_(options), simulator_(options.seed) {
    std::vector<io::sim::Medium> media;
    for (size_t i = 0; i < options_.devices; ++i) {
        media.emplace_back(io::sim::Image(options_.device_bytes));
    }
    shared_ = std::make_unique<io::sim::SharedMemory>(options_.shared_bytes);
    insert_disks(std::move(media));
}

World::~World() {
    if (pool_ == nullptr) return;
    Verdict verdict;
    crash_now({.process_only = true, .policy = {}});
    if (!wind_down(verdict)) {
        std::fprintf(stderr, "world: %s\n", verdict.text().c_str());
        std::abort();
    }
}

void World::insert_disks(std::vector<io::sim::Medium> media) {
    disks_.clear();
    write_once_ = std::make_unique<io::sim::WriteOnceOracle>(
        [this](const io::sim::Disk&, uint64_t offset) { return classify(offset); });
    for (size_t i = 0; i < media.size(); ++i) {
        io::sim::DiskOptions disk;
        disk.name = fmt::format("disk{}", i);
        disk.latency = options_.latency;
        disks_.push_back(std::make_unique<io::sim::Disk>(simulator_, disk, std::move(media[i])));
        write_once_->watch(*disks_.back());
        disks_.back()->add_observer([this](const io::sim::DiskEvent&) { note_event(); });
    }
    crashed_ = false;
    crash_in_.reset();
    remains_.reset();
}

io::sim::WriteOnceOracle::Place World::classify(uint64_t offset_bytes) const {
    using Place = io::sim::WriteOnceOracle::Place;
    const uint64_t block = offset_bytes / kBlockBytes;
    if (data_start_bytes_ == 0) return Place::fixed;  // the layout is not known yet
    if (std::ranges::find(superblocks_, block) != superblocks_.end()) return Place::superblock;
    if (offset_bytes < data_start_bytes_) return Place::fixed;
    const uint64_t in_region =
        (offset_bytes - data_start_bytes_) / kBlockBytes % options_.region_blocks;
    const bool bitmap = in_region < 2 || in_region >= options_.region_blocks - 2;
    return bitmap ? Place::fixed : Place::once;
}

// From the label on the first disk, as docs/format/pool.md lays it out.
void World::learn_layout() {
    std::array<std::byte, kBlockBytes> label;
    disks_.front()->image().read(0, label);
    const auto journal_blocks = load_le<uint64_t>(label.data() + 56);
    const uint64_t tables = load_le<uint32_t>(label.data() + 64);
    const uint64_t indexes = load_le<uint32_t>(label.data() + 68);
    options_.region_blocks = load_le<uint32_t>(label.data() + 52);
    data_start_bytes_ = load_le<uint64_t>(label.data() + 80) * kBlockBytes;
    journal_start_bytes_ = (3 + 2 * indexes + 2 * tables) * kBlockBytes;
    const uint64_t second = 3 + 2 * (2 * indexes + 2 * tables) + 2 * journal_blocks;
    superblocks_ = {1, 2, second, second + 1};
}

void World::note_event() {
    if (crashed_) return;
    ++events_;
    if (watcher_) watcher_();
    if (!crash_in_) return;
    if (*crash_in_ <= 1) crash_now(plan_);
    else --*crash_in_;
}

void World::arm_crash(uint64_t events, CrashPlan plan) {
    crash_in_ = events;
    plan_ = plan;
}

Remains World::remains_now(const CrashPlan& plan) const {
    Remains remains;
    io::sim::CrashPolicy policy = plan.policy;
    for (const auto& disk : disks_) {
        if (plan.process_only) remains.disks.push_back(disk->process_crash(policy.seed));
        else remains.disks.emplace_back(disk->crash_image(policy));
        policy.seed = io::sim::mix(policy.seed + 1);
    }
    if (plan.process_only) remains.shared = shared_->snapshot();
    for (const auto& [uuid, origin] : origins_) {
        remains.origins.push_back({uuid, origin->id(), origin->size_bytes(), origin->is_gone()});
    }
    return remains;
}

void World::crash_now(const CrashPlan& plan) {
    if (crashed_) return;
    trace(fmt::format("{} crash at event {}", plan.process_only ? "process" : "host", events_));
    remains_ = remains_now(plan);
    crashed_ = true;
    crash_in_.reset();
    for (const auto& disk : disks_) disk->kill();
}

bool World::wind_down(Verdict& verdict) {
    if (pool_ == nullptr) return true;
    const auto closed = run(pool_->close(), "close after a crash", verdict);
    if (!closed) return false;
    pool_.reset();
    return true;
}

bool World::restart(Verdict& verdict) {
    if (!wind_down(verdict)) return false;
    CHECK(remains_.has_value());
    const Remains remains = std::move(*remains_);
    take(remains);
    return true;
}

void World::take(const Remains& remains) {
    CHECK(pool_ == nullptr);
    shared_ = remains.shared.empty()
                  ? std::make_unique<io::sim::SharedMemory>(options_.shared_bytes)
                  : std::make_unique<io::sim::SharedMemory>(ConstBytes(remains.shared));
    for (const Remains::Source& source : remains.origins) {
        if (origins_.contains(source.uuid)) continue;
        Origin& origin = add_origin(source.uuid, source.id, source.size_bytes);
        if (source.gone) origin.vanish();
    }
    insert_disks(remains.disks);
    if (data_start_bytes_ == 0) learn_layout();
}

// ---- life of the pool

bool World::create(Verdict& verdict) {
    std::vector<io::Device*> devices;
    for (const auto& disk : disks_) devices.push_back(disk.get());
    pool::CreateOptions create;
    create.name = "simulated";
    create.region_blocks = options_.region_blocks;
    create.journal_blocks = options_.journal_blocks;
    create.reserve_blocks = options_.reserve_blocks;
    const auto result = run(pool::Pool::create(simulator_, devices, create), "create", verdict);
    if (!result) return false;
    if (!result->ok()) {
        verdict.fail("operation", "create: " + result->error().message());
        return false;
    }
    learn_layout();
    write_once_->reset();
    return true;
}

pool::OpenOptions World::open_options() {
    pool::OpenOptions open;
    open.cache_bytes = options_.cache_bytes;
    open.bounce_bytes = uint64_t{4} << 20;
    open.acknowledged = shared_.get();
    open.knobs = options_.knobs;
    open.accept_missing_devices = left_out_.has_value();
    open.origins = [this](const Uuid& uuid) -> block::Volume* {
        const auto at = origins_.find(uuid);
        return at == origins_.end() ? nullptr : at->second.get();
    };
    open.events = [this](const std::string& text) { trace("event: " + text); };
    return open;
}

bool World::open(Verdict& verdict) {
    std::vector<io::Device*> devices;
    for (size_t i = 0; i < disks_.size(); ++i) {
        if (left_out_ != i) devices.push_back(disks_[i].get());
    }
    ++opens_;
    auto result = run(pool::Pool::open(simulator_, devices, open_options()), "open", verdict);
    if (!result) return false;
    if (!result->ok()) {
        if (!crashed_) verdict.fail("recovery-open", result->error().message());
        return false;
    }
    pool_ = std::move(**result);
    if (crashed_) return false;  // it opened in the very moment; restart() closes it
    if (pool_->info().read_only) {
        verdict.fail("recovery-open", "opens read-only: " + pool_->info().read_only_reason);
        return false;
    }
    return true;
}

bool World::close(Verdict& verdict) {
    const auto closed = run(pool_->close(), "close", verdict);
    if (!closed) return false;
    pool_.reset();
    if (!closed->ok()) trace("close: " + closed->error().message());
    return closed->ok();
}

// ---- running

bool World::drive(const std::function<bool()>& done, uint64_t limit_ns) {
    constexpr uint64_t kStepsMax = 20'000'000;
    const uint64_t end_ns = simulator_.now_ns() + limit_ns;
    for (uint64_t steps = 0; !done(); ++steps) {
        if (simulator_.now_ns() > end_ns || steps > kStepsMax) return false;
        if (!simulator_.step()) return done();
    }
    return true;
}

void World::trace(const std::string& text) const {
    if (options_.verbose) {
        std::fprintf(stderr, "%12.6f ms  %s\n",
                     static_cast<double>(simulator_.now_ns() - io::sim::Simulator::kStartNs) / 1e6,
                     text.c_str());
    }
}

// ---- looking

void World::check_oracles(Verdict& verdict) const {
    if (write_once_->violation()) verdict.fail("write-once", *write_once_->violation());
    for (const auto& disk : disks_) {
        if (disk->violation()) verdict.fail("flush", *disk->violation());
    }
    for (const auto& [uuid, origin] : origins_) {
        if (!origin->was_read_after_it_vanished()) continue;
        verdict.fail("origin", "it is read after everything was hydrated");
    }
}

void World::check_fsck(Verdict& verdict, bool closed) {
    std::vector<std::unique_ptr<pool::ImageSource>> sources;
    std::vector<fsck::Source*> devices;
    for (const auto& disk : disks_) {
        sources.push_back(std::make_unique<pool::ImageSource>(disk->image(), disk->name()));
        devices.push_back(sources.back().get());
    }
    const fsck::Report report = fsck::check(devices, {.verify_data = true});
    if (report.problem_count != 0) {
        verdict.fail("fsck", fmt::format("{} problems, first: {}", report.problem_count,
                                         report.problems.front()));
    } else if (report.counts.leaked_blocks != 0) {
        verdict.fail("space", fmt::format("fsck: {} blocks leak", report.counts.leaked_blocks));
    } else if (closed && !report.closed_cleanly) {
        verdict.fail("fsck", "the pool was closed and is not marked so");
    } else if (closed && report.repairable_count != 0) {
        verdict.fail("fsck", fmt::format("{} bad copies, first: {}", report.repairable_count,
                                         report.repairable.front()));
    }
}

io::Task<void> World::read_tree(Uuid uuid, SeenTree& tree, bool damage_allowed,
                                std::string& error) {
    const auto may_fail = [&](const Error& reason) {
        return damage_allowed &&
               (reason.code() == ErrorCode::io || reason.code() == ErrorCode::corrupt);
    };
    const uint64_t blocks = (tree.size_bytes + kBlockBytes - 1) / kBlockBytes;
    tree.blocks.assign(blocks, BlockTags{});
    auto handle = co_await pool_->attach(uuid, true);
    if (!handle.ok()) {
        error = "attach: " + handle.error().message();
        co_return;
    }
    AlignedBuffer buffer(blocks * kBlockBytes);
    Result<void> all = co_await (*handle)->read(0, buffer.bytes().first(tree.size_bytes));
    std::vector<bool> unreadable(blocks);
    if (!all.ok()) {
        if (!may_fail(all.error())) error = tree.name + ": read: " + all.error().message();
        for (uint64_t block = 0; block < blocks && error.empty(); ++block) {
            const uint64_t at = block * kBlockBytes;
            const uint64_t length = std::min(kBlockBytes, tree.size_bytes - at);
            Result<void> one = co_await (*handle)->read(at, buffer.bytes().subspan(at, length));
            if (one.ok()) continue;
            if (!may_fail(one.error())) error = tree.name + ": read: " + one.error().message();
            unreadable[block] = true;
        }
    }
    for (uint64_t sector = 0; sector < tree.size_bytes / kSectorBytes; ++sector) {
        const uint64_t block = sector / kSectorsPerBlock;
        tree.blocks[block][sector % kSectorsPerBlock] =
            unreadable[block] ? kUnreadableTag : read_tag(buffer.data() + sector * kSectorBytes);
    }
    co_await pool_->detach(*handle);
}

std::optional<Seen> World::observe(bool damage_allowed, Verdict& verdict) {
    Seen seen;
    for (const pool::VolumeInfo& info : pool_->volumes()) {
        if (info.deleting) continue;
        seen[info.uuid] = {info.name, info.size_bytes, false, info.is_protected, {}, {}};
    }
    for (const pool::SnapshotInfo& info : pool_->snapshots(std::nullopt)) {
        if (info.deleting) continue;
        seen[info.uuid] = {info.name, info.size_bytes, true, info.is_protected, info.volume, {}};
    }
    for (auto& [uuid, tree] : seen) {
        auto error = std::make_shared<std::string>();
        auto group = std::make_shared<io::TaskGroup>(simulator_);
        group->spawn(read_tree(uuid, tree, damage_allowed, *error));
        if (!drive([&] { return group->running() == 0; })) {
            static auto* stuck = new std::vector<std::shared_ptr<void>>;
            stuck->push_back(group);
            stuck->push_back(error);
            verdict.fail("liveness", "reading " + tree.name + " does not end");
            return std::nullopt;
        }
        if (crashed_) return std::nullopt;
        if (!error->empty()) {
            verdict.fail("model-read", *error);
            return std::nullopt;
        }
    }
    return seen;
}

}  // namespace stoa::simtest
