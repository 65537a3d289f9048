// A pool on two files, made by stoa-pool; a thin volume in it, filled.
#include "apps/demo/steps.h"

namespace stoa::apps::demo {

io::Task<Result<void>> step_create(Tour& tour) {
    tour.narrator.title("A pool on two files");
    tour.say("Two sparse files of 1 GiB stand for two disks.");
    CO_TRY(tour.run_tool({"create", "--name", "fast", "--size", "1G", "d0", "d1"}, 0));
    tour.say("What bears a pool already is not overwritten:");
    CO_TRY(tour.run_tool({"create", "--name", "again", "d0"}, 1));
    const uint64_t started_ns = tour.now_ns();
    CO_TRY(co_await tour.open());
    tour.say("Opened in {}. {}.", milliseconds(tour.now_ns() - started_ns),
             space_line(tour.pool().info().space));
    co_return Result<void>{};
}

namespace {

// Pieces of many sizes all over the first half, some of them twice.
io::Task<Result<uint64_t>> write_pieces(Tour& tour, block::Volume& volume) {
    uint64_t blocks = 0;
    for (uint64_t i = 0; i < 1'000; ++i) {
        const uint64_t count = 1 + i * 7 % 16;
        const uint64_t first = i * 7'919 % (tour.database_now.blocks() / 2 - 16);
        CO_TRY(co_await write_version(volume, tour.database_now, first, count, ++tour.version));
        blocks += count;
    }
    co_return blocks;
}

// 512 bytes inside a block: the rest of it must stay.
io::Task<Result<void>> write_sector(Tour& tour, block::Volume& volume) {
    constexpr uint64_t kBlock = 20'000;
    constexpr uint64_t kSector = 3;
    CO_TRY(co_await write_version(volume, tour.database_now, kBlock, 1, ++tour.version));
    AlignedBuffer block(kBlockBytes);
    fill_block(kBlock, tour.version, block.bytes());
    const MutableBytes sector = block.bytes().subspan(kSector * 512, 512);
    std::ranges::fill(sector, std::byte{0x5A});
    tour.database_now.wrote(kBlock, block.bytes());
    co_return co_await volume.write(kBlock * kBlockBytes + kSector * 512, sector, {});
}

io::Task<Result<void>> fill(Tour& tour, block::Volume& volume) {
    const uint64_t started_ns = tour.now_ns();
    CO_TRY_ASSIGN(const uint64_t blocks, co_await write_pieces(tour, volume));
    CO_TRY(co_await write_sector(tour, volume));
    tour.database_now.zeroed(100, 50);
    CO_TRY(co_await volume.discard(100 * kBlockBytes, 50 * kBlockBytes));
    CO_TRY(co_await volume.flush());
    tour.say(
        "1000 writes of 4 to 64 KiB ({} in all), one of 512 bytes inside a block, a discard "
        "of 200 KiB, a flush: {}.",
        mebibytes(blocks), milliseconds(tour.now_ns() - started_ns));
    co_return Result<void>{};
}

}  // namespace

io::Task<Result<void>> step_write(Tour& tour) {
    tour.narrator.title("A thin volume, and data in it");
    stoa::pool::VolumeSpec spec;
    spec.name = "database";
    spec.size_bytes = kVolumeBytes;
    CO_TRY_ASSIGN(tour.database, co_await tour.pool().create_volume(spec));
    tour.say(
        "Volume database: 128 MiB, of which nothing takes space yet. The demo remembers a "
        "checksum\nof its own for every block it writes.");
    CO_TRY_ASSIGN(block::Volume * volume, co_await tour.pool().attach(tour.database, false));
    CO_TRY(co_await fill(tour, *volume));
    co_await tour.pool().detach(volume);
    CO_TRY(co_await tour.check_content(tour.database, tour.database_now, "database"));
    CO_TRY_ASSIGN(const auto info, tour.pool().volume(tour.database));
    tour.say("It now maps {} of its 128 MiB.", mebibytes(info.mapped_bytes / kBlockBytes));
    co_return Result<void>{};
}

}  // namespace stoa::apps::demo
