// Opening a pool after a crash, and a pool of many volumes, on a real file with direct I/O.
//
// A child process fills the journal's ring with random 4k writes over a 100 GiB map (one block in
// each of 102,400 leaves) while nothing but the journal reaches the device any more, so that no
// checkpoint can end; then it dies. The time until the pool is writable again is measured with
// caches of 256 MiB and of 16 MiB. STOA_BENCH_DIR names the directory (default: the current one).
#include <sys/wait.h>
#include <unistd.h>

#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <string>

#include "dataplane/io/device_file.h"
#include "dataplane/io/reactor.h"
#include "dataplane/io/sync.h"
#include "dataplane/pool/pool.h"

namespace stoa::pool {
namespace {

constexpr uint64_t kGiB = uint64_t{1} << 30;
constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kLeaves = 102'400;
constexpr uint64_t kUserMagic = 0x7265735562656E63;
constexpr uint32_t kJournalMagic = 0x314E524A;

template <class T>
T must(Result<T> result) {
    if (!result.ok()) {
        std::fprintf(stderr, "%s\n", result.error().message().c_str());
        std::exit(1);
    }
    return *std::move(result);
}

void must(const Result<void>& result) {
    if (result.ok()) return;
    std::fprintf(stderr, "%s\n", result.error().message().c_str());
    std::exit(1);
}

// When told so holds back whatever is neither the journal nor a user's block, for ever.
class FilteredDevice final : public io::Device {
public:
    explicit FilteredDevice(io::Device& device) : device_(device) {}
    void submit(io::DeviceRequest& request) override {
        if (held && request.op == io::DeviceOp::write &&
            load_le<uint64_t>(request.data) != kUserMagic &&
            load_le<uint32_t>(request.data) != kJournalMagic) {
            return;
        }
        device_.submit(request);
    }
    [[nodiscard]] uint64_t size_bytes() const override { return device_.size_bytes(); }
    [[nodiscard]] const std::string& name() const override { return device_.name(); }
    Result<uint64_t> refresh_size() override { return device_.refresh_size(); }

    bool held = false;

private:
    io::Device& device_;
};

// Everything one process needs to use the pool in `path`.
struct Opened {
    explicit Opened(const std::string& path)
        : reactor(must(io::Reactor::create())),
          file(must(io::DeviceFile::open(*reactor, path, {}))), device(*file) {}
    void open(uint64_t cache_bytes) {
        OpenOptions options;
        options.cache_bytes = cache_bytes;
        options.events = [](const std::string& text) { std::printf("# %s\n", text.c_str()); };
        pool = must(reactor->run(Pool::open(*reactor, {&device}, options)));
    }
    void close() { must(reactor->run(pool->close())); }

    std::unique_ptr<io::Reactor> reactor;
    std::unique_ptr<io::DeviceFile> file;
    FilteredDevice device;
    std::unique_ptr<Pool> pool;
};

std::string path_of(const char* name) {
    const char* directory = std::getenv("STOA_BENCH_DIR");
    return std::string(directory == nullptr ? "." : directory) + "/" + name;
}

// Runs `work` in a process that ends without closing anything.
template <class Work>
void run_and_die(Work work) {
    std::fflush(stdout);
    const pid_t child = fork();
    if (child == 0) {
        work();
        std::fflush(stdout);
        _exit(0);
    }
    int status = 0;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
        std::fprintf(stderr, "the child process failed\n");
        std::exit(1);
    }
}

void create_pool(const std::string& path, uint64_t device_bytes) {
    std::filesystem::remove(path);
    std::FILE* file = std::fopen(path.c_str(), "w");
    if (file != nullptr) std::fclose(file);
    std::filesystem::resize_file(path, device_bytes);
    Opened opened(path);
    CreateOptions create;
    create.name = "bench";
    must(opened.reactor->run(Pool::create(*opened.reactor, {&opened.device}, create)));
}

double seconds_to_open(Opened& opened, uint64_t cache_bytes) {
    const uint64_t start = opened.reactor->now_ns();
    opened.open(cache_bytes);
    return static_cast<double>(opened.reactor->now_ns() - start) / 1e9;
}

// ---- a ring full of random writes

struct Load {
    uint64_t random = 88172645463325252ULL;
    uint64_t leaf = 0;
    uint64_t done = 0;
    uint64_t next() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        return random;
    }
};

io::Task<void> write_block(block::Volume& volume, uint64_t block, Load& load) {
    AlignedBuffer buffer(kBlockBytes);
    store_le(buffer.data(), kUserMagic);
    store_le(buffer.data() + 8, load.next());
    must(co_await volume.write(block * kBlockBytes, buffer.bytes(), {}));
    ++load.done;
}

io::Task<void> write_each_leaf(block::Volume& volume, Load& load) {
    while (load.leaf < kLeaves) co_await write_block(volume, load.leaf++ * 256, load);
}

io::Task<void> write_for_ever(block::Volume& volume, Load& load) {
    for (;;) co_await write_block(volume, load.next() % (kLeaves * 256), load);
}

io::Task<void> fill_ring(Opened& opened, block::Volume& volume) {
    Load load;
    io::TaskGroup group(*opened.reactor);
    for (int i = 0; i < 64; ++i) group.spawn(write_each_leaf(volume, load));
    co_await group.join();
    must(co_await opened.pool->checkpoint());
    opened.device.held = true;
    load.done = 0;
    for (int i = 0; i < 64; ++i) group.spawn(write_for_ever(volume, load));
    for (uint64_t before = ~uint64_t{0}; before != load.done;) {
        before = load.done;
        co_await opened.reactor->sleep_ns(500'000'000);
    }
    std::printf("# the ring holds %llu random writes\n",
                static_cast<unsigned long long>(load.done));
    std::fflush(stdout);
    _exit(0);
}

const std::string& full_ring() {
    static const std::string path = [] {
        std::string made = path_of("recovery_bench.pool");
        create_pool(made, 16 * kGiB);
        run_and_die([&] {
            Opened opened(made);
            opened.open(4 * kGiB);
            VolumeSpec spec;
            spec.name = "volume";
            spec.size_bytes = kLeaves * kMiB;
            const Uuid id = must(opened.reactor->run(opened.pool->create_volume(spec)));
            block::Volume* volume = must(opened.reactor->run(opened.pool->attach(id, false)));
            opened.reactor->run(fill_ring(opened, *volume));
        });
        return made;
    }();
    return path;
}

void BM_recovery_of_a_full_ring(benchmark::State& state) {
    const std::string copy = path_of("recovery_bench.copy");
    for (auto _ : state) {
        std::filesystem::copy_file(full_ring(), copy,
                                   std::filesystem::copy_options::overwrite_existing);
        sync();  // the copy must not be written back while the recovery runs
        Opened opened(copy);
        state.SetIterationTime(
            seconds_to_open(opened, static_cast<uint64_t>(state.range(0)) * kMiB));
        opened.close();
    }
    std::filesystem::remove(copy);
    if (state.range(0) == 16) std::filesystem::remove(full_ring());
}
BENCHMARK(BM_recovery_of_a_full_ring)
    ->ArgName("cache_MiB")
    ->Arg(256)
    ->Arg(16)
    ->Iterations(1)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

// ---- many volumes

io::Task<void> create_volumes(Pool& pool, uint64_t& made, uint64_t count) {
    while (made < count) {
        VolumeSpec spec;
        spec.name = "volume-" + std::to_string(made++);
        spec.size_bytes = kGiB;
        must(co_await pool.create_volume(spec));
    }
}

void BM_open_with_10000_volumes(benchmark::State& state) {
    const bool crashed = state.range(0) != 0;
    const std::string path = path_of("open_bench.pool");
    create_pool(path, 16 * kGiB);
    run_and_die([&] {
        Opened opened(path);
        opened.open(256 * kMiB);
        uint64_t made = 0;
        io::TaskGroup group(*opened.reactor);
        for (int i = 0; i < 32; ++i) group.spawn(create_volumes(*opened.pool, made, 10'000));
        opened.reactor->run(group.join());
        if (!crashed) opened.close();
        std::printf("# 10000 volumes, %s\n", crashed ? "not closed" : "closed");
        std::fflush(stdout);
        _exit(0);
    });
    for (auto _ : state) {
        Opened opened(path);
        state.SetIterationTime(seconds_to_open(opened, 256 * kMiB));
        opened.close();
    }
    std::filesystem::remove(path);
}
BENCHMARK(BM_open_with_10000_volumes)
    ->ArgName("crashed")
    ->Arg(0)
    ->Arg(1)
    ->Iterations(1)
    ->UseManualTime()
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace stoa::pool
