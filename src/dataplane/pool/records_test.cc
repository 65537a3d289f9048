#include "dataplane/pool/records.h"

#include <gtest/gtest.h>

namespace stoa::pool {
namespace {

template <class T>
T round_trip(const T& record) {
    std::vector<std::byte> bytes;
    encode_record(record, bytes);
    size_t used = 0;
    Result<Record> decoded = decode_record(bytes, used);
    EXPECT_TRUE(decoded.ok()) << decoded.error().message();
    EXPECT_EQ(used, bytes.size());
    EXPECT_EQ(bytes.size() % 8, 0U);
    return std::get<T>(*decoded);
}

MapRecord data_record() {
    MapRecord record;
    record.object = 7;
    record.first = 256 + 10;
    for (uint64_t i = 0; i < 3; ++i) {
        record.now.push_back(
            Entry::make(EntryKind::data, 1000 + i, 42, static_cast<uint32_t>(5 * i)));
        record.old.push_back(Entry::make(EntryKind::data, 70 + 9 * i, 40, 11));
        record.freed.push_back(i == 1);
    }
    return record;
}

TEST(Records, a_map_record_survives_encoding) {
    EXPECT_EQ(round_trip(data_record()), data_record());
}

TEST(Records, births_of_their_own_survive) {
    MapRecord record = data_record();
    record.now[1] = Entry::make(EntryKind::data, 1001, 30, 5, Entry::kMoved);
    record.now[0] = Entry::make(EntryKind::data, 1000, 42, 0, Entry::kMoved);
    record.now[2] = Entry::make(EntryKind::data, 1002, 42, 10, Entry::kMoved);
    EXPECT_EQ(round_trip(record), record);
}

TEST(Records, what_is_shared_and_for_all_below_stays_so) {
    MapRecord record = data_record();
    record.old.assign(3, Entry{});
    record.freed.assign(3, false);
    record.below = true;
    EXPECT_EQ(round_trip(record), record);
    record.shared = true;
    EXPECT_EQ(round_trip(record), record);
}

TEST(Records, holes_over_one_hole_take_one_old_entry) {
    MapRecord record;
    record.object = 7;
    record.first = 0;
    record.now.assign(256, Entry::hole(42));
    record.old.assign(256, Entry{});
    record.freed.assign(256, false);
    EXPECT_EQ(round_trip(record), record);
    std::vector<std::byte> bytes;
    encode_record(record, bytes);
    EXPECT_EQ(bytes.size(), 56U);
}

TEST(Records, the_hot_path_encodes_the_same_bytes) {
    const Entry now = Entry::make(EntryKind::data, 1000, 42, 17);
    const Entry old = Entry::make(EntryKind::data, 70, 40, 11);
    MapRecord record;
    record.object = 7;
    record.first = 99;
    record.now = {now};
    record.old = {old};
    record.freed = {true};
    std::vector<std::byte> expected;
    encode_record(record, expected);
    std::byte bytes[96];
    const size_t used = encode_single_block(7, 99, now, old, true, bytes);
    ASSERT_EQ(used, expected.size());
    EXPECT_EQ(std::memcmp(bytes, expected.data(), used), 0);
}

TEST(Records, a_reclaim_record_survives_encoding) {
    ReclaimRecord record;
    record.object = 9;
    record.cursor = 512;
    record.unmapped = 3;
    record.freed = {{100, 2}, {500, 1}};
    const ReclaimRecord back = round_trip(record);
    EXPECT_EQ(back.cursor, 512U);
    ASSERT_EQ(back.freed.size(), 2U);
    EXPECT_EQ(back.freed[0].address, 100U);
    EXPECT_EQ(back.freed[0].count, 2U);
}

TEST(Records, every_cut_record_is_refused) {
    std::vector<std::byte> bytes;
    encode_record(data_record(), bytes);
    for (size_t length = 0; length < bytes.size(); ++length) {
        size_t used = 0;
        EXPECT_FALSE(decode_record(ConstBytes(bytes).first(length), used).ok()) << length;
    }
}

}  // namespace
}  // namespace stoa::pool
