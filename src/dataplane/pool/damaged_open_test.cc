// Pools that are opened although part of what they were is gone: never silently an older state,
// never more than what is lost.
#include "dataplane/pool/test_fixture.h"
#include "dataplane/pool/test_hostile_image.h"

namespace stoa::pool {
namespace {

using hostile::Block;
using hostile::HostileImage;

class DamagedOpenTest : public PoolTest {
protected:
    // The process dies; the device keeps what it was given.
    void die() {
        io::sim::Medium medium = disk_->process_crash(1);
        disk_->kill();
        static_cast<void>(simulator_.run(pool_->close()));
        pool_.reset();
        fresh_disk(std::move(medium));
    }
    // Closed such that both generations of superblocks name the same object blocks.
    void close_twice() {
        close();
        open();
        close();
    }
    // Both copies of the newest superblock.
    void destroy_newest_superblock() {
        Block noise;
        noise.fill(std::byte{0xA5});
        for (const uint64_t at : HostileImage(disk_->image()).superblock_places()) {
            disk_->damage(at * kBlockBytes, noise);
        }
    }
    // Edits the object slot that holds `name`.
    template <class Change>
    void edit_object(const std::string& name, Change&& change) {
        HostileImage image(disk_->image());
        const hostile::Catalog catalog = image.survey(1);
        bool found = false;
        for (const BlockAddress address : catalog.object_blocks) {
            image.edit(image.places(address), [&](Block& block) {
                for (size_t i = 0; i < kObjectsPerBlock; ++i) {
                    std::byte* slot = block.data() + i * kObjectBytes;
                    const Result<ObjectRecord> object = decode_object(slot);
                    if (!object.ok() || object->name != name) continue;
                    change(slot);
                    found = true;
                }
            });
        }
        EXPECT_TRUE(found);
        image.seal(catalog);
        fresh_disk(io::sim::Medium(image.image()));
    }
};

TEST_F(DamagedOpenTest, an_older_superblock_is_used_read_only_where_newer_state_existed) {
    create();
    block::Volume* volume = attach(make_volume("db"));
    ASSERT_TRUE(simulator_.run(pool_->checkpoint()).ok());
    write(volume, 0, filled(4096, 1));
    ASSERT_TRUE(simulator_.run(volume->flush()).ok());  // names the newest generation
    die();
    destroy_newest_superblock();
    open();
    ASSERT_TRUE(pool_);
    EXPECT_TRUE(pool_->info().read_only);
    EXPECT_EQ(pool_->info().read_only_reason.find("damaged"), 0U) << pool_->info().read_only_reason;
    static_cast<void>(simulator_.run(pool_->close()));
    pool_.reset();
    open(true);
    EXPECT_FALSE(pool_->info().read_only);
    EXPECT_TRUE(pool_->find_volume("db").ok());
    close();
    open();
    EXPECT_FALSE(pool_->info().read_only) << pool_->info().read_only_reason;
}

// Nothing was committed on top of it: the journal from the one before still holds all there is.
// A loss of power while it was written leaves the same picture.
TEST_F(DamagedOpenTest, a_lost_superblock_that_nothing_follows_loses_nothing) {
    create();
    block::Volume* volume = attach(make_volume("db"));
    write(volume, 0, filled(4096, 1));
    ASSERT_TRUE(simulator_.run(pool_->checkpoint()).ok());
    write(volume, 0, filled(8192, 2));
    close();
    destroy_newest_superblock();
    open();
    EXPECT_FALSE(pool_->info().read_only) << pool_->info().read_only_reason;
    EXPECT_EQ(read(attach(*pool_->find_volume("db")), 0, 8192), filled(8192, 2));
}

TEST_F(DamagedOpenTest, an_impossible_object_costs_only_itself) {
    create();
    write(attach(make_volume("lost")), 0, filled(4096, 1));
    write(attach(make_volume("kept")), 0, filled(4096, 2));
    close_twice();
    edit_object("lost", [](std::byte* slot) { store_le(slot, uint8_t{77}); });
    open();
    ASSERT_TRUE(pool_);
    EXPECT_TRUE(pool_->info().read_only);
    const std::string reason = pool_->info().read_only_reason;
    EXPECT_EQ(reason.find("damaged"), 0U) << reason;
    EXPECT_NE(reason.find("object slot 0"), std::string::npos) << reason;
    EXPECT_FALSE(pool_->find_volume("lost").ok());
    const Uuid kept = *pool_->find_volume("kept");
    EXPECT_EQ(read(attach(kept, true), 0, 4096), filled(4096, 2));
    EXPECT_FALSE(simulator_.run(pool_->attach(kept, false)).ok());
}

TEST_F(DamagedOpenTest, a_lost_snapshot_leaves_its_volume_readable_and_nothing_writable) {
    create();
    const Uuid id = make_volume("db");
    block::Volume* volume = attach(id);
    write(volume, 0, filled(8192, 1));
    static_cast<void>(snapshot(id, "monday"));
    write(volume, 0, filled(4096, 2));
    close_twice();
    edit_object("monday", [](std::byte* slot) { store_le(slot + 48, ~uint64_t{0}); });
    open(true);  // who shares what with whom is not known: not even the override makes it writable
    ASSERT_TRUE(pool_);
    EXPECT_TRUE(pool_->info().read_only);
    EXPECT_TRUE(pool_->snapshots({}).empty());
    EXPECT_EQ(read(attach(id, true), 0, 4096), filled(4096, 2));
    EXPECT_EQ(read(attach(id, true), 4096, 4096), filled(4096, 9));  // 8 sectors on
}

// The journal goes on from the object that is lost: what it says of others still counts.
TEST_F(DamagedOpenTest, records_of_a_lost_object_are_passed_over) {
    create();
    block::Volume* lost = attach(make_volume("lost"));
    block::Volume* kept = attach(make_volume("kept"));
    ASSERT_TRUE(simulator_.run(pool_->checkpoint()).ok());
    ASSERT_TRUE(simulator_.run(pool_->checkpoint()).ok());
    write(lost, 0, filled(4096, 1));
    write(kept, 0, filled(4096, 2));
    ASSERT_TRUE(simulator_.run(kept->flush()).ok());
    die();
    edit_object("lost", [](std::byte* slot) { store_le(slot, uint8_t{77}); });
    open();
    ASSERT_TRUE(pool_);
    EXPECT_TRUE(pool_->info().read_only);
    EXPECT_EQ(read(attach(*pool_->find_volume("kept"), true), 0, 4096), filled(4096, 2));
}

}  // namespace
}  // namespace stoa::pool
