#include "dataplane/pool/volume_handle.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "dataplane/pool/commit.h"
#include "dataplane/pool/damage.h"

namespace stoa::pool {

namespace {

constexpr uintptr_t kDirectAlignment = 512;

bool is_aligned(const void* p) { return reinterpret_cast<uintptr_t>(p) % kDirectAlignment == 0; }

}  // namespace

Result<void> VolumeHandle::check(uint64_t offset_bytes, uint64_t length_bytes, bool changes) const {
    const ObjectRecord& record = object_.record;
    if (closing_) {
        return Error(ErrorCode::cancelled, fmt::format("{} is being detached", record.name));
    }
    if (changes && read_only_) {
        return Error(ErrorCode::read_only, fmt::format("{} is attached read-only", record.name));
    }
    if (offset_bytes % kSectorBytes != 0 || length_bytes % kSectorBytes != 0) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("offset {} or length {} in {} is not a multiple of 512",
                                 offset_bytes, length_bytes, record.name));
    }
    if (offset_bytes > record.size_bytes || length_bytes > record.size_bytes - offset_bytes) {
        return Error(ErrorCode::out_of_range,
                     fmt::format("{} bytes at {} reach beyond the end of {} ({} bytes)",
                                 length_bytes, offset_bytes, record.name, record.size_bytes));
    }
    if (changes && !core_.writable()) return core_.read_only_error();
    return {};
}

namespace {

// A request with a payload takes that much memory.
Result<void> check_payload(const ObjectRecord& record, size_t bytes) {
    if (bytes <= kRequestBytesMax) return {};
    return Error(ErrorCode::invalid_argument,
                 fmt::format("a request of {} bytes to {} is too long: at most {}", bytes,
                             record.name, kRequestBytesMax));
}

}  // namespace

// ---- reading

io::Task<void> VolumeHandle::read_run(Location from, MutableBytes into, int& error) {
    error = co_await core_.devices.read(from.device, from.block, into);
}

io::Task<Result<void>> VolumeHandle::read_verified(const Entry& entry, BlockIndex block,
                                                   std::byte* into) {
    // A buffer of its own: who keeps blocks from being reused must not wait for held writes.
    AlignedBuffer bounce(kBlockBytes);
    Result<void> result = co_await core_.blocks.read(entry, bounce.bytes());
    if (!result.ok()) {
        note_damage(core_, object_, block);
        co_return result.error().with_context(
            fmt::format("{} block {}", object_.record.name, block));
    }
    std::memcpy(into, bounce.data(), kBlockBytes);
    co_return result;
}

io::Task<Result<void>> VolumeHandle::read_absent(BlockIndex first, size_t count, std::byte* into) {
    block::Volume* origin =
        core_.options.origins ? core_.options.origins(object_.record.origin) : nullptr;
    if (origin == nullptr) {
        co_return Error(ErrorCode::io,
                        fmt::format("the origin {} of {} is not available",
                                    object_.record.origin.to_string(), object_.record.name));
    }
    co_return co_await read_origin(*origin, first, {into, count * kBlockBytes});
}

io::Task<Result<void>> VolumeHandle::read_blocks(BlockIndex first, size_t count, std::byte* into) {
    // Not while an origin is asked, which may take long: a checkpoint waits for its readers.
    std::optional<ReadGuard> guard;
    guard.emplace(core_);
    Result<Found> found = co_await look_up(core_, object_, first);
    if (!found.ok()) {
        if (found.error().code() == ErrorCode::corrupt) note_lost_node(core_, object_, first);
        co_return found.take_error();
    }
    struct Piece {
        size_t at;
        size_t count;
        int error;
    };
    std::array<Entry, kFanout> entries;
    for (size_t i = 0; i < count; ++i) entries[i] = found->entry(first + i);
    std::vector<Piece> pieces;
    std::vector<Piece> absent;
    const bool asks = asks_origin(object_.record);
    for (size_t i = 0; i < count;) {
        const Entry entry = entries[i];
        size_t end = i + 1;
        if (entry.kind() == EntryKind::data) {
            if (!core_.regions.is_plausible(entry.address(), RegionClass::data)) {
                co_return Error(ErrorCode::corrupt,
                                fmt::format("the map of {} names block {}, where no data can be",
                                            object_.record.name, entry.address()));
            }
            while (end < count && entries[end].kind() == EntryKind::data &&
                   entries[end].address() == entry.address() + (end - i)) {
                ++end;
            }
            if (i == 0 && end == count) {
                const Location from = core_.regions.locate(entry.address(), 0);
                const int error = co_await core_.devices.read(from.device, from.block,
                                                              {into, count * kBlockBytes});
                if (error != 0) std::memset(into, 0, count * kBlockBytes);
            } else {
                pieces.push_back({i, end - i, 0});
            }
        } else if (entry.kind() == EntryKind::damaged) {
            note_damage(core_, object_, first + i);
            co_return Error(ErrorCode::corrupt,
                            fmt::format("{} block {} is damaged", object_.record.name, first + i));
        } else if (entry.kind() == EntryKind::hole) {
            std::memset(into + i * kBlockBytes, 0, kBlockBytes);
        } else {
            while (end < count && entries[end].kind() == EntryKind::absent) ++end;
            if (asks) absent.push_back({i, end - i, 0});
            else std::memset(into + i * kBlockBytes, 0, (end - i) * kBlockBytes);
        }
        i = end;
    }
    if (!pieces.empty()) {
        io::TaskGroup group(core_.executor);
        for (Piece& piece : pieces) {
            group.spawn(read_run(core_.regions.locate(entries[piece.at].address(), 0),
                                 {into + piece.at * kBlockBytes, piece.count * kBlockBytes},
                                 piece.error));
        }
        co_await group.join();
    }
    for (size_t i = 0; i < count; ++i) {
        if (entries[i].kind() != EntryKind::data) continue;
        if (core_.blocks.verifies(entries[i], {into + i * kBlockBytes, kBlockBytes})) continue;
        if (MUTANT(20)) continue;  // a wrong checksum is ignored
        CO_TRY(co_await read_verified(entries[i], first + i, into + i * kBlockBytes));
    }
    guard.reset();
    for (const Piece& piece : absent) {
        // Hydrated meanwhile: what was absent is no longer.
        if (!asks_origin(object_.record)) co_return co_await read_blocks(first, count, into);
        CO_TRY(co_await read_absent(first + piece.at, piece.count, into + piece.at * kBlockBytes));
    }
    co_return Result<void>{};
}

io::Task<Result<void>> VolumeHandle::read(uint64_t offset_bytes, MutableBytes into) {
    CO_TRY(check(offset_bytes, into.size(), false));
    CO_TRY(check_payload(object_.record, into.size()));
    const Operation operation(*this);
    std::byte* to = into.data();
    uint64_t offset = offset_bytes;
    uint64_t left = into.size();
    while (left > 0) {
        const BlockIndex first = offset / kBlockBytes;
        const uint64_t skip = offset % kBlockBytes;
        const uint64_t leaf_end = (first / kFanout + 1) * kFanout * kBlockBytes;
        uint64_t take = std::min(left, leaf_end - offset);
        const bool direct = skip == 0 && take >= kBlockBytes && is_aligned(to);
        if (direct) {
            take -= take % kBlockBytes;
            CO_TRY(co_await read_blocks(first, take / kBlockBytes, to));
        } else {
            const uint64_t count = (skip + take + kBlockBytes - 1) / kBlockBytes;
            BouncePool::Buffer bounce = co_await core_.bounce.acquire(count * kBlockBytes);
            CO_TRY(co_await read_blocks(first, count, bounce.data()));
            std::memcpy(to, bounce.data() + skip, take);
        }
        to += take;
        offset += take;
        left -= take;
    }
    co_return Result<void>{};
}

// ---- writing

io::Task<Result<void>> VolumeHandle::write_blocks(BlockIndex first, size_t count,
                                                  const std::byte* from) {
    // Zeros take no block: they go the way of a discard, also in a full pool.
    if (!is_zero({from, count * kBlockBytes})) {
        CO_TRY(co_await hold_while_full(core_, object_, count, closing_, when_full_));
    }
    BouncePool::Buffer bounce = core_.bounce.ready(count * kBlockBytes)
                                    ? core_.bounce.take_now(count * kBlockBytes)
                                    : co_await core_.bounce.acquire(count * kBlockBytes);
    std::memcpy(bounce.data(), from, count * kBlockBytes);
    MapChange change;
    change.first = first;
    change.count = count;
    change.content = bounce.data();
    CO_TRY(co_await store_blocks(core_, object_, change, closing_, when_full_));
    change.give_up = &closing_;
    core_.data_since_commit += count * kBlockBytes;
    Result<MapChangeResult> done = co_await change_map(core_, object_, change);
    while (!done.ok() && done.error().code() == ErrorCode::no_space &&
           when_full_ == WhenFull::hold) {
        // Zeros, for which even the reserve has no map nodes: held like any other write.
        CO_TRY(co_await hold_while_full(core_, object_, 1, closing_, when_full_));
        done = co_await change_map(core_, object_, change);
    }
    CO_TRY(done);
    if (object_.damage_count > 0) co_await clear_damage(core_, object_, first, count);
    co_return Result<void>{};
}

io::Task<Result<void>> VolumeHandle::write_partial(uint64_t offset_bytes, ConstBytes from) {
    const BlockIndex block = offset_bytes / kBlockBytes;
    CO_TRY(co_await hold_while_full(core_, object_, 1, closing_, when_full_));
    BouncePool::Buffer bounce = co_await core_.bounce.acquire(kBlockBytes);
    for (;;) {
        CO_TRY_ASSIGN(const Found found, co_await look_up(core_, object_, block));
        const Entry seen = found.entry(block);
        CO_TRY(co_await read_blocks(block, 1, bounce.data()));
        std::memcpy(bounce.data() + offset_bytes % kBlockBytes, from.data(), from.size());
        MapChange change;
        change.first = block;
        change.count = 1;
        change.content = bounce.data();
        change.give_up = &closing_;
        if (!MUTANT(21)) change.expected = &seen;
        CO_TRY(co_await store_blocks(core_, object_, change, closing_, when_full_));
        CO_TRY_ASSIGN(const MapChangeResult done, co_await change_map(core_, object_, change));
        if (done.skipped == 0) break;
    }
    if (object_.damage_count > 0) co_await clear_damage(core_, object_, block, 1);
    co_return Result<void>{};
}

io::Task<Result<void>> VolumeHandle::write_range(uint64_t offset_bytes, ConstBytes from) {
    uint64_t offset = offset_bytes;
    while (!from.empty()) {
        const BlockIndex first = offset / kBlockBytes;
        const uint64_t skip = offset % kBlockBytes;
        uint64_t take = 0;
        if (skip != 0 || from.size() < kBlockBytes) {
            take = std::min<uint64_t>(from.size(), kBlockBytes - skip);
            CO_TRY(co_await write_partial(offset, from.first(take)));
        } else {
            const uint64_t leaf_end = (first / kFanout + 1) * kFanout * kBlockBytes;
            take = std::min<uint64_t>(from.size(), leaf_end - offset);
            take -= take % kBlockBytes;
            CO_TRY(co_await write_blocks(first, take / kBlockBytes, from.data()));
        }
        offset += take;
        from = from.subspan(take);
    }
    co_return Result<void>{};
}

io::Task<Result<void>> VolumeHandle::write(uint64_t offset_bytes, ConstBytes from,
                                           block::WriteOptions options) {
    CO_TRY(check(offset_bytes, from.size(), true));
    CO_TRY(check_payload(object_.record, from.size()));
    const Operation operation(*this);
    CO_TRY(co_await write_range(offset_bytes, from));
    if (options.force_unit_access) CO_TRY(co_await make_durable(core_, &closing_));
    co_return Result<void>{};
}

io::Task<Result<void>> VolumeHandle::flush() {
    CO_TRY(check(0, 0, false));
    const Operation operation(*this);
    if (core_.options.read_only) co_return Result<void>{};
    co_return co_await make_durable(core_, &closing_);
}

io::Task<Result<void>> VolumeHandle::discard(uint64_t offset_bytes, uint64_t length_bytes) {
    CO_TRY(check(offset_bytes, length_bytes, true));
    const Operation operation(*this);
    // Whole blocks only; the volume's last block counts as whole when the range reaches the end.
    const BlockIndex first = (offset_bytes + kBlockBytes - 1) / kBlockBytes;
    const uint64_t end_bytes = offset_bytes + length_bytes;
    const BlockIndex end = end_bytes == object_.record.size_bytes ? object_.record.size_blocks()
                                                                  : end_bytes / kBlockBytes;
    if (end <= first) co_return Result<void>{};
    co_return co_await punch_holes(core_, object_, first, end - first, false, &closing_);
}

io::Task<Result<void>> VolumeHandle::write_zeroes(uint64_t offset_bytes, uint64_t length_bytes,
                                                  block::ZeroOptions options) {
    CO_TRY(check(offset_bytes, length_bytes, true));
    const Operation operation(*this);
    static constexpr std::array<std::byte, kBlockBytes> kZeros{};
    uint64_t offset = offset_bytes;
    uint64_t left = length_bytes;
    while (left > 0) {
        const uint64_t skip = offset % kBlockBytes;
        uint64_t take = 0;
        if (skip != 0 || left < kBlockBytes) {
            take = std::min(left, kBlockBytes - skip);
            CO_TRY(co_await write_partial(offset, ConstBytes(kZeros).first(take)));
        } else {
            take = left - left % kBlockBytes;
            CO_TRY(co_await punch_holes(core_, object_, offset / kBlockBytes, take / kBlockBytes,
                                        false, &closing_));
        }
        offset += take;
        left -= take;
    }
    if (options.force_unit_access) CO_TRY(co_await make_durable(core_, &closing_));
    co_return Result<void>{};
}

io::Task<Result<std::vector<block::Extent>>> VolumeHandle::extents(uint64_t offset_bytes,
                                                                   uint64_t length_bytes,
                                                                   size_t extents_max) {
    CO_TRY(check(offset_bytes, length_bytes, false));
    const Operation operation(*this);
    std::vector<block::Extent> extents;
    const uint64_t end = offset_bytes + length_bytes;
    uint64_t offset = offset_bytes;
    while (offset < end) {
        const BlockIndex block = offset / kBlockBytes;
        CO_TRY_ASSIGN(const Found found, co_await look_up(core_, object_, block));
        const Entry entry = found.entry(block);
        block::ExtentKind kind = block::ExtentKind::absent;
        if (entry.kind() == EntryKind::hole) kind = block::ExtentKind::hole;
        else if (entry.kind() == EntryKind::data) kind = block::ExtentKind::data;
        else if (entry.kind() == EntryKind::damaged) kind = block::ExtentKind::damaged;
        const BlockIndex next = found.leaf != nullptr ? block + 1 : found.end(block);
        const uint64_t until = std::min(end, next * kBlockBytes);
        if (!extents.empty() && extents.back().kind == kind) {
            extents.back().length_bytes += until - offset;
        } else {
            if (extents.size() == extents_max) break;
            extents.push_back({offset, until - offset, kind});
        }
        offset = until;
    }
    co_return extents;
}

io::Task<Result<void>> zero_tail(Core& core, Object& object) {
    static constexpr std::array<std::byte, kBlockBytes> kZeros{};
    VolumeHandle handle(core, object, false, WhenFull::fail);
    const uint64_t size = object.record.size_bytes;
    co_return co_await handle.write_partial(
        size, ConstBytes(kZeros).first(kBlockBytes - size % kBlockBytes));
}

io::Task<void> VolumeHandle::close() {
    closing_ = true;
    core_.wake_writers();
    if (MUTANT(22)) co_return;  // does not wait for writes in flight
    while (in_flight_ > 0) co_await idle_.wait();
}

}  // namespace stoa::pool
