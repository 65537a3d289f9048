#include "dataplane/pool/journal.h"

#include <algorithm>
#include <cstring>

#include <fmt/format.h>

#include "base/crc32c.h"
#include "base/mutant.h"
#include "dataplane/io/sync.h"

namespace stoa::pool {

namespace {

constexpr uint32_t kMagic = 0x314E524A;  // "JRN1"
constexpr size_t kHeaderBytes = 64;
constexpr uint16_t kFirst = 1;
constexpr uint16_t kLast = 2;
constexpr uint16_t kProof = 4;
constexpr uint64_t kWindowBlocks = 256;

}  // namespace

void JournalWriter::configure(std::array<JournalPlace, 2> places, uint64_t ring_blocks) {
    places_ = places;
    ring_blocks_ = ring_blocks;
}

void JournalWriter::start(uint64_t incarnation, uint64_t next_block, uint64_t tail_block,
                          uint64_t last_commit) {
    incarnation_ = incarnation;
    next_block_ = next_block;
    tail_block_ = tail_block;
    commit_ = last_commit;
}

void JournalWriter::seal_block(std::byte* block, uint64_t number, uint64_t commit,
                               uint64_t generation, uint64_t proven, uint32_t index, uint16_t flags,
                               uint16_t payload_bytes, uint32_t chain) {
    std::memset(block, 0, kHeaderBytes);
    std::memset(block + kHeaderBytes + payload_bytes, 0, kJournalPayloadBytes - payload_bytes);
    store_le(block, kMagic);
    store_le(block + 8, number);
    store_le(block + 16, incarnation_);
    store_le(block + 24, commit);
    store_le(block + 32, generation);
    store_le(block + 40, proven);
    store_le(block + 48, index);
    store_le(block + 52, flags);
    store_le(block + 54, payload_bytes);
    store_le(block + 56, chain);
    store_le(block + 4, checksums_.block({block, kBlockBytes}, number, incarnation_));
}

io::Task<void> JournalWriter::write_copy(size_t copy, uint64_t first_block, ConstBytes blocks,
                                         int& error) {
    const JournalPlace place = places_[copy];
    const uint64_t at = first_block % ring_blocks_;
    const uint64_t count = blocks.size() / kBlockBytes;
    const uint64_t before_wrap = std::min(count, ring_blocks_ - at);
    int result = co_await devices_.write(place.device, place.start + at,
                                         blocks.first(before_wrap * kBlockBytes));
    if (result == 0 && before_wrap < count && !MUTANT(35)) {
        result = co_await devices_.write(place.device, place.start,
                                         blocks.subspan(before_wrap * kBlockBytes));
    }
    if (result != 0) error = result;
}

io::Task<int> JournalWriter::write_blocks(uint64_t first_block, ConstBytes blocks) {
    int error = 0;
    io::TaskGroup group(executor_);
    for (size_t copy = 0; copy < places_.size(); ++copy) {
        if (copy == 1 && MUTANT(10)) continue;
        // A missing device's copy is made up for when the device returns.
        if (devices_.list[places_[copy].device].device == nullptr) continue;
        group.spawn(write_copy(copy, first_block, blocks, error));
    }
    co_await group.join();
    co_return error;
}

io::Task<int> JournalWriter::write_commit(std::vector<std::byte>& payload, CommitEnd end,
                                          uint64_t generation, uint64_t proven) {
    end.payload_bytes = static_cast<uint32_t>(payload.size());
    end.payload_crc = crc32c(payload);
    encode_record(end, payload);
    const uint64_t blocks = (payload.size() + kJournalPayloadBytes - 1) / kJournalPayloadBytes;
    CHECK(blocks <= free_blocks());
    if (buffer_.size() < blocks * kBlockBytes) buffer_ = AlignedBuffer(blocks * kBlockBytes);
    const uint64_t commit = commit_ + 1;
    uint32_t chain = 0;
    for (uint64_t i = 0; i < blocks; ++i) {
        std::byte* block = buffer_.data() + i * kBlockBytes;
        const size_t from = i * kJournalPayloadBytes;
        const size_t bytes = std::min(kJournalPayloadBytes, payload.size() - from);
        std::memcpy(block + kHeaderBytes, payload.data() + from, bytes);
        const auto flags =
            static_cast<uint16_t>((i == 0 ? kFirst : 0) | (i + 1 == blocks ? kLast : 0));
        seal_block(block, next_block_ + i, commit, generation, proven, static_cast<uint32_t>(i),
                   flags, static_cast<uint16_t>(bytes), chain);
        chain = load_le<uint32_t>(block + 4);
    }
    const uint64_t first = next_block_;
    next_block_ += blocks;
    commit_ = commit;
    co_return co_await write_blocks(first, buffer_.bytes().first(blocks * kBlockBytes));
}

io::Task<int> JournalWriter::write_proof(uint64_t commit, uint64_t generation) {
    AlignedBuffer block(kBlockBytes);
    seal_block(block.data(), next_block_, commit, generation, commit, 0, kProof, 0, 0);
    co_return co_await write_blocks(next_block_, block.bytes());
}

// ---- reading

uint64_t JournalReader::incarnation_at(uint64_t number) const {
    uint64_t incarnation = 0;
    for (const Cut& cut : superblock_.cuts) {
        if (cut.journal_block <= number) incarnation = cut.incarnation;
    }
    return incarnation;
}

std::optional<JournalReader::Header> JournalReader::parse(ConstBytes block, uint64_t number) const {
    const std::byte* p = block.data();
    Header h;
    h.crc = load_le<uint32_t>(p + 4);
    h.number = load_le<uint64_t>(p + 8);
    h.incarnation = load_le<uint64_t>(p + 16);
    h.commit = load_le<uint64_t>(p + 24);
    h.generation = load_le<uint64_t>(p + 32);
    h.proven = load_le<uint64_t>(p + 40);
    h.index = load_le<uint32_t>(p + 48);
    h.flags = load_le<uint16_t>(p + 52);
    h.payload_bytes = load_le<uint16_t>(p + 54);
    h.chain = load_le<uint32_t>(p + 56);
    if (load_le<uint32_t>(p) != kMagic || h.number != number ||
        h.payload_bytes > kJournalPayloadBytes || number >= kCountMax ||
        h.incarnation >= kCountMax || h.commit >= kCountMax || h.generation >= kCountMax) {
        return std::nullopt;
    }
    AlignedBuffer copy(kBlockBytes);
    std::memcpy(copy.data(), p, kBlockBytes);
    store_le(copy.data() + 4, uint32_t{0});
    if (checksums_.block(copy.bytes(), number, h.incarnation) != h.crc) return std::nullopt;
    return h;
}

io::Task<Result<void>> JournalReader::fill_window(uint64_t block) {
    if (window_.size() == 0) window_ = AlignedBuffer(2 * kWindowBlocks * kBlockBytes);
    const uint64_t at = block % ring_blocks_;
    window_first_ = block;
    window_count_ = std::min(kWindowBlocks, ring_blocks_ - at);
    for (size_t copy = 0; copy < 2; ++copy) {
        const MutableBytes half = window_.bytes().subspan(copy * kWindowBlocks * kBlockBytes,
                                                          window_count_ * kBlockBytes);
        const JournalPlace place = places_[copy];
        if (devices_.list[place.device].stale) {
            std::ranges::fill(half, std::byte{0});
            continue;
        }
        if (co_await devices_.read(place.device, place.start + at, half) == 0) continue;
        // Some block of the window is unreadable: take the others one by one.
        for (uint64_t i = 0; i < window_count_; ++i) {
            const MutableBytes one = half.subspan(i * kBlockBytes, kBlockBytes);
            if (co_await devices_.read(place.device, place.start + at + i, one) != 0) {
                std::ranges::fill(one, std::byte{0});
            }
        }
    }
    co_return Result<void>{};
}

io::Task<Result<std::optional<JournalReader::Header>>> JournalReader::read_block(
    uint64_t number, std::vector<std::byte>& payload) {
    if (number < window_first_ || number >= window_first_ + window_count_) {
        CO_TRY(co_await fill_window(number));
    }
    for (size_t copy = 0; copy < 2; ++copy) {
        const ConstBytes block = window_.bytes().subspan(
            (copy * kWindowBlocks + number - window_first_) * kBlockBytes, kBlockBytes);
        const std::optional<Header> header = parse(block, number);
        if (!header) continue;
        if (header->incarnation != incarnation_at(number) && !MUTANT(11)) continue;
        payload.insert(payload.end(), block.begin() + kHeaderBytes,
                       block.begin() + kHeaderBytes + header->payload_bytes);
        co_return header;
    }
    co_return std::optional<Header>{};
}

io::Task<Result<std::optional<ScannedCommit>>> JournalReader::next() {
    ScannedCommit commit;
    commit.number = commit_ + 1;
    commit.first_block = next_;
    uint32_t chain = 0;
    for (uint64_t i = 0; !ended_; ++i) {
        if (i >= ring_blocks_) break;
        CO_TRY_ASSIGN(const std::optional<Header> header,
                      co_await read_block(next_ + i, commit.payload));
        if (!header) break;
        proven_ = std::max(proven_, std::min(header->proven, commit_));
        const bool first = i == 0;
        if ((header->flags & kProof) != 0 || header->commit != commit.number ||
            header->index != i || header->chain != chain ||
            ((header->flags & kFirst) != 0) != first) {
            break;
        }
        chain = header->crc;
        if ((header->flags & kLast) == 0) {
            if (header->payload_bytes != kJournalPayloadBytes) break;
            continue;
        }
        if (commit.payload.size() < kCommitEndBytes) break;
        const size_t body = commit.payload.size() - kCommitEndBytes;
        size_t used = 0;
        Result<Record> end = decode_record(ConstBytes(commit.payload).subspan(body), used);
        if (!end.ok() || !std::holds_alternative<CommitEnd>(*end)) break;
        const CommitEnd& totals = std::get<CommitEnd>(*end);
        if (totals.payload_bytes != body ||
            totals.payload_crc != crc32c(ConstBytes(commit.payload).first(body)) ||
            (totals.first_sequence <= sequence_ && !MUTANT(49)) ||
            totals.last_sequence >= kCountMax || totals.last_sequence + 1 < totals.first_sequence) {
            break;
        }
        commit.payload.resize(body);
        commit.first_sequence = totals.first_sequence;
        commit.last_sequence = totals.last_sequence;
        commit.next_block = next_ + i + 1;
        next_ = commit.next_block;
        commit_ = commit.number;
        sequence_ = totals.last_sequence;
        // A recovery made everything before its cut durable.
        if (commit.next_block <= superblock_.cuts.back().journal_block) {
            proven_ = std::max(proven_, commit.number);
        }
        co_return std::optional<ScannedCommit>(std::move(commit));
    }
    ended_ = true;
    co_return std::optional<ScannedCommit>{};
}

void JournalReader::look_for_damage(const Header& header, uint64_t cut,
                                    std::optional<std::string>& damage) {
    highest_incarnation_ = std::max(highest_incarnation_, header.incarnation);
    if (damage) return;
    if (header.generation > superblock_.generation ||
        header.incarnation > superblock_.incarnation) {
        damage = fmt::format(
            "journal block {} names superblock generation {} and incarnation {}, "
            "the newest found have {} and {}",
            header.number, header.generation, header.incarnation, superblock_.generation,
            superblock_.incarnation);
        return;
    }
    if (header.number < cut || header.incarnation != incarnation_at(header.number)) return;
    // One commit may be in flight beyond the cut; a second one proves that the first was complete
    // once.
    if (header.commit > commit_ + 1 || header.proven > commit_) {
        damage = fmt::format(
            "journal block {} belongs to commit {} and proves commit {}, but "
            "commit {} is missing",
            header.number, header.commit, header.proven, commit_ + 1);
    }
}

io::Task<Result<std::optional<std::string>>> JournalReader::find_damage() {
    // Every place of the ring is looked at once; a place may hold a block of any lap.
    const uint64_t cut = next_;
    std::optional<std::string> damage;
    for (uint64_t i = 0; i < ring_blocks_; ++i) {
        const uint64_t number = cut + i;
        if (number < window_first_ || number >= window_first_ + window_count_) {
            CO_TRY(co_await fill_window(number));
        }
        for (size_t copy = 0; copy < 2; ++copy) {
            const ConstBytes block = window_.bytes().subspan(
                (copy * kWindowBlocks + number - window_first_) * kBlockBytes, kBlockBytes);
            const auto claimed = load_le<uint64_t>(block.data() + 8);
            if (claimed % ring_blocks_ != number % ring_blocks_) continue;
            const std::optional<Header> header = parse(block, claimed);
            if (header) look_for_damage(*header, cut, damage);
        }
    }
    co_return damage;
}

}  // namespace stoa::pool
