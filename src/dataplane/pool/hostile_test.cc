// Pools whose content is wrong in spite of right checksums, one behaviour each; anything that can
// be wrong: open_fuzz.cc.
#include <gtest/gtest.h>

#include "dataplane/pool/test_hostile_base.h"
#include "dataplane/pool/test_hostile_image.h"

namespace stoa::pool::hostile {
namespace {

class Opened {
public:
    explicit Opened(io::sim::Image image)
        : simulator_(11), disk_(simulator_, plain_disk(), std::move(image)) {
        OpenOptions options;
        options.cache_bytes = uint64_t{1} << 20;
        options.events = [this](const std::string& text) { events += text + "\n"; };
        Result<std::unique_ptr<Pool>> opened =
            simulator_.run(Pool::open(simulator_, {&disk_}, options));
        if (opened.ok()) pool = *std::move(opened);
        else error = opened.error().message();
    }
    Opened(const Opened&) = delete;
    Opened& operator=(const Opened&) = delete;
    ~Opened() {
        if (pool) static_cast<void>(simulator_.run(pool->close()));
    }
    io::sim::Simulator& simulator() { return simulator_; }

    std::unique_ptr<Pool> pool;
    std::string error;  // of open()
    std::string events;

private:
    io::sim::Simulator simulator_;
    io::sim::Disk disk_;
};

// A closed pool, changed in both superblock slots' newest generation.
io::sim::Image with_superblock_field(size_t offset, uint32_t value) {
    HostileImage image(make_pool(3));
    const Catalog catalog = image.survey(1);
    image.edit(image.superblock_places(),
               [&](Block& block) { store_le(block.data() + offset, value); });
    image.seal(catalog);
    return image.image();
}

TEST(Hostile, mending_checksums_changes_nothing_by_itself) {
    Maker maker;
    const Uuid id = maker.volume("db", uint64_t{4} << 20);
    maker.write(id, 0, 40960, 1);
    ASSERT_TRUE(maker.simulator().run(maker.pool().checkpoint()).ok());
    static_cast<void>(maker.snapshot(id, "monday"));
    maker.write(id, 4096, 40960, 2);
    HostileImage image(maker.power_loss());
    const Catalog catalog = image.survey(1);
    EXPECT_FALSE(catalog.journal.empty());
    image.seal(catalog);
    EXPECT_TRUE(image.image() == maker.power_loss());
}

TEST(Hostile, a_superblock_cannot_ask_for_objects_without_end) {
    const Opened opened(with_superblock_field(148, UINT32_MAX));
    // The generation before it is used, or none.
    if (opened.pool) EXPECT_LT(opened.pool->info().generation, 1000U);
}

TEST(Hostile, a_superblock_cannot_ask_for_regions_that_lie_nowhere) {
    const Opened opened(with_superblock_field(1024 + 5 * 32 + 16, UINT32_MAX));
    if (opened.pool) EXPECT_LT(opened.pool->info().space.free, kPoolBytes / kBlockBytes);
}

TEST(Hostile, a_lost_node_keeps_no_other_tree_from_being_reclaimed) {
    constexpr size_t kBytes = 65536;
    io::sim::Image image;
    {
        Maker maker;
        const Uuid lost = maker.volume("lost", uint64_t{1} << 20);
        const Uuid fine = maker.volume("fine", uint64_t{1} << 20);
        maker.write(lost, 0, kBytes, 1);
        maker.write(fine, 0, kBytes, 2);
        ASSERT_TRUE(maker.simulator().run(maker.pool().delete_volume(lost)).ok());
        ASSERT_TRUE(maker.simulator().run(maker.pool().delete_volume(fine)).ok());
        maker.close();
        image = maker.power_loss();
    }
    HostileImage hostile(image);
    for (const BlockAddress address : hostile.survey(1).kept) {
        for (const uint64_t at : hostile.places(address)) image.flip_bit(at * kBlockBytes, 0);
    }
    Opened opened(image);
    ASSERT_TRUE(opened.pool) << opened.error;
    ASSERT_TRUE(opened.simulator().run(opened.pool->settle()).ok());
    ASSERT_TRUE(opened.simulator().run(opened.pool->checkpoint()).ok());
    EXPECT_NE(opened.events.find("lost to the pool"), std::string::npos) << opened.events;
    EXPECT_EQ(opened.pool->info().space.data, kBytes / kBlockBytes) << "those of the lost one";
}

TEST(Hostile, damage_of_one_volume_stops_no_other) {
    HostileImage image(make_pool(1));
    const Catalog catalog = image.survey(1);
    for (const BlockAddress address : catalog.map_nodes) {
        image.edit(image.places(address), [](Block& block) { block.fill(std::byte{0x5A}); });
    }
    Opened opened(image.image());
    ASSERT_TRUE(opened.pool) << opened.error;
    auto& simulator = opened.simulator();
    block::Volume* kept =
        *simulator.run(opened.pool->attach(*opened.pool->find_volume(kKeptVolume), false));
    std::vector<std::byte> content(kKeptBytes);
    ASSERT_TRUE(simulator.run(kept->read(0, content)).ok());
    EXPECT_EQ(content, pattern(kKeptBytes, 9));
    EXPECT_TRUE(simulator.run(kept->write(0, pattern(4096, 3), {})).ok());
    EXPECT_TRUE(simulator.run(kept->flush()).ok());
    block::Volume* lost =
        *simulator.run(opened.pool->attach(*opened.pool->find_volume("db"), true));
    EXPECT_FALSE(simulator.run(lost->read(0, content)).ok());
    EXPECT_TRUE(simulator.run(opened.pool->scrub({})).ok());
}

}  // namespace
}  // namespace stoa::pool::hostile
