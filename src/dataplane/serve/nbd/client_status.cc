// What is where in an export, by its metadata contexts. Part of NbdClient.
#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "dataplane/serve/nbd/client.h"
#include "dataplane/serve/nbd/client_link.h"

namespace stoa::nbd {

namespace {

constexpr uint64_t kStatusBytesMax = uint64_t{1} << 31;

// Boundaries of a server that lie within a sector: `joined` says what the sector is then. What is
// known of a sector in part only, at the end, is left out.
template <class Join>
std::vector<StatusRange> to_sectors(const std::vector<StatusRange>& ranges, uint64_t begin,
                                    uint64_t end, Join&& joined) {
    std::vector<StatusRange> result;
    const auto append = [&](uint64_t from, uint64_t to, uint32_t flags) {
        if (from >= to) return;
        if (!result.empty() && result.back().flags == flags)
            result.back().length_bytes += to - from;
        else result.push_back({from, to - from, flags});
    };
    std::optional<uint32_t> partial;  // flags of the sector at the end of what was appended
    for (const StatusRange& each : ranges) {
        uint64_t from = std::max(each.offset_bytes, begin);
        const uint64_t to = std::min(each.offset_bytes + each.length_bytes, end);
        if (from >= to) continue;
        if (partial) {
            const uint64_t sector = round_down(from, kBlockBytesMin);
            partial = joined(*partial, each.flags);
            if (to < sector + kBlockBytesMin) continue;
            append(sector, sector + kBlockBytesMin, *partial);
            partial.reset();
            from = sector + kBlockBytesMin;
        }
        append(from, round_down(to, kBlockBytesMin), each.flags);
        if (to % kBlockBytesMin != 0) partial = each.flags;
    }
    return result;
}

}  // namespace

io::Task<Result<std::vector<StatusRange>>> NbdClient::status(size_t context, uint64_t offset_bytes,
                                                             uint64_t length_bytes,
                                                             size_t ranges_max) {
    const uint64_t begin = round_down(offset_bytes, grain_bytes_);
    const uint64_t end =
        std::min(round_up(offset_bytes + length_bytes, grain_bytes_), begin + kStatusBytesMax);
    std::vector<StatusRange> ranges;
    ClientRequest request;
    request.command = Command::block_status;
    request.offset_bytes = begin;
    request.length_bytes = static_cast<uint32_t>(end - begin);
    request.context = context;
    // Some may be for the sectors before what is wanted, or be joined.
    request.ranges_max = ranges_max + grain_bytes_ / kBlockBytesMin;
    request.ranges = &ranges;
    CO_TRY(co_await link_->perform(request));
    const bool is_allocation = context == 0;
    auto sectors = to_sectors(
        ranges, offset_bytes, offset_bytes + length_bytes,
        [&](uint32_t one, uint32_t other) { return is_allocation ? one & other : one | other; });
    if (sectors.size() > ranges_max) sectors.resize(ranges_max);
    if (sectors.empty()) {
        if (!is_allocation) {
            co_return Error(ErrorCode::io,
                            fmt::format("export \"{}\": context {} says nothing of offset {}",
                                        options_.export_name, contexts_[context], offset_bytes));
        }
        sectors.push_back({offset_bytes, kBlockBytesMin, 0});
    }
    co_return std::move(sectors);
}

bool NbdClient::has_context(std::string_view context) const {
    const auto found = std::ranges::find(contexts_, context);
    if (found == contexts_.end()) return false;
    return link_->offer().context_ids[static_cast<size_t>(found - contexts_.begin())].has_value();
}

io::Task<Result<std::vector<block::Extent>>> NbdClient::extents(uint64_t offset_bytes,
                                                                uint64_t length_bytes,
                                                                size_t extents_max) {
    CO_TRY(check(offset_bytes, length_bytes, false));
    const Running running(*this);
    std::vector<block::Extent> result;
    if (length_bytes == 0 || extents_max == 0) co_return std::move(result);
    if (!has_context(kBaseAllocation)) {
        result.push_back({offset_bytes, length_bytes, block::ExtentKind::data});
        co_return std::move(result);
    }
    CO_TRY_ASSIGN(const auto ranges, co_await status(0, offset_bytes, length_bytes, extents_max));
    for (const StatusRange& each : ranges) {
        const auto kind =
            (each.flags & kStatusZero) != 0 ? block::ExtentKind::hole : block::ExtentKind::data;
        if (!result.empty() && result.back().kind == kind) {
            result.back().length_bytes += each.length_bytes;
        } else {
            result.push_back({each.offset_bytes, each.length_bytes, kind});
        }
    }
    co_return std::move(result);
}

io::Task<Result<std::vector<StatusRange>>> NbdClient::changed(std::string context,
                                                              uint64_t offset_bytes,
                                                              uint64_t length_bytes,
                                                              size_t ranges_max) {
    CO_TRY(check(offset_bytes, length_bytes, false));
    const Running running(*this);
    if (!has_context(context)) {
        co_return Error(ErrorCode::unsupported,
                        fmt::format("export \"{}\": the server does not know context {}",
                                    options_.export_name, context));
    }
    if (length_bytes == 0 || ranges_max == 0) co_return std::vector<StatusRange>{};
    const auto place = std::ranges::find(contexts_, context) - contexts_.begin();
    co_return co_await status(static_cast<size_t>(place), offset_bytes, length_bytes, ranges_max);
}

}  // namespace stoa::nbd
