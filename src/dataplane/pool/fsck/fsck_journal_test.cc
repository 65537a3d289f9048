// What fsck says about the journal: commits that wait, contradict what is there, or show that newer
// state is lost.
#include <gtest/gtest.h>

#include <functional>
#include <string_view>
#include <vector>

#include "dataplane/pool/fsck/test_fixture.h"

namespace stoa::fsck::test {
namespace {

class RecordBuilder {
public:
    template <class T>
    RecordBuilder& add(T value) {
        bytes.resize(bytes.size() + sizeof value);
        store_le(bytes.data() + bytes.size() - sizeof value, value);
        return *this;
    }
    RecordBuilder& header(uint8_t type, uint8_t flags, uint16_t count, uint32_t length) {
        return add(type).add(flags).add(count).add(length);
    }
    RecordBuilder& add(RawEntry entry) { return add(entry.low).add(entry.high); }
    std::vector<std::byte> bytes;
};

// Block 0 of `object` becomes `fresh`; the old one is freed.
std::vector<std::byte> map_record(uint64_t object, RawEntry fresh, RawEntry old) {
    RecordBuilder record;
    record.header(1, 4, 1, 64).add(object).add(uint64_t{0});
    record.add(address_of(fresh) | uint64_t{2} << 56);
    record.add(fresh.low >> 40 | (fresh.high & 0xFFFFFF) << 24);
    record.add(static_cast<uint32_t>(fresh.high >> 24)).add(uint32_t{0}).add(old);
    return record.bytes;
}

// Data on the device, not in the bitmap.
RawEntry pending_data(TestPool& pool, uint8_t fill = 77) {
    return pool.put_data(10, fill, 3 * 64 + 9);
}

TEST(FsckJournal, pending_commits_are_applied) {
    Fixture fixture;
    TestPool& pool = fixture.pool;
    pool.commit(map_record(2, pending_data(pool), fixture.family.new_0), 1);
    RecordBuilder structure;
    structure.header(2, 0, 2, 8 + 8 + 512 + 8 + 8).add(uint64_t{1});
    const auto object = RawObject{1, 0, 8, 0, 10, 1 << 20, {}, 0, 0, 0, "new", 0, 0}.encode();
    structure.bytes.insert(structure.bytes.end(), object.begin(), object.end());
    structure.add(uint64_t{4}).add(uint64_t{11});
    pool.commit(structure.bytes, 1, 21);
    pool.put_journal(pool.journal_next, 22, 22, 4, {});
    const Report report = fixture.check({.verify_data = true});
    EXPECT_TRUE(report.clean()) << all(report);
    EXPECT_TRUE(report.journal_pending);
    EXPECT_EQ(report.counts.commits, 2u);
    EXPECT_EQ(report.counts.records, 2u);

    pool.damage(0, TestPool::kJournals[1] + 37 % 16);
    expect_repairable(pool.check(), "journal block 37: copy 1 is bad");
    EXPECT_FALSE(pool.check({.journal = false}).journal_pending);

    pool.superblock_flags = 1;
    pool.seal();
    expect_problem(pool.check(), "closed cleanly, but the journal has 2 newer commits");
}

TEST(FsckJournal, region_comes_into_use_by_a_record) {
    Fixture fixture;
    TestPool& pool = fixture.pool;
    RecordBuilder record;
    record.header(2, 0, 1, 8 + 8 + 72).add(uint64_t{5}).add(uint64_t{4});
    record.add(uint8_t{1}).add(uint8_t{1}).add(uint8_t{1}).add(uint8_t{0}).add(uint32_t{0});
    record.add(uint64_t{0}).add(uint32_t{0}).add(uint32_t{5});
    record.bytes.resize(8 + 8 + 72);
    pool.commit(record.bytes, 1);
    Report report = fixture.check();
    EXPECT_TRUE(report.clean()) << all(report);
    pool.commit(record.bytes, 1);
    expect_problem(pool.check(), "region 4 is in use already");
}

TEST(FsckJournal, unproven_commit_with_wrong_data_does_not_count) {
    for (const bool proven : {false, true}) {
        Fixture fixture;
        TestPool& pool = fixture.pool;
        RawEntry fresh = pending_data(pool);
        fresh.high ^= uint64_t{1} << 30;
        pool.commit(map_record(2, fresh, fixture.family.new_0), 1);
        if (proven) pool.put_journal(pool.journal_next, 21, 21, 4, {});
        const Report report = fixture.check({.verify_data = true});
        EXPECT_EQ(report.counts.commits, proven ? 1u : 0u);
        EXPECT_EQ(report.clean(), !proven) << all(report);
    }
}

TEST(FsckJournal, contradicting_records_are_found) {
    const auto expect = [](const std::function<void(Fixture&)>& build, std::string_view part) {
        Fixture fixture;
        build(fixture);
        expect_problem(fixture.check(), part);
    };
    expect([](Fixture& f) { f.pool.commit(map_record(2, f.family.new_0, f.family.old_0), 1); },
           "it is allocated already");
    expect(
        [](Fixture& f) {
            const RawEntry fresh = pending_data(f.pool);
            f.pool.commit(map_record(2, fresh, make_entry(3 * 64 + 20, 3, 1, 2)), 1);
        },
        "frees address 212: it is free already");
    expect(
        [](Fixture& f) {
            const RawEntry fresh = pending_data(f.pool);
            f.pool.commit(map_record(2, fresh, f.family.new_0), 1);
            f.pool.commit(map_record(2, fresh, make_entry(0, 1, 0, 1)), 1);
        },
        "allocated or freed since the superblock");
    expect(
        [](Fixture& f) { f.pool.commit(map_record(99, pending_data(f.pool), f.family.new_0), 1); },
        "object 99, which is not a volume");
    expect(
        [](Fixture& f) { f.pool.commit(map_record(2, pending_data(f.pool), f.family.new_0), 2); },
        "says records 501 to 502, but has 1");
    expect(
        [](Fixture& f) {
            f.pool.sequence = 510;
            f.pool.commit(map_record(2, pending_data(f.pool), f.family.new_0), 1);
        },
        "its first record is 511, the last one before was 500");
    expect(
        [](Fixture& f) {
            RecordBuilder record;
            record.header(3, 0, 1, 40).add(uint64_t{1}).add(uint64_t{256}).add(uint64_t{1});
            record.add(uint64_t{200} | uint64_t{1000} << 40);
            f.pool.commit(record.bytes, 1);
        },
        "reclaim of object 1 frees address 200: it is free already");
    expect(
        [](Fixture& f) {
            RecordBuilder record;
            record.header(9, 0, 1, 8);
            f.pool.commit(record.bytes, 1);
        },
        "a record of type 9");
}

TEST(FsckJournal, lost_state_is_damage) {
    const auto expect = [](const std::function<void(TestPool&)>& build, std::string_view part) {
        Fixture fixture;
        build(fixture.pool);
        expect_problem(fixture.check(), part);
    };
    expect([](TestPool& p) { p.put_journal(39, 23, 0, 3, {}); }, "commit 23 beyond a break");
    expect([](TestPool& p) { p.put_journal(37, 20, 0, 3, {}, 2, 5); }, "generation 5");
    expect([](TestPool& p) { p.put_journal(38, 21, 0, 3, {}, 3); }, "is of incarnation 3");
    expect([](TestPool& p) { p.put_journal(38, 21, 21, 4, {}); }, "commit 21 was durable");
    Fixture stale;
    stale.pool.put_journal(39, 23, 30, 3, {}, 1);
    EXPECT_TRUE(stale.check().clean());
}

}  // namespace
}  // namespace stoa::fsck::test
