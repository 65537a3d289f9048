// Opens a pool that may contain anything and does with it what a user would. Errors are expected;
// what does not end, or ends the process, is not.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/check.h"
#include "dataplane/io/sim/disk.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/io/sync.h"
#include "dataplane/pool/pool.h"
#include "dataplane/pool/test_hostile_base.h"

namespace stoa::pool::hostile {

struct UseOptions {
    uint64_t seed = 1;
    bool read_only = false;
    bool accept_damaged = false;
    bool background = true;
    bool kept_must_survive = false;  // nothing but other volumes' maps was changed
    bool print = false;
};

class User {
public:
    User(io::sim::Image image, UseOptions options)
        : options_(options), simulator_(options.seed),
          disk_(simulator_, plain_disk(), std::move(image)) {}

    void run() {
        if (open(options_.read_only)) {
            look();
            if (options_.kept_must_survive) check_kept();
            if (!options_.read_only) change();
            static_cast<void>(finish("close", pool_->close()));
            pool_.reset();
        } else if (options_.kept_must_survive) {
            fail("one damaged volume stopped the pool");
        }
        if (open(false)) {
            look();
            static_cast<void>(finish("close", pool_->close()));
            pool_.reset();
        }
        if (!simulator_.run_until_idle(kStepsMax)) fail("something runs on after the close");
    }

private:
    static constexpr uint64_t kStepsMax = 300'000;
    static constexpr size_t kVolumesMax = 10;
    static constexpr size_t kReadsMax = 12;

    [[noreturn]] static void fail(const char* what) {
        std::fprintf(stderr, "open_fuzz: %s\n", what);  // tidy: allow print: the process ends
        std::abort();
    }
    void say(const std::string& text) const {
        if (options_.print) std::fprintf(stderr, "%s\n", text.c_str());  // tidy: allow print: debug
    }

    // The result of what must end.
    template <class T>
    T finish(const char* what, io::Task<T> task) {
        auto result = simulator_.try_run(std::move(task), kStepsMax);
        if (!result) {
            std::fprintf(stderr, "open_fuzz: %s %s\n", what,  // tidy: allow print: the process ends
                         simulator_.is_idle() ? "waits for ever" : "does not end");
            std::abort();
        }
        if (!result->ok()) say(std::string(what) + ": " + result->error().message());
        return *std::move(result);
    }
    void finish_void(const char* what, io::Task<void> task) {
        if (!simulator_.try_run(std::move(task), kStepsMax)) fail(what);
    }
    // Lets things happen that need not end.
    void let_run(uint64_t nanoseconds) {
        const uint64_t end = simulator_.now_ns() + nanoseconds;
        uint64_t steps = 0;
        while (simulator_.now_ns() < end && simulator_.step()) {
            if (++steps > kStepsMax) fail("time stands still");
        }
    }

    bool open(bool read_only) {
        OpenOptions options;
        options.cache_bytes = uint64_t{1} << 20;
        options.bounce_bytes = uint64_t{4} << 20;
        options.read_only = read_only;
        options.accept_damaged = options_.accept_damaged;
        options.knobs.background = options_.background;
        options.events = [this](const std::string& text) { say("event: " + text); };
        Result<std::unique_ptr<Pool>> opened =
            finish("open", Pool::open(simulator_, {&disk_}, options));
        if (!opened.ok()) return false;
        pool_ = *std::move(opened);
        return true;
    }

    std::vector<Uuid> trees() const {
        std::vector<Uuid> found;
        for (const VolumeInfo& volume : pool_->volumes()) {
            if (found.size() < kVolumesMax) found.push_back(volume.uuid);
        }
        for (const SnapshotInfo& snapshot : pool_->snapshots(std::nullopt)) {
            if (found.size() < 2 * kVolumesMax) found.push_back(snapshot.uuid);
        }
        return found;
    }

    // Everything that changes nothing.
    void look() {
        static_cast<void>(pool_->info());
        static_cast<void>(pool_->counters());
        static_cast<void>(pool_->damage());
        static_cast<void>(pool_->find_volume("db"));
        const std::vector<Uuid> all = trees();
        for (const Uuid id : all) {
            static_cast<void>(pool_->volume(id));
            static_cast<void>(pool_->snapshot_info(id));
            read_some(id);
            static_cast<void>(finish("explain", pool_->explain(id, 4096)));
            static_cast<void>(finish("exclusive", pool_->exclusive_bytes(id)));
        }
        for (size_t i = 0; i < std::min<size_t>(all.size(), 12); ++i) {
            for (size_t j = 0; j < i; ++j) {
                static_cast<void>(finish("diff", pool_->diff(all[i], all[j], 0, 100)));
                static_cast<void>(finish("diff", pool_->diff(all[j], all[i], 4096, 3)));
            }
        }
        uint64_t progress = 0;
        ScrubOptions scrub;
        scrub.progress = [&progress](uint64_t, uint64_t) { return ++progress < 500; };
        static_cast<void>(finish("scrub", pool_->scrub(scrub)));
    }

    void read_some(Uuid id) {
        Result<block::Volume*> handle = finish("attach", pool_->attach(id, true));
        if (!handle.ok()) return;
        block::Volume& volume = **handle;
        const uint64_t size = volume.size_bytes() / 512 * 512;
        std::vector<std::byte> content(65536);
        const uint64_t step = std::max<uint64_t>(uint64_t{1} << 20, size / kReadsMax / 512 * 512);
        for (uint64_t at = 0; at < size; at += step) {
            const uint64_t length = std::min<uint64_t>(content.size(), size - at);
            static_cast<void>(finish("read", volume.read(at, std::span(content).first(length))));
        }
        if (size >= 512) {
            static_cast<void>(
                finish("read", volume.read(size - 512, std::span(content).first(512))));
        }
        static_cast<void>(finish("extents", volume.extents(0, size, 64)));
        finish_void("detach does not end", pool_->detach(*handle));
    }

    void check_kept() {
        const Result<Uuid> id = pool_->find_volume(kKeptVolume);
        if (!id.ok()) fail("the undamaged volume is gone");
        block::Volume* volume = *finish("attach", pool_->attach(*id, true));
        std::vector<std::byte> content(kKeptBytes);
        const Result<void> read = finish("read", volume->read(0, content));
        if (!read.ok()) fail("the undamaged volume cannot be read");
        if (content != pattern(kKeptBytes, 9)) fail("the undamaged volume has another content");
        finish_void("detach does not end", pool_->detach(volume));
    }

    static io::Task<void> write_all(block::Volume& volume, uint64_t size) {
        const std::vector<std::byte> content = pattern(12288, 50);
        for (const uint64_t at : {uint64_t{0}, uint64_t{1} << 20, size / 2 / 4096 * 4096}) {
            if (at + content.size() > size) continue;
            static_cast<void>(co_await volume.write(at, content, {}));
        }
        if (size >= 8192) {
            static_cast<void>(co_await volume.write(4608, std::span(content).first(512), {}));
            static_cast<void>(co_await volume.write_zeroes(0, 4608, {}));
            static_cast<void>(co_await volume.discard(8192, size / 512 * 512 - 8192));
            static_cast<void>(co_await volume.write(4096, std::span(content).first(4096), {}));
        }
        static_cast<void>(co_await volume.flush());
    }

    // Writes may be held for ever in what looks like a full pool; a detach must end them.
    void write_some(Uuid id) {
        Result<block::Volume*> handle = finish("attach", pool_->attach(id, false));
        if (!handle.ok()) return;
        io::TaskGroup group(simulator_);
        group.spawn(write_all(**handle, (*handle)->size_bytes()));
        let_run(300'000'000);
        finish_void("detach does not end", pool_->detach(*handle));
        finish_void("a write outlives its detach", group.join());
    }

    void change() {
        for (const Uuid id : trees()) write_some(id);
        static_cast<void>(finish("checkpoint", pool_->checkpoint()));
        const std::vector<VolumeInfo> volumes = pool_->volumes();
        for (size_t i = 0; i < std::min(volumes.size(), kVolumesMax); ++i) {
            SnapshotSpec spec;
            spec.volume = volumes[i].uuid;
            spec.name = "now";
            const auto made = finish("snapshot", pool_->snapshot({spec}));
            write_some(volumes[i].uuid);
            if (!made.ok()) continue;
            static_cast<void>(finish("diff", pool_->diff(made->front(), volumes[i].uuid, 0, 100)));
            if (i % 3 == 0) {
                VolumeSpec clone;
                clone.name = "clone" + std::to_string(i);
                static_cast<void>(finish("clone", pool_->clone(made->front(), clone)));
            }
            if (i % 3 == 1) {
                static_cast<void>(
                    finish("rollback", pool_->rollback(volumes[i].uuid, made->front())));
            }
        }
        remove();
        static_cast<void>(finish("checkpoint", pool_->checkpoint()));
        if (options_.background) static_cast<void>(finish("settle", pool_->settle()));
        let_run(6'000'000'000);
    }

    void remove() {
        const std::vector<SnapshotInfo> snapshots = pool_->snapshots(std::nullopt);
        for (size_t i = 0; i < std::min<size_t>(snapshots.size(), 16); i += 2) {
            static_cast<void>(finish("delete", pool_->delete_snapshot(snapshots[i].uuid)));
        }
        VolumeSpec spec;
        spec.name = "new";
        spec.size_bytes = uint64_t{2} << 20;
        const Result<Uuid> made = finish("create", pool_->create_volume(spec));
        if (made.ok()) write_some(*made);
        const std::vector<VolumeInfo> volumes = pool_->volumes();
        for (size_t i = 0; i < std::min(volumes.size(), kVolumesMax); ++i) {
            const Uuid id = volumes[i].uuid;
            switch (i % 4) {
                case 0: static_cast<void>(finish("delete", pool_->delete_volume(id))); break;
                case 1:
                    static_cast<void>(finish("resize", pool_->resize_volume(id, 1'049'088, true)));
                    break;
                case 2: static_cast<void>(finish("flatten", flatten(id))); break;
                default: write_some(id); break;
            }
        }
    }
    // Held like any write in a pool that looks full: it fails instead of waiting.
    io::Task<Result<void>> flatten(Uuid id) { co_return co_await pool_->flatten(id); }

    UseOptions options_;
    io::sim::Simulator simulator_;
    io::sim::Disk disk_;
    std::unique_ptr<Pool> pool_;
};

}  // namespace stoa::pool::hostile
