#include "dataplane/pool/record_log.h"

#include <algorithm>
#include <atomic>
#include <cstring>

#include "base/crc32c.h"
#include "base/mutant.h"

namespace stoa::pool {

namespace {

constexpr char kMagic[] = "STOAACK1";

void publish(std::byte* at, uint64_t value) {
    // The process may die between any two instructions; what is before must be in memory first.
    std::atomic_ref<uint64_t>(*reinterpret_cast<uint64_t*>(at))
        .store(value, std::memory_order_release);
}

}  // namespace

RecordLog::RecordLog(io::SharedMemory* memory, size_t private_bytes, const Checksums& checksums)
    : checksums_(checksums) {
    if (memory != nullptr && memory->bytes().size() > 2 * kHeaderBytes) {
        base_ = memory->bytes().data();
        capacity_ = memory->bytes().size() - kHeaderBytes;
        return;
    }
    private_.reset(static_cast<std::byte*>(std::calloc(1, kHeaderBytes + private_bytes)));
    CHECK(private_ != nullptr);
    base_ = private_.get();
    capacity_ = private_bytes;
}

void RecordLog::write_ring(uint64_t position, ConstBytes from) {
    const size_t at = position % capacity_;
    const size_t first = std::min(from.size(), capacity_ - at);
    std::memcpy(base_ + kHeaderBytes + at, from.data(), first);
    std::memcpy(base_ + kHeaderBytes, from.data() + first, from.size() - first);
}

void RecordLog::read_ring(uint64_t position, MutableBytes into) const {
    const size_t at = position % capacity_;
    const size_t first = std::min(into.size(), capacity_ - at);
    std::memcpy(into.data(), base_ + kHeaderBytes + at, first);
    std::memcpy(into.data() + first, base_ + kHeaderBytes, into.size() - first);
}

RecordLog::Leftover RecordLog::leftover(const Uuid& pool, uint64_t incarnation) const {
    Leftover found;
    const bool ours = std::memcmp(base_, kMagic, 8) == 0 &&
                      std::memcmp(base_ + 8, pool.bytes.data(), 16) == 0 &&
                      load_le<uint64_t>(base_ + 24) == incarnation &&
                      load_le<uint64_t>(base_ + 32) == capacity_ &&
                      load_le<uint32_t>(base_ + 64) == crc32c({base_, 40});
    if (!ours) return found;
    const auto head = load_le<uint64_t>(base_ + 40);
    uint64_t position = load_le<uint64_t>(base_ + 48);
    if (head < position || head - position > capacity_) return found;
    found.present = true;
    uint64_t expected = 0;
    while (position < head) {
        std::byte frame[kFrameBytes];
        if (head - position < kFrameBytes) break;
        read_ring(position, frame);
        const auto length = load_le<uint32_t>(frame);
        const auto sequence = load_le<uint64_t>(frame + 8);
        if (length == 0 || length > head - position - kFrameBytes) break;
        if (expected != 0 && sequence != expected) break;
        std::vector<std::byte> record(length);
        read_ring(position + kFrameBytes, record);
        if (checksums_.block(record, sequence, incarnation) != load_le<uint32_t>(frame + 4)) break;
        if (expected == 0) found.first_sequence = sequence;
        expected = sequence + 1;
        found.records.push_back(std::move(record));
        position += kFrameBytes + length;
    }
    return found;
}

void RecordLog::start(const Uuid& pool, uint64_t incarnation, uint64_t next_sequence) {
    // The magic goes first and comes back last: a half-written header belongs to nobody.
    std::memset(base_, 0, 8);
    std::atomic_signal_fence(std::memory_order_seq_cst);
    std::memcpy(base_ + 8, pool.bytes.data(), 16);
    store_le(base_ + 24, incarnation);
    store_le(base_ + 32, uint64_t{capacity_});
    store_le(base_ + 40, uint64_t{0});
    store_le(base_ + 48, uint64_t{0});
    std::byte header[40];
    std::memcpy(header, kMagic, 8);
    std::memcpy(header + 8, base_ + 8, 32);
    store_le(base_ + 64, crc32c(header));
    std::atomic_thread_fence(std::memory_order_release);
    std::memcpy(base_, kMagic, 8);
    head_ = 0;
    tail_ = 0;
    next_sequence_ = next_sequence;
    incarnation_ = incarnation;
}

void RecordLog::append(ConstBytes record) {
    CHECK(fits(record.size()));
    std::byte frame[kFrameBytes];
    store_le(frame, static_cast<uint32_t>(record.size()));
    store_le(frame + 4, checksums_.block(record, next_sequence_, incarnation_));
    store_le(frame + 8, next_sequence_);
    write_ring(head_, frame);
    write_ring(head_ + kFrameBytes, record);
    head_ += kFrameBytes + record.size();
    ++next_sequence_;
    if (MUTANT(9)) return;  // acknowledged without being published
    publish(base_ + 40, head_);
}

uint64_t RecordLog::copy_out(uint64_t& position, size_t bytes_max,
                             std::vector<std::byte>& out) const {
    uint64_t records = 0;
    const size_t start = out.size();
    while (position < head_) {
        std::byte frame[kFrameBytes];
        read_ring(position, frame);
        const auto length = load_le<uint32_t>(frame);
        if (records > 0 && out.size() - start + length > bytes_max) break;
        const size_t at = out.size();
        out.resize(at + length);
        read_ring(position + kFrameBytes, MutableBytes(out).subspan(at));
        position += kFrameBytes + length;
        ++records;
    }
    return records;
}

void RecordLog::trim(uint64_t position) {
    tail_ = position;
    publish(base_ + 48, position);
}

}  // namespace stoa::pool
