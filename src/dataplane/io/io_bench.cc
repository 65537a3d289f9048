// What the I/O layer itself costs: the queue of the loop, the ring, a file in the page cache.
#include <benchmark/benchmark.h>
#include <liburing.h>
#include <unistd.h>

#include <coroutine>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "dataplane/io/device_file.h"
#include "dataplane/io/memory_device.h"
#include "dataplane/io/reactor.h"

namespace stoa::io {
namespace {

constexpr uint64_t kBlockBytes = 4096;
constexpr uint64_t kDeviceBytes = uint64_t{16} << 20;
constexpr int kRounds = 1000;

template <class T>
T must(Result<T> result) {
    CHECK(result.ok());
    return *std::move(result);
}

class NopClient final : public RingClient {
public:
    explicit NopClient(Reactor& reactor) : reactor_(reactor), number_(reactor.add_client(*this)) {}
    NopClient(const NopClient&) = delete;
    NopClient& operator=(const NopClient&) = delete;
    ~NopClient() { reactor_.remove_client(number_); }

    struct Awaiter final : Continuation {
        explicit Awaiter(NopClient& owner) : client(owner) {}
        NopClient& client;
        std::coroutine_handle<> handle;
        bool await_ready() const noexcept { return false; }
        void await_suspend(std::coroutine_handle<> suspended) {
            handle = suspended;
            io_uring_sqe& entry = client.reactor_.next_entry();
            io_uring_prep_nop(&entry);
            io_uring_sqe_set_data64(&entry, Reactor::tag(client.number_, this));
        }
        void await_resume() const noexcept {}
        void resume() override { handle.resume(); }
    };
    Awaiter nop() { return Awaiter(*this); }
    void complete(void* item, int /*result*/) override {
        reactor_.post(*static_cast<Awaiter*>(item));
    }

private:
    Reactor& reactor_;
    const uint16_t number_;
};

Task<void> nops(NopClient& client) {
    for (int i = 0; i < kRounds; ++i) co_await client.nop();
}

Task<void> nops_beside_each_other(Executor& executor, NopClient& client, int64_t depth) {
    TaskGroup group(executor);
    for (int64_t i = 0; i < depth; ++i) group.spawn(nops(client));
    co_await group.join();
}

void BM_reactor_nop(benchmark::State& state) {
    const auto reactor = must(Reactor::create());
    NopClient client(*reactor);
    for (auto _ : state) reactor->run(nops_beside_each_other(*reactor, client, state.range(0)));
    state.SetItemsProcessed(state.iterations() * kRounds * state.range(0));
}
BENCHMARK(BM_reactor_nop)->Arg(1)->Arg(32);

Task<void> transfers(Device& device, DeviceOp op, uint64_t start) {
    AlignedBuffer buffer(kBlockBytes);
    uint64_t block = start;
    for (int i = 0; i < kRounds; ++i) {
        block = (block * 5 + 12345) % (kDeviceBytes / kBlockBytes);
        const int error = op == DeviceOp::read
                              ? co_await device.read(block * kBlockBytes, buffer.bytes())
                              : co_await device.write(block * kBlockBytes, buffer.bytes());
        CHECK(error == 0);
    }
}

Task<void> transfers_beside_each_other(Executor& executor, Device& device, DeviceOp op,
                                       int64_t depth) {
    TaskGroup group(executor);
    for (int64_t i = 0; i < depth; ++i) {
        group.spawn(transfers(device, op, static_cast<uint64_t>(i) * 77));
    }
    co_await group.join();
}

void measure(benchmark::State& state, Reactor& reactor, Device& device, DeviceOp op) {
    for (auto _ : state) {
        reactor.run(transfers_beside_each_other(reactor, device, op, state.range(0)));
    }
    state.SetItemsProcessed(state.iterations() * kRounds * state.range(0));
}

void BM_memory_device_write_4k(benchmark::State& state) {
    const auto reactor = must(Reactor::create());
    const auto device =
        must(MemoryDevice::create(*reactor, "memory", {.size_bytes = kDeviceBytes}));
    measure(state, *reactor, *device, DeviceOp::write);
}
BENCHMARK(BM_memory_device_write_4k)->Arg(1)->Arg(32);

// A file that is wholly in the page cache. The kernel hands requests on tmpfs to a worker thread,
// those on ext4 and xfs it answers within the submission.
void cached_file(benchmark::State& state, const char* directory, DeviceOp op) {
    std::string path = std::string(directory) + "/stoa-io-bench-XXXXXX";
    const FileDescriptor file(mkstemp(path.data()));
    CHECK(file.is_open() && ftruncate(file.get(), static_cast<off_t>(kDeviceBytes)) == 0);
    const auto reactor = must(Reactor::create());
    const auto device = must(DeviceFile::open(*reactor, path, {.direct = false}));
    unlink(path.c_str());
    const AlignedBuffer content(kDeviceBytes);
    CHECK(pwrite(file.get(), content.data(), content.size(), 0) ==
          static_cast<ssize_t>(kDeviceBytes));
    measure(state, *reactor, *device, op);
}

void BM_tmpfs_file_read_4k(benchmark::State& state) {
    cached_file(state, "/dev/shm", DeviceOp::read);
}
BENCHMARK(BM_tmpfs_file_read_4k)->Arg(1)->Arg(32)->UseRealTime();
void BM_cached_file_read_4k(benchmark::State& state) {
    const char* directory = std::getenv("TMPDIR");
    cached_file(state, directory != nullptr ? directory : "/tmp", DeviceOp::read);
}
BENCHMARK(BM_cached_file_read_4k)->Arg(1)->Arg(32)->UseRealTime();

}  // namespace
}  // namespace stoa::io
