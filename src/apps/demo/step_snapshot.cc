// Snapshot, clone, and the difference between two states of a volume.
#include <set>

#include "apps/demo/steps.h"

namespace stoa::apps::demo {

namespace {

io::Task<Result<void>> overwrite(Tour& tour, Uuid uuid, Ledger& ledger, uint64_t step) {
    CO_TRY_ASSIGN(block::Volume * volume, co_await tour.pool().attach(uuid, false));
    for (uint64_t i = 0; i < 100; ++i) {
        const uint64_t first = i * step % (ledger.blocks() - 4);
        CO_TRY(co_await write_version(*volume, ledger, first, 1 + i % 4, ++tour.version));
    }
    CO_TRY(co_await volume->flush());
    co_await tour.pool().detach(volume);
    co_return Result<void>{};
}

}  // namespace

io::Task<Result<void>> step_snapshot(Tour& tour) {
    tour.narrator.title("A snapshot and a clone");
    stoa::pool::SnapshotSpec spec;
    spec.volume = tour.database;
    spec.name = "monday";
    const uint64_t before_blocks = tour.pool().info().space.data;
    uint64_t started_ns = tour.now_ns();
    CO_TRY_ASSIGN(const auto snapshots, co_await tour.pool().snapshot({spec}));
    tour.monday = snapshots.front();
    tour.database_monday = tour.database_now;
    tour.say("Snapshot monday of database: {}, whatever the size.",
             milliseconds(tour.now_ns() - started_ns));
    stoa::pool::VolumeSpec clone;
    clone.name = "copy";
    started_ns = tour.now_ns();
    CO_TRY_ASSIGN(tour.copy, co_await tour.pool().clone(tour.monday, clone));
    tour.copy_now = tour.database_monday;
    tour.say("Clone copy of monday: {}.", milliseconds(tour.now_ns() - started_ns));
    CO_TRY(
        tour.check(tour.pool().info().space.data == before_blocks, "neither took a block of data"));
    CO_TRY(co_await overwrite(tour, tour.database, tour.database_now, 163));
    CO_TRY(co_await overwrite(tour, tour.copy, tour.copy_now, 211));
    tour.say("Then 100 writes each to database and copy. Nobody sees those of another:");
    CO_TRY(co_await tour.check_content(tour.database, tour.database_now, "database"));
    CO_TRY(co_await tour.check_content(tour.monday, tour.database_monday, "monday"));
    CO_TRY(co_await tour.check_content(tour.copy, tour.copy_now, "copy"));
    CO_TRY_ASSIGN(const uint64_t exclusive, co_await tour.pool().exclusive_bytes(tour.copy));
    tour.say("Deleting copy would free {}; the rest it shares.",
             mebibytes(exclusive / kBlockBytes));
    co_return Result<void>{};
}

namespace {

// The blocks of all pages of a difference.
io::Task<Result<std::set<uint64_t>>> changed_blocks(Tour& tour, Uuid from, Uuid to) {
    std::set<uint64_t> blocks;
    uint64_t offset = 0;
    for (;;) {
        CO_TRY_ASSIGN(const auto page, co_await tour.pool().diff(from, to, offset, 64));
        for (const auto& range : page.ranges) {
            const uint64_t end = range.offset_bytes + range.length_bytes;
            for (uint64_t at = range.offset_bytes; at < end; at += kBlockBytes) {
                blocks.insert(at / kBlockBytes);
            }
        }
        if (page.finished) break;
        offset = page.next_offset_bytes;
    }
    co_return blocks;
}

io::Task<Result<void>> compare(Tour& tour, Uuid from, Uuid to,
                               const std::vector<uint64_t>& expected, std::string_view names) {
    const uint64_t started_ns = tour.now_ns();
    CO_TRY_ASSIGN(const auto blocks, co_await changed_blocks(tour, from, to));
    tour.say("{}: {} blocks, found in {}.", names, blocks.size(),
             milliseconds(tour.now_ns() - started_ns));
    co_return tour.check(std::ranges::equal(blocks, expected),
                         "these are exactly the blocks whose content differs",
                         fmt::format("{} blocks differ", expected.size()));
}

}  // namespace

io::Task<Result<void>> step_difference(Tour& tour) {
    tour.narrator.title("What changed");
    tour.say("A backup asks what differs between two states; no data is read for the answer.");
    CO_TRY(co_await compare(tour, tour.monday, tour.database,
                            tour.database_monday.differences(tour.database_now),
                            "monday to database"));
    CO_TRY(co_await compare(tour, tour.database, tour.copy,
                            tour.database_now.differences(tour.copy_now), "database to copy"));
    co_return Result<void>{};
}

}  // namespace stoa::apps::demo
