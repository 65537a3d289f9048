// Any single damaged block of a pool is repaired from a copy by a scrub, or reported for its range
// alone; it is never returned as data, and fsck agrees. Every block of a small pool, one by one.
#include <algorithm>

#include <gtest/gtest.h>

#include "dataplane/io/sim/disk.h"
#include "dataplane/io/sim/simulator.h"
#include "dataplane/pool/pool.h"
#include "dataplane/pool/test_image_source.h"

namespace stoa::pool {
namespace {

using io::sim::Image;

constexpr uint64_t kVolumeBlocks = 600;  // three leaves
constexpr uint64_t kDeviceBytes = uint64_t{6} << 20;

fsck::Report check(const Image& image) {
    ImageSource source(image);
    fsck::Source* sources[] = {&source};
    return fsck::check(sources, {.verify_data = true});
}

std::byte value_of(uint64_t block) { return static_cast<std::byte>(1 + block % 200); }
bool is_written(uint64_t block) { return block % 7 == 0; }

// One pool on one disk, opened and closed within a test.
class Machine {
public:
    explicit Machine(const Image& image) : disk_(simulator_, {}, io::sim::Medium(image)) {}
    Machine(const Machine&) = delete;
    Machine& operator=(const Machine&) = delete;
    ~Machine() {
        if (pool) static_cast<void>(simulator_.run(pool->close()));
    }

    void create() {
        CreateOptions options;
        options.name = "fast";
        options.region_blocks = 64;
        options.journal_blocks = 16;
        ASSERT_TRUE(simulator_.run(Pool::create(simulator_, {&disk_}, options)).ok());
    }
    bool open() {
        OpenOptions options;
        options.cache_bytes = uint64_t{1} << 20;
        auto opened = simulator_.run(Pool::open(simulator_, {&disk_}, options));
        if (opened.ok()) pool = *std::move(opened);
        return pool != nullptr;
    }
    void close() {
        EXPECT_TRUE(simulator_.run(pool->close()).ok());
        pool.reset();
    }
    template <class T>
    T run(io::Task<T> task) {
        return simulator_.run(std::move(task));
    }
    [[nodiscard]] const Image& image() const { return disk_.image(); }

private:
    io::sim::Simulator simulator_{3};
    io::sim::Disk disk_;

public:
    std::unique_ptr<Pool> pool;
};

// A volume with a snapshot, closed.
Image make_pool() {
    Machine machine{Image(kDeviceBytes)};
    machine.create();
    EXPECT_TRUE(machine.open());
    VolumeSpec spec;
    spec.name = "volume";
    spec.size_bytes = kVolumeBlocks * kBlockBytes;
    const Result<Uuid> id = machine.run(machine.pool->create_volume(spec));
    const auto volume = machine.run(machine.pool->attach(*id, false));
    AlignedBuffer buffer(kBlockBytes);
    for (uint64_t block = 0; block < kVolumeBlocks; ++block) {
        if (!is_written(block)) continue;
        std::ranges::fill(buffer.bytes(), value_of(block));
        EXPECT_TRUE(machine.run((*volume)->write(block * kBlockBytes, buffer.bytes(), {})).ok());
        if (block == 294) {
            EXPECT_TRUE(machine.run(machine.pool->snapshot({{*id, "before", {}}})).ok());
        }
    }
    machine.close();
    return machine.image();
}

struct Seen {
    uint64_t unreadable = 0;
    bool listed = true;  // all of them are on the list of damage
    bool wrong = false;
};

Seen read_all(Machine& machine) {
    Seen seen;
    const Result<Uuid> id = machine.pool->find_volume("volume");
    const auto volume = machine.run(machine.pool->attach(*id, true));
    AlignedBuffer buffer(kBlockBytes);
    for (uint64_t block = 0; block < kVolumeBlocks; ++block) {
        const uint64_t at = block * kBlockBytes;
        if (!machine.run((*volume)->read(at, buffer.bytes())).ok()) {
            ++seen.unreadable;
            const auto list = machine.pool->damage();
            seen.listed = seen.listed && std::ranges::any_of(list, [&](const DamageRange& range) {
                              return range.object == *id && range.offset_bytes <= at &&
                                     at < range.offset_bytes + range.length_bytes;
                          });
            continue;
        }
        const std::byte wanted = is_written(block) ? value_of(block) : std::byte{0};
        seen.wrong = seen.wrong || std::ranges::any_of(buffer.bytes(), [&](std::byte found) {
                         return found != wanted;
                     });
    }
    machine.run(machine.pool->detach(*volume));
    return seen;
}

TEST(Repair, any_single_damaged_block_is_repaired_or_reported_alone) {
    const Image good = make_pool();
    uint64_t lost = 0;
    uint64_t repaired = 0;
    std::vector<std::byte> before(kBlockBytes);
    for (uint64_t at = 0; at < kDeviceBytes; at += kBlockBytes) {
        good.read(at, before);
        if (std::ranges::all_of(before, [](std::byte b) { return b == std::byte{0}; })) continue;
        SCOPED_TRACE("block " + std::to_string(at / kBlockBytes));
        Image image = good;
        image.flip_bit(at + 1001, 3);
        Machine machine(image);
        ASSERT_TRUE(machine.open());
        const auto report = machine.run(machine.pool->scrub({}));
        ASSERT_TRUE(report.ok()) << report.error().message();
        repaired += report->blocks_repaired;
        const Seen seen = read_all(machine);
        ASSERT_FALSE(seen.wrong);
        ASSERT_TRUE(seen.listed);
        ASSERT_LE(seen.unreadable, 256U);
        const bool damaged = !machine.pool->damage().empty();  // the volume, its snapshot, or both
        ASSERT_EQ(damaged, report->blocks_damaged > 0);
        if (damaged) ++lost;
        const auto again = machine.run(machine.pool->scrub({}));
        ASSERT_EQ(again->blocks_repaired, 0U);
        machine.close();
        const fsck::Report judged = check(machine.image());
        ASSERT_EQ(judged.repairable_count, 0U) << judged.repairable.front();
        ASSERT_EQ(judged.problem_count > 0, damaged)
            << (judged.problems.empty() ? "" : judged.problems.front());
    }
    EXPECT_GT(lost, 80U);  // the data blocks and the leaves
    EXPECT_GT(repaired, 20U);  // labels, superblocks, tables, bitmaps, nodes, objects
}

// The pool with one leaf of the volume's map unreadable.
Image without_a_leaf() {
    const Image good = make_pool();
    const auto is_leaf = [&](uint64_t at) {
        Image image = good;
        image.flip_bit(at, 3);
        Machine machine(image);
        if (!machine.open()) return false;
        return machine.run(machine.pool->scrub({}))->blocks_damaged == 256;
    };
    uint64_t at = 0;
    while (at < kDeviceBytes && !is_leaf(at)) at += kBlockBytes;
    EXPECT_LT(at, kDeviceBytes);
    Image image = good;
    image.flip_bit(at, 3);
    return image;
}

TEST(Repair, writing_over_a_lost_leaf_heals_it) {
    Machine machine(without_a_leaf());
    ASSERT_TRUE(machine.open());
    const Result<Uuid> id = machine.pool->find_volume("volume");
    const auto volume = machine.run(machine.pool->attach(*id, false));
    AlignedBuffer buffer(kBlockBytes);
    for (uint64_t block = 0; block < kVolumeBlocks; ++block) {
        std::ranges::fill(buffer.bytes(), is_written(block) ? value_of(block) : std::byte{0});
        const Result<void> written =
            machine.run((*volume)->write(block * kBlockBytes, buffer.bytes(), {}));
        ASSERT_TRUE(written.ok()) << written.error().message();
    }
    machine.run(machine.pool->detach(*volume));
    const Seen seen = read_all(machine);
    EXPECT_EQ(seen.unreadable, 0U);
    EXPECT_FALSE(seen.wrong);
    // The snapshot may have lost it, too; the volume's list is empty.
    for (const DamageRange& range : machine.pool->damage()) EXPECT_NE(range.object, *id);
    EXPECT_TRUE(machine.run(machine.pool->scrub({})).ok());
    EXPECT_EQ(machine.pool->volume(*id)->mapped_bytes, (kVolumeBlocks + 6) / 7 * kBlockBytes);
}

TEST(Repair, a_deleted_volume_with_a_lost_leaf_holds_up_nobody) {
    Machine machine(without_a_leaf());
    ASSERT_TRUE(machine.open());
    VolumeSpec spec;
    spec.name = "other";
    spec.size_bytes = 64 * kBlockBytes;
    const Result<Uuid> other = machine.run(machine.pool->create_volume(spec));
    const auto handle = machine.run(machine.pool->attach(*other, false));
    const std::vector<std::byte> content(64 * kBlockBytes, std::byte{5});
    ASSERT_TRUE(machine.run((*handle)->write(0, content, {})).ok());
    machine.run(machine.pool->detach(*handle));

    ASSERT_TRUE(
        machine.run(machine.pool->delete_volume(*machine.pool->find_volume("volume"))).ok());
    ASSERT_TRUE(machine.run(machine.pool->settle()).ok());
    const uint64_t before = machine.pool->info().space.data;
    ASSERT_TRUE(machine.run(machine.pool->delete_volume(*other)).ok());
    ASSERT_TRUE(machine.run(machine.pool->settle()).ok());
    EXPECT_EQ(before - machine.pool->info().space.data, 64U);
    // What the lost leaf named leaks; 256 blocks are the most it can be.
    EXPECT_LE(machine.pool->info().space.data, 256U);
}

}  // namespace
}  // namespace stoa::pool
