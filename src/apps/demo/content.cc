#include "apps/demo/content.h"

#include <algorithm>
#include <cstring>

#include "base/crc32c.h"

namespace stoa::apps::demo {

namespace {

// splitmix64: all words differ, and none compresses.
uint64_t mix(uint64_t x) {
    x += 0x9E3779B97F4A7C15ULL;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
    return x ^ (x >> 31);
}

}  // namespace

void fill_block(uint64_t block, uint64_t version, MutableBytes into) {
    CHECK(into.size() == kBlockBytes);
    if (version == 0) {
        std::memset(into.data(), 0, into.size());
        return;
    }
    store_le(into.data(), version);
    store_le(into.data() + 8, block);
    const uint64_t seed = mix(block) ^ mix(~version);
    for (size_t at = 16; at < kBlockBytes; at += 8) store_le(into.data() + at, mix(seed + at));
}

std::optional<uint64_t> version_of(uint64_t block, ConstBytes content) {
    if (is_zero(content)) return 0;
    const auto version = load_le<uint64_t>(content.data());
    std::array<std::byte, kBlockBytes> expected;
    fill_block(block, version, expected);
    if (!std::ranges::equal(expected, content)) return std::nullopt;
    return version;
}

Ledger::Ledger(uint64_t size_bytes) : checksums_(size_bytes / kBlockBytes) {
    zeroed(0, checksums_.size());
}

void Ledger::wrote(uint64_t block, ConstBytes content) { checksums_[block] = crc32c(content); }

void Ledger::zeroed(uint64_t first, uint64_t count) {
    static const uint32_t kZeros = crc32c(std::array<std::byte, kBlockBytes>{});
    std::fill_n(checksums_.begin() + static_cast<ptrdiff_t>(first), count, kZeros);
}

bool Ledger::holds(uint64_t block, ConstBytes content) const {
    return checksums_[block] == crc32c(content);
}

std::vector<uint64_t> Ledger::differences(const Ledger& other) const {
    std::vector<uint64_t> found;
    for (uint64_t block = 0; block < std::min(blocks(), other.blocks()); ++block) {
        if (checksums_[block] != other.checksums_[block]) found.push_back(block);
    }
    return found;
}

io::Task<Result<void>> write_version(block::Volume& volume, Ledger& ledger, uint64_t first,
                                     uint64_t count, uint64_t version) {
    AlignedBuffer buffer(count * kBlockBytes);
    for (uint64_t i = 0; i < count; ++i) {
        const MutableBytes block = buffer.bytes().subspan(i * kBlockBytes, kBlockBytes);
        fill_block(first + i, version, block);
        ledger.wrote(first + i, block);
    }
    co_return co_await volume.write(first * kBlockBytes, buffer.bytes(), {});
}

io::Task<Result<uint64_t>> count_wrong(block::Volume& volume, const Ledger& ledger) {
    constexpr uint64_t kBlocksPerRead = 256;
    AlignedBuffer buffer(kBlocksPerRead * kBlockBytes);
    uint64_t wrong = 0;
    for (uint64_t first = 0; first < ledger.blocks(); first += kBlocksPerRead) {
        const uint64_t count = std::min(kBlocksPerRead, ledger.blocks() - first);
        const MutableBytes part = buffer.bytes().first(count * kBlockBytes);
        CO_TRY(co_await volume.read(first * kBlockBytes, part));
        for (uint64_t i = 0; i < count; ++i) {
            if (!ledger.holds(first + i, part.subspan(i * kBlockBytes, kBlockBytes))) ++wrong;
        }
    }
    co_return wrong;
}

}  // namespace stoa::apps::demo
