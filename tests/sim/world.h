// World: a simulated host with its disks, its shared memory and one pool, that can lose its process
// or its power at any event of any disk, and start again.
//
// Watches all the time: the write-once oracle, misuse of the disks, and that every task ends.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/io/sim/disk.h"
#include "dataplane/io/sim/shared_memory.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/io/sim/write_once_oracle.h"
#include "dataplane/io/sync.h"
#include "dataplane/pool/fsck/fsck.h"
#include "dataplane/pool/pool.h"
#include "tests/sim/model.h"
#include "tests/sim/verdict.h"

namespace stoa::simtest {

// A volume in memory that a pool volume can come from: sector i has the tag make_tag(id, i).
class Origin final : public block::Volume {
public:
    Origin(io::Executor& executor, uint64_t id, uint64_t size_bytes)
        : executor_(executor), id_(id), size_bytes_(size_bytes) {}

    [[nodiscard]] Tag tag(uint64_t sector) const { return make_tag(id_, sector); }
    [[nodiscard]] uint64_t size_bytes() const override { return size_bytes_; }
    [[nodiscard]] bool read_only() const override { return true; }
    io::Task<Result<void>> read(uint64_t offset_bytes, MutableBytes into) override;
    io::Task<Result<void>> write(uint64_t, ConstBytes, block::WriteOptions) override;
    io::Task<Result<void>> flush() override;
    io::Task<Result<void>> discard(uint64_t, uint64_t) override;
    io::Task<Result<void>> write_zeroes(uint64_t, uint64_t, block::ZeroOptions) override;
    io::Task<Result<std::vector<block::Extent>>> extents(uint64_t offset_bytes,
                                                         uint64_t length_bytes, size_t) override;

    // From now on nobody may read it.
    void vanish() { gone_ = true; }
    [[nodiscard]] bool is_gone() const { return gone_; }
    [[nodiscard]] bool was_read_after_it_vanished() const { return missed_; }
    [[nodiscard]] uint64_t id() const { return id_; }

private:
    io::Executor& executor_;
    uint64_t id_;
    uint64_t size_bytes_;
    bool gone_ = false;
    bool missed_ = false;
};

struct WorldOptions {
    uint64_t seed = 1;
    size_t devices = 1;
    uint64_t device_bytes = uint64_t{8} << 20;
    uint32_t region_blocks = 64;
    uint64_t journal_blocks = 16;
    uint64_t reserve_blocks = 0;
    uint64_t cache_bytes = uint64_t{1} << 20;
    size_t shared_bytes = size_t{256} << 10;
    pool::TestKnobs knobs;
    io::sim::Latency latency{};
    bool verbose = false;
};

// What is left of the host after a crash.
struct Remains {
    std::vector<io::sim::Medium> disks;
    std::vector<std::byte> shared;  // empty: the host died
    struct Source {  // an origin: it is outside of the host
        Uuid uuid;
        uint64_t id = 0;
        uint64_t size_bytes = 0;
        bool gone = false;
    };
    std::vector<Source> origins;
    [[nodiscard]] uint64_t hash() const;
};

struct CrashPlan {
    bool process_only = false;  // keeps what the disks completed, and the shared memory
    io::sim::CrashPolicy policy;
};

class World {
public:
    explicit World(WorldOptions options);
    World(const World&) = delete;
    World& operator=(const World&) = delete;
    // A world whose verdict failed may hold tasks that never end: leak() it instead.
    ~World();
    static void leak(std::unique_ptr<World> world) { static_cast<void>(world.release()); }

    // ---- life of the pool
    // Makes a new pool on empty disks, not opened.
    bool create(Verdict& verdict);
    // The disks of a host that died; nothing must be open.
    void take(const Remains& remains);
    // False if a crash came while it opened: check crashed(), then restart(). Fails the verdict if
    // it did not open for any other reason.
    bool open(Verdict& verdict);
    // From now on it opens without this disk; nothing: with all.
    void leave_out(std::optional<size_t> disk) { left_out_ = disk; }
    // Closes well; true if the pool said so.
    bool close(Verdict& verdict);
    // After a crash: lets the dying process run out, and makes the disks hold what is left.
    bool restart(Verdict& verdict);

    // ---- crashes
    // At the `events`-th event of any disk from now on.
    void arm_crash(uint64_t events, CrashPlan plan);
    void disarm_crash() { crash_in_.reset(); }
    void crash_now(const CrashPlan& plan);
    [[nodiscard]] bool crashed() const { return crashed_; }
    [[nodiscard]] Remains remains_now(const CrashPlan& plan) const;
    // Called at each event of any disk while nothing has crashed.
    void set_watcher(std::function<void()> watcher) { watcher_ = std::move(watcher); }
    [[nodiscard]] uint64_t events() const { return events_; }

    // ---- running. Until `done`; false if the time limit passed or nothing is left to run.
    bool drive(const std::function<bool()>& done, uint64_t limit_ns = kLimitNs);
    // The same for one task; a task that does not end is a failure of liveness.
    template <class T>
    std::optional<T> run(io::Task<T> task, const char* what, Verdict& verdict);

    // ---- looking
    void check_oracles(Verdict& verdict) const;
    void check_fsck(Verdict& verdict, bool closed);
    // The object tables of the pool and the content of every volume and snapshot.
    // With `damage_allowed`, blocks that answer io or corrupt read as kUnreadableTag.
    std::optional<Seen> observe(bool damage_allowed, Verdict& verdict);

    io::sim::Simulator& simulator() { return simulator_; }
    [[nodiscard]] const WorldOptions& options() const { return options_; }
    [[nodiscard]] pool::Pool& pool() { return *pool_; }
    [[nodiscard]] bool has_pool() const { return pool_ != nullptr; }
    std::vector<std::unique_ptr<io::sim::Disk>>& disks() { return disks_; }
    // First byte of the data regions of every device.
    [[nodiscard]] uint64_t data_start_bytes() const { return data_start_bytes_; }
    // First byte of the first copy of the journal, on the first device.
    [[nodiscard]] uint64_t journal_start_bytes() const { return journal_start_bytes_; }
    // Where superblocks lie on each device, in blocks.
    [[nodiscard]] const std::vector<uint64_t>& superblocks() const { return superblocks_; }
    Origin& add_origin(const Uuid& uuid, uint64_t id, uint64_t size_bytes);
    // Nothing in the pool asks for it any more; check_oracles() fails if something does.
    void lose_origin(const Uuid& uuid);
    void trace(const std::string& text) const;
    void set_knobs(const pool::TestKnobs& knobs) { options_.knobs = knobs; }
    [[nodiscard]] uint64_t opens() const { return opens_; }

    static constexpr uint64_t kLimitNs = 900'000'000'000;

private:
    void insert_disks(std::vector<io::sim::Medium> media);
    void note_event();
    bool wind_down(Verdict& verdict);
    void learn_layout();
    [[nodiscard]] io::sim::WriteOnceOracle::Place classify(uint64_t offset_bytes) const;
    [[nodiscard]] pool::OpenOptions open_options();
    io::Task<void> read_tree(Uuid uuid, SeenTree& tree, bool damage_allowed, std::string& error);
    template <class T>
    static io::Task<void> keep(io::Task<T> task, std::optional<T>& result) {
        result.emplace(co_await std::move(task));
    }

    WorldOptions options_;
    io::sim::Simulator simulator_;
    std::vector<std::unique_ptr<io::sim::Disk>> disks_;
    std::unique_ptr<io::sim::SharedMemory> shared_;
    std::unique_ptr<io::sim::WriteOnceOracle> write_once_;
    std::unique_ptr<pool::Pool> pool_;
    std::map<Uuid, std::unique_ptr<Origin>> origins_;
    std::function<void()> watcher_;
    std::optional<uint64_t> crash_in_;  // events left
    CrashPlan plan_;
    std::optional<Remains> remains_;
    std::optional<size_t> left_out_;
    bool crashed_ = false;
    uint64_t events_ = 0;
    uint64_t opens_ = 0;
    uint64_t data_start_bytes_ = 0;
    uint64_t journal_start_bytes_ = 0;
    std::vector<uint64_t> superblocks_;  // their positions, in blocks
};

template <class T>
std::optional<T> World::run(io::Task<T> task, const char* what, Verdict& verdict) {
    // On the heap: a task that never ends keeps its place for a result.
    auto result = std::make_shared<std::optional<T>>();
    auto* group = new io::TaskGroup(simulator_);
    group->spawn(keep<T>(std::move(task), *result));
    if (!drive([&] { return group->running() == 0; })) {
        static auto* stuck = new std::vector<std::shared_ptr<void>>;
        stuck->push_back(result);
        verdict.fail("liveness", std::string(what) + " does not end");
        return std::nullopt;
    }
    delete group;
    return std::move(*result);
}

}  // namespace stoa::simtest
