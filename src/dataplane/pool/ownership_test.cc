// Exclusive ownership: who sees in a superblock that somebody else has the pool writes no more.
#include "dataplane/pool/test_fixture.h"
#include "dataplane/pool/test_hostile_image.h"

namespace stoa::pool {
namespace {

using hostile::Block;
using hostile::HostileImage;

class OwnershipTest : public PoolTest {
protected:
    // The newest superblock gets another owner's token, and `more` generations.
    void put_other_owner(uint64_t more) {
        const HostileImage image(disk_->image());
        for (uint64_t at : image.superblock_places()) {
            Block block;
            image.read(at, block);
            Superblock other = *decode_superblock(block);
            other.owner = Uuid::from_random(8, 9);
            other.generation += more;
            encode_superblock(other, block);
            if (more % 2 == 1) at = at % 2 == 1 ? at + 1 : at - 1;
            disk_->damage(at * kBlockBytes, block);
        }
    }
    void expect_that_it_stops(block::Volume* volume) {
        const io::sim::Image before = disk_->image();
        const Result<void> checkpoint = simulator_.run(pool_->checkpoint());
        ASSERT_FALSE(checkpoint.ok());
        EXPECT_TRUE(pool_->info().read_only);
        EXPECT_NE(pool_->info().read_only_reason.find("another process took pool fast over"),
                  std::string::npos)
            << pool_->info().read_only_reason;
        EXPECT_FALSE(simulator_.run(volume->write(0, filled(4096, 2), {})).ok());
        const HostileImage was(before);
        Block there;
        for (const uint64_t at : {uint64_t{1}, uint64_t{2}}) {
            Block expected;
            was.read(at, expected);
            disk_->image().read(at * kBlockBytes, there);
            EXPECT_EQ(there, expected) << "superblock slot " << at - 1;
        }
    }
};

TEST_F(OwnershipTest, a_newer_generation_of_another_owner_stops_it) {
    create();
    block::Volume* volume = attach(make_volume("db"));
    write(volume, 0, filled(4096, 1));
    put_other_owner(1);
    expect_that_it_stops(volume);
}

// Both looked before either wrote: the one that wrote first finds the other's token in its place.
TEST_F(OwnershipTest, its_own_generation_with_another_token_stops_it) {
    create();
    block::Volume* volume = attach(make_volume("db"));
    ASSERT_TRUE(simulator_.run(pool_->checkpoint()).ok());
    write(volume, 0, filled(4096, 1));
    put_other_owner(0);
    expect_that_it_stops(volume);
}

// Two openings in a row that were each cut short before their superblock was everywhere.
TEST_F(OwnershipTest, two_that_never_got_it_are_no_strangers) {
    create();
    make_volume("db");
    close();
    const HostileImage image(disk_->image());
    Block block;
    image.read(image.superblock_places()[1], block);
    Superblock other = *decode_superblock(block);
    other.owner = Uuid::from_random(8, 9);
    encode_superblock(other, block);
    disk_->damage(image.superblock_places()[1] * kBlockBytes, block);
    open();
    EXPECT_FALSE(pool_->info().read_only) << pool_->info().read_only_reason;
    write(attach(*pool_->find_volume("db")), 0, filled(4096, 1));
    EXPECT_TRUE(simulator_.run(pool_->checkpoint()).ok());
}

TEST_F(OwnershipTest, who_opens_by_force_makes_the_first_one_stop) {
    create();
    block::Volume* volume = attach(make_volume("db"));
    write(volume, 0, filled(4096, 1));
    ASSERT_TRUE(simulator_.run(volume->flush()).ok());
    OpenOptions options;
    options.cache_bytes = kMiB;
    auto second = simulator_.run(Pool::open(simulator_, {disk_.get()}, options));
    ASSERT_TRUE(second.ok()) << second.error().message();
    expect_that_it_stops(volume);
    block::Volume* theirs =
        *simulator_.run((*second)->attach(*(*second)->find_volume("db"), false));
    EXPECT_EQ(read(theirs, 0, 4096), filled(4096, 1));
    write(theirs, 4096, filled(4096, 3));
    EXPECT_TRUE(simulator_.run((*second)->checkpoint()).ok());
    EXPECT_TRUE(simulator_.run((*second)->close()).ok());
}

}  // namespace
}  // namespace stoa::pool
