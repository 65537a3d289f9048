// What a server has done, for metrics. Written by its thread, read by it too.
#pragma once

#include <array>
#include <bit>
#include <cstdint>

#include "dataplane/serve/nbd/wire.h"

namespace stoa::nbd {

// Bucket i counts what took less than 2^i microseconds (the last: everything else).
class LatencyHistogram {
public:
    static constexpr size_t kBuckets = 28;  // up to 67 s

    void add(uint64_t duration_ns) {
        const auto bucket = static_cast<size_t>(std::bit_width(duration_ns / 1000));
        ++buckets_[bucket < kBuckets ? bucket : kBuckets - 1];
        sum_ns_ += duration_ns;
    }
    [[nodiscard]] const std::array<uint64_t, kBuckets>& buckets() const { return buckets_; }
    [[nodiscard]] uint64_t sum_ns() const { return sum_ns_; }

private:
    std::array<uint64_t, kBuckets> buckets_{};
    uint64_t sum_ns_ = 0;
};

struct Counters {
    struct Operations {
        uint64_t bytes = 0;
        uint64_t errors = 0;
        LatencyHistogram latency;
    };
    std::array<Operations, kCommands> operations;  // by Command
    uint64_t in_flight = 0;
    uint64_t connections = 0;        // now
    uint64_t connections_total = 0;  // ever
    uint64_t handshakes_failed = 0;
    uint64_t refused = 0;  // connections beyond the limits
};

// The last operations of a server, to be dumped on demand.
class OperationTrace {
public:
    struct Entry {
        uint64_t ended_ns = 0;  // monotonic
        uint64_t offset_bytes = 0;
        uint32_t length_bytes = 0;
        uint32_t duration_us = 0;
        uint32_t connection = 0;
        Command command = Command::read;
        uint16_t error = 0;  // WireError
    };
    static constexpr size_t kEntries = 1024;

    void add(const Entry& entry) { entries_[next_++ % kEntries] = entry; }
    // The oldest first.
    template <class Visit>
    void visit(Visit&& each) const {
        const uint64_t first = next_ > kEntries ? next_ - kEntries : 0;
        for (uint64_t i = first; i < next_; ++i) each(entries_[i % kEntries]);
    }

private:
    std::array<Entry, kEntries> entries_{};
    uint64_t next_ = 0;
};

}  // namespace stoa::nbd
