// For tests: a volume in memory that can be slow, full, damaged or read-only when told to.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "dataplane/block/volume.h"
#include "dataplane/io/sync.h"

namespace stoa::nbd {

// Absent everywhere at first; reads zero where it is not data.
class TestVolume final : public block::Volume {
public:
    static constexpr uint64_t kBlock = 4096;

    TestVolume(io::Executor& executor, uint64_t size_bytes)
        : bytes_(size_bytes), kinds_(size_bytes / kBlock), released_(executor) {}

    // ---- what a test sets
    bool is_read_only = false;
    std::optional<ErrorCode> error;  // of every operation
    // Operations begun while it is true wait for release().
    bool held = false;
    void release() {
        held = false;
        released_.notify_all();
    }
    void mark(uint64_t offset_bytes, uint64_t length_bytes, block::ExtentKind kind) {
        for (uint64_t at = offset_bytes; at < offset_bytes + length_bytes; at += kBlock) {
            kinds_.at(at / kBlock) = kind;
        }
    }

    // ---- what a test looks at
    std::vector<std::string> calls;  // every one, in order, as "write 4096+512 fua"
    uint64_t running = 0;
    [[nodiscard]] MutableBytes bytes() { return bytes_; }

    // ---- Volume
    [[nodiscard]] uint64_t size_bytes() const override { return bytes_.size(); }
    [[nodiscard]] bool read_only() const override { return is_read_only; }
    io::Task<Result<void>> read(uint64_t offset_bytes, MutableBytes into) override {
        CO_TRY(co_await begin("read", offset_bytes, into.size(), false));
        for (uint64_t at = offset_bytes; at < offset_bytes + into.size(); at += 512) {
            if (kinds_.at(at / kBlock) == block::ExtentKind::damaged) {
                co_return Error(ErrorCode::corrupt, "block " + std::to_string(at / kBlock));
            }
        }
        std::memcpy(into.data(), bytes_.data() + offset_bytes, into.size());
        co_return Result<void>{};
    }
    io::Task<Result<void>> write(uint64_t offset_bytes, ConstBytes from,
                                 block::WriteOptions options) override {
        CO_TRY(co_await begin("write", offset_bytes, from.size(), options.force_unit_access));
        std::memcpy(bytes_.data() + offset_bytes, from.data(), from.size());
        cover(offset_bytes, from.size(), block::ExtentKind::data);
        co_return Result<void>{};
    }
    io::Task<Result<void>> flush() override { co_return co_await begin("flush", 0, 0, false); }
    io::Task<Result<void>> discard(uint64_t offset_bytes, uint64_t length_bytes) override {
        CO_TRY(co_await begin("discard", offset_bytes, length_bytes, false));
        zero_blocks(offset_bytes, length_bytes);
        co_return Result<void>{};
    }
    io::Task<Result<void>> write_zeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                        block::ZeroOptions options) override {
        CO_TRY(co_await begin("zero", offset_bytes, length_bytes, options.force_unit_access));
        std::memset(bytes_.data() + offset_bytes, 0, length_bytes);
        zero_blocks(offset_bytes, length_bytes);
        co_return Result<void>{};
    }
    io::Task<Result<std::vector<block::Extent>>> extents(uint64_t offset_bytes,
                                                         uint64_t length_bytes,
                                                         size_t extents_max) override {
        CO_TRY(co_await begin("extents", offset_bytes, length_bytes, false));
        std::vector<block::Extent> result;
        const uint64_t end = offset_bytes + length_bytes;
        for (uint64_t at = offset_bytes; at < end;) {
            const uint64_t until = std::min(end, (at / kBlock + 1) * kBlock);
            const block::ExtentKind kind = kinds_.at(at / kBlock);
            if (!result.empty() && result.back().kind == kind) {
                result.back().length_bytes += until - at;
            } else if (result.size() == extents_max) {
                break;
            } else {
                result.push_back({at, until - at, kind});
            }
            at = until;
        }
        co_return result;
    }

private:
    io::Task<Result<void>> begin(std::string_view what, uint64_t offset_bytes,
                                 uint64_t length_bytes, bool fua) {
        std::string call(what);
        if (length_bytes > 0) {
            call += " " + std::to_string(offset_bytes) + "+" + std::to_string(length_bytes);
        }
        calls.push_back(call + (fua ? " fua" : ""));
        CHECK(offset_bytes % 512 == 0 && length_bytes % 512 == 0);
        CHECK(length_bytes <= bytes_.size() && offset_bytes <= bytes_.size() - length_bytes);
        ++running;
        while (held) co_await released_.wait();
        --running;
        if (error) co_return Error(*error, "told to fail");
        co_return Result<void>{};
    }
    void cover(uint64_t offset_bytes, uint64_t length_bytes, block::ExtentKind kind) {
        for (uint64_t at = offset_bytes; at < offset_bytes + length_bytes; at += 512) {
            kinds_.at(at / kBlock) = kind;
        }
    }
    void zero_blocks(uint64_t offset_bytes, uint64_t length_bytes) {
        const uint64_t first = (offset_bytes + kBlock - 1) / kBlock;
        const uint64_t last = (offset_bytes + length_bytes) / kBlock;
        for (uint64_t block = first; block < last; ++block) {
            std::memset(bytes_.data() + block * kBlock, 0, kBlock);
            kinds_.at(block) = block::ExtentKind::hole;
        }
    }

    std::vector<std::byte> bytes_;
    std::vector<block::ExtentKind> kinds_;
    io::Condition released_;
};

}  // namespace stoa::nbd
