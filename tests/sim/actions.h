// Actions: every operation of a pool, done to the real one and to the model side by side.
//
// Operations on content are tasks and may run beside each other; the others are called when
// nothing else runs, and note what the model would be after them, so that a crash in the middle
// may find either. Errors that nothing explains fail the verdict ("operation").
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/model.h"
#include "tests/sim/world.h"

namespace stoa::simtest {

// What may go wrong because the run injects faults or fills the pool.
struct Tolerance {
    bool device_errors = false;  // operations may answer io; the pool may become read-only
    bool damage = false;         // and corrupt, for good
    bool no_space = false;
};

class Actions {
public:
    Actions(World& world, Model& model, Verdict& verdict)
        : world_(world), model_(model), verdict_(verdict) {}

    Tolerance tolerance;

    // ---- content. Sectors of 512 bytes. `handle` null: that of attach().
    io::Task<void> write(Uuid volume, uint64_t sector, uint64_t count, bool force_unit_access,
                         bool zero, block::Volume* handle = nullptr);
    io::Task<void> write_zeroes(Uuid volume, uint64_t sector, uint64_t count);
    io::Task<void> discard(Uuid volume, uint64_t sector, uint64_t count);
    io::Task<void> flush(Uuid volume, bool alone);
    io::Task<void> read(Uuid tree, uint64_t sector, uint64_t count);
    // Beside writes; the model learns the snapshots as open ones.
    io::Task<void> snapshot_beside(std::vector<Uuid> volumes);
    io::Task<void> checkpoint_beside();

    // The same, run to the end with nothing beside.
    void run_write(Uuid volume, uint64_t sector, uint64_t count, bool fua = false,
                   bool zero = false);
    void run_write_zeroes(Uuid volume, uint64_t sector, uint64_t count);
    void run_discard(Uuid volume, uint64_t sector, uint64_t count);
    void run_flush(Uuid volume);
    void run_read(Uuid tree, uint64_t sector, uint64_t count);

    // ---- objects
    std::optional<Uuid> create_volume(uint64_t size_bytes, bool with_origin = false);
    std::vector<Uuid> snapshot(const std::vector<Uuid>& volumes);
    std::optional<Uuid> clone(Uuid snapshot, uint64_t size_bytes = 0);
    void roll_back(Uuid volume, Uuid snapshot);
    void remove_snapshot(Uuid snapshot);
    void remove_volume(Uuid volume);
    // While writes are held; nothing may crash meanwhile.
    void remove_beside(Uuid tree);
    void resize(Uuid volume, uint64_t size_bytes);
    void rename(Uuid volume);
    void protect(Uuid tree, bool on);
    void flatten(Uuid volume);
    void hydrate(Uuid volume);

    // ---- use and background
    bool attach(Uuid tree);
    void detach(Uuid tree);
    void detach_all();
    [[nodiscard]] block::Volume* handle(Uuid tree) const;
    [[nodiscard]] const std::map<Uuid, block::Volume*>& handles() const { return handles_; }
    void settle();
    void checkpoint();
    void scrub();

    // ---- checks
    void check_diff(Uuid from, Uuid to);
    void check_all_diffs();
    void check_extents(Uuid tree);
    void check_exclusive(Uuid snapshot);
    void check_space();
    // Everything reads as the model says, now; then the model knows it.
    void check_all();

    // ---- crashes
    // After World::restart() or World::take(): opens, judges what came back, and goes on from it.
    // False if it crashed again meanwhile (the caller restarts the world), or failed.
    bool recover(bool host_died);
    // Something failed for a tolerated reason: the present must be read before it is relied on.
    [[nodiscard]] bool uncertain() const { return uncertain_; }
    [[nodiscard]] bool pool_failed() const;
    // The handles died with the process.
    void forget_handles() { handles_.clear(); }
    [[nodiscard]] Model& model() { return model_; }
    [[nodiscard]] World& world() { return world_; }
    [[nodiscard]] bool ended() const { return verdict_.failed() || world_.crashed(); }
    [[nodiscard]] const std::optional<Model>& after() const { return after_; }
    void set_after(std::optional<Model> after) { after_ = std::move(after); }
    [[nodiscard]] Uuid next_uuid();

private:
    // Judges the answer of an operation: true if it was done.
    bool accept(const Result<void>& result, const char* what);
    bool tolerated(const Error& error);
    template <class T>
    bool finish(std::optional<Result<T>> result, const char* what);
    std::optional<std::vector<pool::DiffRange>> diff_ranges(Uuid from, Uuid to);

    World& world_;
    Model& model_;
    Verdict& verdict_;
    std::map<Uuid, block::Volume*> handles_;
    std::optional<Model> after_;  // the model, if the operation under way is done
    bool uncertain_ = false;
    bool had_clones_ = false;  // hidden snapshots are possible
    uint64_t names_ = 0;
};

}  // namespace stoa::simtest
