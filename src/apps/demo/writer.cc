#include "apps/demo/writer.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "apps/demo/content.h"
#include "apps/demo/engine.h"
#include "apps/demo/history.h"
#include "base/output.h"

namespace stoa::apps::demo {

namespace {

constexpr uint64_t kLanes = 4;  // each writes to blocks of its own, one write at a time
constexpr uint64_t kBlocksPerWriteMax = 8;
constexpr uint64_t kWritesPerFlush = 50;  // of one lane
constexpr uint64_t kLifeNs = 30'000'000'000;

struct Shared {
    io::Reactor& reactor;
    block::Volume& volume;
    uint64_t end_ns;
    uint64_t version = 0;
    uint64_t flush = 0;
    Result<void> result;
};

// The pipe takes an event whole or not at all; when nobody reads any more, the end is near.
bool report(const Event& event) {
    ssize_t got = 0;
    do {
        got = write(STDOUT_FILENO, &event, sizeof event);
    } while (got < 0 && errno == EINTR);
    return got == sizeof event;
}

io::Task<Result<void>> write_once(Shared& shared, uint64_t first, uint32_t blocks) {
    const uint64_t version = ++shared.version;
    AlignedBuffer buffer(blocks * kBlockBytes);
    for (uint64_t i = 0; i < blocks; ++i) {
        fill_block(first + i, version, buffer.bytes().subspan(i * kBlockBytes, kBlockBytes));
    }
    Event event{EventKind::write_started, blocks, first, version};
    if (!report(event)) co_return Error(ErrorCode::cancelled, "nobody listens");
    CO_TRY(co_await shared.volume.write(first * kBlockBytes, buffer.bytes(), {}));
    event.kind = EventKind::write_acknowledged;
    if (!report(event)) co_return Error(ErrorCode::cancelled, "nobody listens");
    co_return Result<void>{};
}

io::Task<Result<void>> flush_once(Shared& shared) {
    Event event{EventKind::flush_started, 0, 0, ++shared.flush};
    if (!report(event)) co_return Error(ErrorCode::cancelled, "nobody listens");
    CO_TRY(co_await shared.volume.flush());
    event.kind = EventKind::flush_acknowledged;
    if (!report(event)) co_return Error(ErrorCode::cancelled, "nobody listens");
    co_return Result<void>{};
}

io::Task<void> write_lane(Shared& shared, uint64_t lane) {
    const uint64_t blocks = shared.volume.size_bytes() / kBlockBytes / kLanes;
    for (uint64_t n = 1; shared.result.ok() && shared.reactor.now_ns() < shared.end_ns; ++n) {
        const uint64_t count = 1 + shared.reactor.random() % kBlocksPerWriteMax;
        const uint64_t first = lane * blocks + shared.reactor.random() % (blocks - count);
        Result<void> result = co_await write_once(shared, first, static_cast<uint32_t>(count));
        if (result.ok() && n % kWritesPerFlush == 0) result = co_await flush_once(shared);
        if (!result.ok()) shared.result = result;
    }
}

io::Task<Result<void>> write_on(Engine& engine, std::string name) {
    CO_TRY_ASSIGN(const Uuid uuid, engine.pool().find_volume(name));
    CO_TRY_ASSIGN(block::Volume * volume, co_await engine.pool().attach(uuid, false));
    Shared shared{engine.reactor(), *volume, engine.reactor().now_ns() + kLifeNs, 0, 0, {}};
    io::TaskGroup lanes(engine.reactor());
    for (uint64_t lane = 0; lane < kLanes; ++lane) lanes.spawn(write_lane(shared, lane));
    co_await lanes.join();
    co_return shared.result;
}

io::Task<Result<void>> run(Engine& engine, const WriterOptions& options) {
    EngineOptions with;
    with.files = options.files;
    with.ring = options.ring;
    Result<void> result = co_await engine.open(std::move(with));
    if (result.ok()) result = co_await write_on(engine, options.volume);
    const Result<void> closed = co_await engine.close();
    co_return result.ok() ? closed : result;
}

int failed(const Error& error) {
    stoa::print_error("stoa-demo writer: {}\n", error.message());
    return 1;
}

}  // namespace

int run_writer(const WriterOptions& options) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);  // it never outlives the demo
    signal(SIGPIPE, SIG_IGN);
    const auto reactor = io::Reactor::create();
    if (!reactor) return failed(reactor.error());
    Engine engine(**reactor);
    const Result<void> result = (*reactor)->run(run(engine, options));
    return result.ok() ? 0 : failed(result.error());
}

}  // namespace stoa::apps::demo
