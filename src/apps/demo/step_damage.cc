// A byte of data is damaged in a file, then one of the map: the first is reported for its range
// alone, the second is repaired from its other copy.
#include <charconv>

#include "apps/demo/steps.h"

namespace stoa::apps::demo {

namespace {

// A block that only database holds, so that one range is damaged and not two.
io::Task<Result<uint64_t>> find_own_block(Tour& tour) {
    for (const uint64_t block : tour.database_monday.differences(tour.database_now)) {
        CO_TRY_ASSIGN(const auto at,
                      co_await tour.pool().explain(tour.database, block * kBlockBytes));
        if (at.kind == block::ExtentKind::data && at.shared_with.empty()) co_return block;
    }
    co_return Error(ErrorCode::not_found, "database has no block of its own");
}

io::Task<Result<void>> read_around(Tour& tour, uint64_t damaged) {
    CO_TRY_ASSIGN(block::Volume * volume, co_await tour.pool().attach(tour.database, true));
    AlignedBuffer buffer(kBlockBytes);
    uint64_t wrong = 0;
    for (uint64_t block = 0; block < tour.database_now.blocks(); ++block) {
        const auto result = co_await volume->read(block * kBlockBytes, buffer.bytes());
        if (block == damaged) {
            if (result.ok()) ++wrong;
            else tour.say("read of block {}: {}", block, result.error().message());
        } else if (!result.ok() || !tour.database_now.holds(block, buffer.bytes())) {
            ++wrong;
        }
    }
    co_await tour.pool().detach(volume);
    co_return tour.check(wrong == 0,
                         fmt::format("block {} gives an error, all others their content", damaged),
                         fmt::format("{} blocks behave otherwise", wrong));
}

io::Task<Result<void>> scrub(Tour& tour, uint64_t damaged_expected) {
    CO_TRY_ASSIGN(const auto report, co_await tour.pool().scrub({}));
    tour.say("scrub: {} blocks read, {} damaged.", report.blocks_checked, report.blocks_damaged);
    co_return tour.check(report.blocks_damaged == damaged_expected,
                         fmt::format("scrub finds exactly {} damaged", damaged_expected));
}

}  // namespace

io::Task<Result<void>> step_damaged_data(Tour& tour) {
    tour.narrator.title("One byte of data goes bad");
    CO_TRY_ASSIGN(const uint64_t block, co_await find_own_block(tour));
    CO_TRY_ASSIGN(const auto at, co_await tour.pool().explain(tour.database, block * kBlockBytes));
    tour.say("explain: block {} of database lies in file {} at byte {}, checksum {:08x}.", block,
             at.device, at.device_offset_bytes, at.crc);
    CO_TRY(flip_byte(at.device, at.device_offset_bytes + 1'234));
    tour.say("One bit of it is turned over in the file, behind the pool's back.");
    CO_TRY(co_await read_around(tour, block));
    CO_TRY(co_await scrub(tour, 1));
    const auto damage = tour.pool().damage();
    for (const auto& range : damage) {
        tour.say("damage list: {} bytes at {} of {}", range.length_bytes, range.offset_bytes,
                 range.object == tour.database ? "database" : range.object.to_string());
    }
    CO_TRY(tour.check(damage.size() == 1 && damage[0].object == tour.database &&
                          damage[0].offset_bytes == block * kBlockBytes &&
                          damage[0].length_bytes == kBlockBytes,
                      "the damage list names this block of database and nothing else"));
    tour.say("Writing the block anew heals it:");
    CO_TRY_ASSIGN(block::Volume * volume, co_await tour.pool().attach(tour.database, false));
    CO_TRY(co_await write_version(*volume, tour.database_now, block, 1, ++tour.version));
    CO_TRY(co_await volume->flush());
    co_await tour.pool().detach(volume);
    CO_TRY(tour.check(tour.pool().damage().empty(), "the damage list is empty"));
    CO_TRY(co_await scrub(tour, 0));
    co_return Result<void>{};
}

namespace {

// ---- what `stoa-pool dump` prints: one JSON object a line

// The number behind `key` (as it stands in the text) at or after `from`.
Result<uint64_t> number_after(std::string_view text, std::string_view key, size_t from = 0) {
    const size_t at = text.find(key, from);
    uint64_t value = 0;
    const char* begin = at == std::string_view::npos ? nullptr : text.data() + at + key.size();
    if (begin == nullptr ||
        std::from_chars(begin, text.data() + text.size(), value).ec != std::errc()) {
        return Error(ErrorCode::not_found, fmt::format("stoa-pool dump: no {} in {}", key, text));
    }
    return value;
}

Result<std::string_view> find_line(std::string_view dump, std::string_view start,
                                   std::string_view part) {
    for (size_t at = 0; at < dump.size();) {
        const size_t end = std::min(dump.find('\n', at), dump.size());
        const std::string_view line = dump.substr(at, end - at);
        if (line.starts_with(start) && line.find(part) != std::string_view::npos) return line;
        at = end + 1;
    }
    return Error(ErrorCode::not_found, fmt::format("stoa-pool dump: no line {}...{}", start, part));
}

struct Place {
    uint64_t device = 0;
    uint64_t offset_bytes = 0;
};

// The first copy of the root node of volume database.
Result<Place> find_root_node(std::string_view dump) {
    TRY_ASSIGN(const auto label, find_line(dump, "{\"type\":\"label\"", ""));
    TRY_ASSIGN(const uint64_t region_blocks, number_after(label, "\"region_blocks\":"));
    TRY_ASSIGN(const uint64_t data_start, number_after(label, "\"data_start\":"));
    TRY_ASSIGN(const auto volume, find_line(dump, "{\"type\":\"object\"", "\"name\":\"database\""));
    TRY_ASSIGN(const uint64_t address,
               number_after(volume, "\"address\":", volume.find("\"root\":")));
    TRY_ASSIGN(const auto region,
               find_line(dump, "{\"type\":\"region\"",
                         fmt::format("\"number\":{},", address / region_blocks)));
    TRY_ASSIGN(const uint64_t places, number_after(region, "\"places\":[{\"device\":"));
    TRY_ASSIGN(const uint64_t physical, number_after(region, "\"physical\":"));
    const uint64_t block = data_start + physical * region_blocks + address % region_blocks;
    return Place{places, block * kBlockBytes};
}

}  // namespace

io::Task<Result<void>> step_damaged_map(Tour& tour) {
    tour.narrator.title("One byte of the map goes bad");
    tour.say(
        "Maps have two copies, on different disks where there are two. The pool is closed, "
        "and the\nroot of database's map is found with `stoa-pool dump --nodes`.");
    CO_TRY(co_await tour.close());
    CO_TRY_ASSIGN(const std::string dump, tour.ask_tool({"dump", "--nodes", "d0", "d1"}));
    CO_TRY_ASSIGN(const Place place, find_root_node(dump));
    const std::string file = tour.workspace.files()[place.device];
    CO_TRY(flip_byte(file, place.offset_bytes + 8));
    tour.say("One bit of its first copy, in {} at byte {}, is turned over.", file,
             place.offset_bytes);
    CO_TRY(tour.run_tool({"fsck", "d0", "d1"}, 3));
    CO_TRY(co_await tour.open());
    tour.say("The pool is opened and read:");
    CO_TRY(co_await tour.check_content(tour.database, tour.database_now, "database"));
    const uint64_t repairs = tour.pool().counters().checksum_repairs;
    CO_TRY(tour.check(repairs == 1, "one copy was repaired from the other",
                      fmt::format("{} repairs", repairs)));
    CO_TRY(co_await tour.close());
    CO_TRY(tour.run_tool({"fsck", "d0", "d1"}, 0));
    co_return co_await tour.open();
}

}  // namespace stoa::apps::demo
