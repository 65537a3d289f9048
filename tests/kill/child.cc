#include "tests/kill/child.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdio>
#include <random>
#include <utility>
#include <vector>

#include "dataplane/io/sync.h"
#include "tests/kill/events.h"
#include "tests/kill/pattern.h"

namespace stoa::killtest {

namespace {

constexpr size_t kWorkers = 8;
constexpr size_t kSnapshotsMax = 6;
constexpr uint64_t kWriteSectorsMax = 128;

// A part of a volume that an operation changes at the moment.
struct Busy {
    uint64_t volume = 0;
    uint64_t first = 0;
    uint64_t sectors = 0;
    [[nodiscard]] bool overlaps(const Busy& other) const {
        return volume == other.volume && first < other.first + other.sectors &&
               other.first < first + sectors;
    }
};

class Child {
public:
    Child(OpenPool& open, const ChildOptions& options, std::mt19937_64& random)
        : open_(open), options_(options), random_(random) {}

    // Ends after options.operations, or never.
    io::Task<Result<void>> run();
    // Where the next one goes on.
    [[nodiscard]] const ChildOptions& options() const { return options_; }

private:
    io::Task<void> work(size_t worker);
    io::Task<Result<void>> change(size_t worker);
    io::Task<Result<void>> change_range();
    io::Task<Result<void>> carry_out(const Event& event);
    io::Task<Result<void>> take_snapshot();
    io::Task<Result<void>> remove_snapshot();
    uint64_t below(uint64_t limit) { return random_() % limit; }
    void start(Event& event);
    void acknowledge(Event event);

    OpenPool& open_;
    ChildOptions options_;
    std::mt19937_64& random_;
    std::array<block::Volume*, kVolumes> handles_{};
    std::vector<Busy> busy_;
    uint64_t started_ = 0;
};

void tell(int pipe, const Event& event) {
    // Shorter than PIPE_BUF: whole or not at all. The parent's end closes only when it ended.
    if (::write(pipe, &event, sizeof event) != static_cast<ssize_t>(sizeof event)) ::_exit(3);
}

void tell(int pipe, EventKind kind) {
    Event event;
    event.kind = kind;
    tell(pipe, event);
}

[[noreturn]] void fail(int pipe, const Error& error) {
    std::fprintf(stderr, "child: %s\n", error.message().c_str());
    std::fflush(stderr);
    tell(pipe, EventKind::failed);
    ::_exit(1);
}

void Child::start(Event& event) {
    event.kind = EventKind::started;
    event.id = options_.first_id++;
    ++started_;
    tell(options_.pipe, event);
}

void Child::acknowledge(Event event) {
    event.kind = EventKind::acknowledged;
    tell(options_.pipe, event);
}

io::Task<Result<void>> Child::take_snapshot() {
    Event event;
    event.operation = OperationKind::snapshot;
    event.volumes = static_cast<uint8_t>(1 + below((1U << kVolumes) - 1));
    start(event);
    std::vector<pool::SnapshotSpec> specs;
    for (uint64_t v = 0; v < kVolumes; ++v) {
        if ((event.volumes >> v & 1) == 0) continue;
        specs.push_back({.volume = volume_uuid(v),
                         .name = "s" + std::to_string(event.id),
                         .uuid = snapshot_uuid(event.id, v)});
    }
    const auto made = co_await open_.pool->snapshot(std::move(specs));
    if (!made.ok()) co_return made.error();
    acknowledge(event);
    options_.snapshots[event.id] = event.volumes;
    co_return Result<void>{};
}

io::Task<Result<void>> Child::remove_snapshot() {
    auto victim = options_.snapshots.begin();
    std::advance(victim, static_cast<ptrdiff_t>(below(options_.snapshots.size())));
    const uint64_t volume = static_cast<uint64_t>(std::countr_zero(victim->second));
    Event event;
    event.operation = OperationKind::remove;
    event.volumes = static_cast<uint8_t>(volume);
    event.target = victim->first;
    start(event);
    CO_TRY(co_await open_.pool->delete_snapshot(snapshot_uuid(victim->first, volume)));
    acknowledge(event);
    victim->second = static_cast<uint8_t>(victim->second & ~(1U << volume));
    if (victim->second == 0) options_.snapshots.erase(victim);
    co_return Result<void>{};
}

io::Task<Result<void>> Child::carry_out(const Event& event) {
    block::Volume& volume = *handles_[event.volumes];
    const uint64_t offset = event.first_sector * kSectorBytes;
    const uint64_t length = event.sectors * kSectorBytes;
    if (event.operation == OperationKind::discard)
        co_return co_await volume.discard(offset, length);
    if (event.operation == OperationKind::zero) {
        co_return co_await volume.write_zeroes(offset, length,
                                               {.force_unit_access = event.durable});
    }
    AlignedBuffer data(length);
    for (uint64_t s = 0; s < event.sectors; ++s) {
        fill_sector(data.data() + s * kSectorBytes, event.id,
                    {event.volumes, event.first_sector + s});
    }
    co_return co_await volume.write(offset, data.bytes(), {.force_unit_access = event.durable});
}

io::Task<Result<void>> Child::change_range() {
    const uint64_t choice = below(100);
    Event event;
    event.operation = choice < 84   ? OperationKind::write
                      : choice < 94 ? OperationKind::discard
                                    : OperationKind::zero;
    event.durable = below(20) == 0 && event.operation != OperationKind::discard;
    Busy range;
    do {
        range.volume = below(kVolumes);
        // Short ones and whole blocks are both common; half of the work is in a hot corner.
        range.sectors = 1 + below(below(2) == 0 ? 16 : kWriteSectorsMax);
        range.first = below((below(2) == 0 ? 256 : kVolumeSectors) - range.sectors + 1);
        if (below(2) == 0) {
            range.first = range.first / kBlockSectors * kBlockSectors;
            range.sectors = (range.sectors + kBlockSectors - 1) / kBlockSectors * kBlockSectors;
        }
    } while (std::ranges::any_of(busy_, [&](const Busy& b) { return b.overlaps(range); }));
    busy_.push_back(range);
    event.volumes = static_cast<uint8_t>(range.volume);
    event.first_sector = range.first;
    event.sectors = range.sectors;
    start(event);
    CO_TRY(co_await carry_out(event));
    acknowledge(event);
    std::erase_if(busy_, [&](const Busy& b) { return b.overlaps(range); });
    co_return Result<void>{};
}

io::Task<Result<void>> Child::change(size_t worker) {
    const uint64_t choice = below(100);
    // Names change in one place only: the model then needs no order among them.
    if (worker == 0 && choice < 12) {
        if (options_.snapshots.size() < kSnapshotsMax && below(2) == 0) {
            co_return co_await take_snapshot();
        }
        if (!options_.snapshots.empty()) co_return co_await remove_snapshot();
    }
    if (worker == 1 && choice < 2) co_return co_await open_.pool->checkpoint();
    if (choice > 94) {
        Event event;
        event.operation = OperationKind::flush;
        event.volumes = static_cast<uint8_t>(below(kVolumes));
        start(event);
        CO_TRY(co_await handles_[event.volumes]->flush());
        acknowledge(event);
        co_return Result<void>{};
    }
    co_return co_await change_range();
}

io::Task<void> Child::work(size_t worker) {
    while (options_.operations == 0 || started_ < options_.operations) {
        const Result<void> done = co_await change(worker);
        if (!done.ok()) fail(options_.pipe, done.error());
    }
}

io::Task<Result<void>> Child::run() {
    for (uint64_t v = 0; v < kVolumes; ++v) {
        CO_TRY_ASSIGN(handles_[v], co_await open_.pool->attach(volume_uuid(v), false));
    }
    io::TaskGroup group(*open_.reactor);
    for (size_t w = 0; w < kWorkers; ++w) group.spawn(work(w));
    co_await group.join();
    tell(options_.pipe, EventKind::closing);
    CO_TRY(co_await open_.pool->close());
    tell(options_.pipe, EventKind::closed);
    co_return Result<void>{};
}

io::Task<Result<void>> wait_for_the_end(OpenPool& open) {
    constexpr uint64_t kSecond = 1'000'000'000;
    while (open.pool) co_await open.reactor->sleep_ns(kSecond);
    co_return Result<void>{};
}

}  // namespace

void run_child(const Paths& paths, const ChildOptions& options) {
    std::mt19937_64 random(options.seed);
    ChildOptions now = options;
    for (;;) {
        tell(now.pipe, EventKind::opening);
        auto open = open_pool(paths);
        if (!open.ok()) fail(now.pipe, open.error());
        tell(now.pipe, EventKind::opened);
        if (now.only_open) static_cast<void>((*open)->reactor->run(wait_for_the_end(**open)));
        Child child(**open, now, random);
        const Result<void> ended = (*open)->reactor->run(child.run());
        if (!ended.ok()) fail(now.pipe, ended.error());
        now = child.options();
    }
}

}  // namespace stoa::killtest
