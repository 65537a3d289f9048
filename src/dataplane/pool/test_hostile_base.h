// Small valid pools for open_fuzz.cc, made by the engine itself: every kind of object, shared
// trees, a pending deletion; closed, or cut off with a journal to replay.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "dataplane/io/sim/disk.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/pool/pool.h"
#include "dataplane/pool/test_hostile_image.h"

namespace stoa::pool::hostile {

inline constexpr uint64_t kPoolBytes = uint64_t{10} << 20;
inline constexpr size_t kVariants = 4;
inline constexpr const char* kKeptVolume = "kept";  // no other tree shares its blocks
inline constexpr size_t kKeptBytes = size_t{5} * 4096;

inline io::sim::DiskOptions plain_disk() {
    io::sim::DiskOptions options;
    options.seed = 1;
    options.latency.in_order = true;
    return options;
}

inline std::vector<std::byte> pattern(size_t bytes, int seed) {
    std::vector<std::byte> content(bytes);
    for (size_t i = 0; i < bytes; ++i) {
        content[i] = static_cast<std::byte>(static_cast<size_t>(seed) * 37 + i / 64 + 1);
    }
    return content;
}

// One pool while it is made. Everything must succeed.
class Maker {
public:
    Maker() : simulator_(3), disk_(simulator_, plain_disk(), io::sim::Image(kPoolBytes)) {
        CreateOptions options;
        options.name = "tiny";
        options.region_blocks = 64;
        options.journal_blocks = 16;
        options.capacity_max_bytes = kPoolBytes;
        CHECK(simulator_.run(Pool::create(simulator_, {&disk_}, options)).ok());
        open(false);
    }
    Maker(const Maker&) = delete;
    Maker& operator=(const Maker&) = delete;
    ~Maker() { close(); }

    void open(bool background) {
        OpenOptions options;
        options.cache_bytes = uint64_t{1} << 20;
        options.knobs.background = background;
        options.knobs.idle_checkpoint_ns = 3'600'000'000'000;
        pool_ = *simulator_.run(Pool::open(simulator_, {&disk_}, options));
    }
    void close() {
        if (pool_) static_cast<void>(simulator_.run(pool_->close()));
        pool_.reset();
    }
    Uuid volume(const std::string& name, uint64_t bytes) {
        VolumeSpec spec;
        spec.name = name;
        spec.size_bytes = bytes;
        spec.tags = pattern(8, 1);
        return *simulator_.run(pool_->create_volume(spec));
    }
    void write(Uuid id, uint64_t offset, size_t bytes, int seed) {
        block::Volume* handle = *simulator_.run(pool_->attach(id, false));
        CHECK(simulator_.run(handle->write(offset, pattern(bytes, seed), {})).ok());
        CHECK(simulator_.run(handle->flush()).ok());
        simulator_.run(pool_->detach(handle));
    }
    Uuid snapshot(Uuid id, const std::string& name) {
        SnapshotSpec spec;
        spec.volume = id;
        spec.name = name;
        return (*simulator_.run(pool_->snapshot({spec}))).front();
    }
    Uuid clone(Uuid id, const std::string& name) {
        VolumeSpec spec;
        spec.name = name;
        return *simulator_.run(pool_->clone(id, spec));
    }
    // A damage range, as a scrub finds it.
    void damage(Uuid id, uint64_t offset) {
        const auto at = *simulator_.run(pool_->explain(id, offset));
        disk_.flip_bit(at.device_offset_bytes, 3);
        static_cast<void>(simulator_.run(pool_->scrub({})));
    }

    Pool& pool() { return *pool_; }
    io::sim::Simulator& simulator() { return simulator_; }
    [[nodiscard]] io::sim::Image power_loss() const {
        return disk_.crash_image({io::sim::CrashKeep::all, 0, false, false});
    }

private:
    io::sim::Simulator simulator_;
    io::sim::Disk disk_;
    std::unique_ptr<Pool> pool_;
};

// 0: closed. 1: cut off, changes of every kind in the journal. 2: cut off within a reclaim.
// 3: closed, and nothing is to be reclaimed.
inline io::sim::Image make_pool(size_t variant) {
    constexpr uint64_t kMiB = uint64_t{1} << 20;
    Maker maker;
    auto& simulator = maker.simulator();
    const Uuid kept = maker.volume(kKeptVolume, 2 * kMiB);
    maker.write(kept, 0, kKeptBytes, 9);
    const Uuid db = maker.volume("db", 4 * kMiB);
    maker.write(db, 0, 40960, 1);
    maker.write(db, kMiB + 8192, 12288, 2);
    maker.write(db, 3 * kMiB, 8192, 3);
    const Uuid monday = maker.snapshot(db, "monday");
    maker.write(db, 4096, 8192, 4);
    const Uuid copy = maker.clone(monday, "copy");
    maker.write(copy, 16384, 4096, 5);
    static_cast<void>(maker.snapshot(copy, "deep"));
    const Uuid tuesday = maker.snapshot(db, "tuesday");
    maker.write(db, kMiB, 16384, 6);
    const Uuid odd = maker.volume("odd", 3 * kMiB + 1536);
    maker.write(odd, 3 * kMiB, 1536, 7);
    maker.damage(odd, 3 * kMiB);
    const Uuid gone = maker.volume("gone", kMiB);
    maker.write(gone, 0, 65536, 8);
    CHECK(simulator.run(maker.pool().checkpoint()).ok());
    if (variant == 3) {
        maker.close();
        return maker.power_loss();
    }
    CHECK(simulator.run(maker.pool().delete_snapshot(monday)).ok());
    CHECK(simulator.run(maker.pool().rollback(db, tuesday)).ok());
    if (variant != 1) {
        CHECK(simulator.run(maker.pool().delete_volume(gone)).ok());
        CHECK(simulator.run(maker.pool().checkpoint()).ok());
    }
    if (variant == 0) maker.close();
    if (variant == 1) {
        CHECK(simulator.run(maker.pool().checkpoint()).ok());
        maker.write(db, 8192, 12288, 10);
        maker.write(kept, 0, kKeptBytes, 9);
        static_cast<void>(maker.snapshot(db, "late"));
        CHECK(simulator.run(maker.pool().delete_volume(gone)).ok());
    }
    if (variant == 2) {
        maker.close();
        maker.open(true);
        CHECK(simulator.run(maker.pool().settle()).ok());
        simulator.run_for(50'000'000);
    }
    return maker.power_loss();
}

}  // namespace stoa::pool::hostile
