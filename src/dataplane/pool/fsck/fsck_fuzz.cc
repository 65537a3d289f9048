// Fuzz target: a valid pool whose structures are changed before they get their checksums, so that
// the changes reach what lies behind the checksums. The check must end without a crash.
//
// The input is a list of edits of 8 bytes: kind of block, which one, offset (u16), size and
// operation, value (3 bytes). One byte more cuts a device short.
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "dataplane/pool/fsck/test_pool.h"

namespace stoa::fsck::test {
namespace {

struct Edit {
    uint8_t what;
    uint8_t which;
    uint16_t offset;
    uint8_t operation;
    uint32_t value;
};

// Values at which something ends.
constexpr std::array<uint64_t, 12> kEdges = {0,
                                             1,
                                             63,
                                             64,
                                             255,
                                             4096,
                                             0xFFFF,
                                             0xFFFFFFFF,
                                             uint64_t{1} << 32,
                                             (uint64_t{1} << 40) - 1,
                                             uint64_t{1} << 48,
                                             ~uint64_t{0}};

void apply(const Edit& edit, Block& block) {
    const size_t offset = edit.offset % 512 * 8 + (edit.offset >> 9) % 8;
    const uint64_t value =
        (edit.operation & 4) != 0 ? kEdges[edit.value % kEdges.size()] : edit.value;
    std::byte* at = block.data() + offset;
    const size_t left = block.size() - offset;
    switch (edit.operation % 4) {
        case 0: store_le(at, static_cast<uint8_t>(value)); break;
        case 1:
            if (left >= 4) store_le(at, static_cast<uint32_t>(value));
            break;
        case 2:
            if (left >= 8) store_le(at, value);
            break;
        default:
            if (left >= 8) store_le(at, load_le<uint64_t>(at) + value - 0x800000);
            break;
    }
}

// A map record and a reclaim, to have something to change in the journal.
void put_commits(TestPool& pool, const Family& family) {
    std::vector<std::byte> record(64);
    const RawEntry fresh = pool.put_data(10, 77, 3 * 64 + 9);
    store_le<uint32_t>(record.data(), 1u | 4u << 8 | 1u << 16);
    store_le<uint32_t>(record.data() + 4, 64);
    store_le<uint64_t>(record.data() + 8, 2);
    store_le(record.data() + 24, address_of(fresh) | uint64_t{2} << 56);
    store_le<uint64_t>(record.data() + 32, 10);
    store_le(record.data() + 40, static_cast<uint32_t>(fresh.high >> 24));
    store_le(record.data() + 48, family.new_0.low);
    store_le(record.data() + 56, family.new_0.high);
    pool.commit(record, 1);
    record.assign(40, std::byte{0});
    store_le<uint32_t>(record.data(), 3u | 1u << 16);
    store_le<uint32_t>(record.data() + 4, 40);
    store_le<uint64_t>(record.data() + 8, 1);
    store_le<uint64_t>(record.data() + 16, 256);
    store_le(record.data() + 32, family.snapshot_data[0] | uint64_t{1} << 40);
    pool.commit(record, 1, 21);
}

// The payload's own checksum, which an edit of a journal block made wrong.
void mend_commit_end(Block& block) {
    const auto payload_bytes = load_le<uint16_t>(block.data() + 54);
    if (payload_bytes < 40 || payload_bytes > 4032) return;
    const size_t before = payload_bytes - 40u;
    store_le(block.data() + 64 + before + 28, crc32c({block.data() + 64, before}));
}

}  // namespace
}  // namespace stoa::fsck::test

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    using namespace stoa::fsck::test;
    std::vector<Edit> edits;
    for (size_t at = 0; at + 8 <= size && edits.size() < 64; at += 8) {
        const uint8_t* e = data + at;
        edits.push_back({static_cast<uint8_t>(e[0] % 9), e[1],
                         static_cast<uint16_t>(e[2] | e[3] << 8), e[4],
                         static_cast<uint32_t>(e[5] | e[6] << 8 | e[7] << 16)});
    }
    TestPool pool(2);
    std::array<uint8_t, 9> seen{};
    pool.tamper = [&](What what, uint64_t, Block& block) {
        const auto kind = static_cast<size_t>(what);
        const uint8_t nth = seen[kind]++;
        for (const Edit& edit : edits) {
            if (edit.what == kind && (edit.which == nth || edit.which == 255)) apply(edit, block);
        }
        if (what == What::journal) mend_commit_end(block);
    };
    const Family family = put_family(pool);
    pool.put_objects(family.objects, 9);
    put_commits(pool, family);
    pool.seal();
    // A byte left over shortens a device.
    if (size % 8 == 1) {
        pool.devices[data[size - 1] % 2].bytes.resize(size_t{data[size - 1]} * 3 * 4096 + 512);
    }
    stoa::fsck::Options options;
    options.verify_data = true;
    options.messages_max = 20;
    const auto report = pool.check(options);
    if (size == 0 && !report.clean()) __builtin_trap();
    return 0;
}
