// Any bytes of a client through handshake and session: no crash, no hang, no leak, and nothing is
// asked of the volume that it does not allow.
//
// The first byte says how the bytes arrive; all others are what the client sends.
#include <cstddef>
#include <cstdint>

#include "base/bytes.h"
#include "dataplane/io/memory_stream.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/serve/nbd/server.h"
#include "dataplane/serve/nbd/test_export.h"

namespace stoa::nbd {
namespace {

constexpr uint64_t kDiskBytes = 256 * 1024;

// Stays open for answers afterwards, then hangs up.
io::Task<void> send_all(io::Stream& stream, ConstBytes bytes) {
    static_cast<void>(co_await io::write_all(stream, bytes));
}

io::Task<void> take_answers(io::Stream& stream) {
    AlignedBuffer into(4096);
    while (true) {
        const auto got = co_await stream.read_some(into.bytes());
        if (!got.ok() || *got == 0) co_return;
    }
}

void run(ConstBytes bytes, unsigned how) {
    io::sim::Simulator simulator(how);
    TestTable table;
    TestExport& disk = table.add(simulator, "disk", kDiskBytes);
    disk.has_origin = (how & 4) != 0;
    disk.disk().is_read_only = (how & 8) != 0;
    disk.disk().held = (how & 16) != 0;
    disk.disk().mark(65536, 65536, block::ExtentKind::data);
    disk.disk().mark(131072, 4096, block::ExtentKind::damaged);
    BufferLimits limits;
    if ((how & 32) != 0) limits = {.shared_bytes = 8192, .share_bytes = 4096, .stuck_ns = 1000};
    Buffers buffers(simulator, limits);
    Server server(simulator, table, buffers);
    io::MemoryStream::Options options;
    options.piece_bytes = (how & 3) * 7;
    auto [near, far] = io::MemoryStream::create(simulator, options);
    server.serve(std::move(far));
    io::TaskGroup client(simulator);
    client.spawn(send_all(*near, bytes));
    const bool reads = (how & 64) == 0;
    if (reads) client.spawn(take_answers(*near));
    simulator.run_for(1'000'000'000);
    disk.disk().release();
    if ((how & 128) == 0) simulator.run_for(20'000'000'000);
    else near->shut_down();
    simulator.run(server.stop());
    near->shut_down();
    simulator.run(client.join());
    simulator.run(buffers.stop());
    CHECK(simulator.run_until_idle());
    CHECK(server.counters().connections == 0 && server.counters().in_flight == 0);
    CHECK(buffers.shared_bytes() == 0 && disk.disk().running == 0);
}

}  // namespace
}  // namespace stoa::nbd

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    if (size == 0) return 0;
    stoa::nbd::run(std::as_bytes(std::span(data + 1, size - 1)), data[0]);
    return 0;
}
