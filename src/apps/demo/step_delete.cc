// Everything is deleted and the space comes back; the pool is closed and judged a last time.
#include "apps/demo/steps.h"

namespace stoa::apps::demo {

namespace {

io::Task<Result<void>> settle(Tour& tour, std::string_view what) {
    const uint64_t started_ns = tour.now_ns();
    CO_TRY(co_await tour.pool().settle());
    CO_TRY(co_await tour.pool().checkpoint());
    CO_TRY(co_await tour.pool().checkpoint());  // the second one reuses what the first one freed
    tour.say("{}: {} (space back after {})", what, space_line(tour.pool().info().space),
             milliseconds(tour.now_ns() - started_ns));
    co_return Result<void>{};
}

}  // namespace

io::Task<Result<void>> step_delete(Tour& tour) {
    tour.narrator.title("Deleting, and the space it gives back");
    CO_TRY(co_await settle(tour, "before"));
    const auto before = tour.pool().info().space;
    CO_TRY_ASSIGN(const uint64_t exclusive, co_await tour.pool().exclusive_bytes(tour.copy));
    CO_TRY(co_await tour.pool().delete_volume(tour.copy));
    CO_TRY(co_await settle(tour, "without the clone copy"));
    const uint64_t freed = (before.data - tour.pool().info().space.data) * kBlockBytes;
    CO_TRY(tour.check(freed == exclusive,
                      fmt::format("as much data came back as exclusive_bytes promised: {}",
                                  mebibytes(exclusive / kBlockBytes)),
                      fmt::format("{} bytes of {}", freed, exclusive)));
    CO_TRY(co_await tour.pool().delete_snapshot(tour.monday));
    CO_TRY(co_await settle(tour, "without the snapshot monday"));
    CO_TRY(co_await tour.check_content(tour.database, tour.database_now, "database"));
    for (const auto& volume : tour.pool().volumes()) {
        CO_TRY(co_await tour.pool().delete_volume(volume.uuid));
    }
    CO_TRY(co_await settle(tour, "without any volume"));
    const auto after = tour.pool().info().space;
    CO_TRY(tour.check(after.data == 0 && after.quarantine == 0, "no block of data is in use",
                      space_line(after)));
    CO_TRY(tour.check(after.free > before.free, "there is more free space than before"));
    CO_TRY(tour.check(after.total == after.system + after.data + after.nodes + after.quarantine +
                                         after.bad + after.free,
                      "the figures add up to the size of the pool"));
    co_return Result<void>{};
}

io::Task<Result<void>> step_close(Tour& tour) {
    tour.narrator.title("Closing");
    CO_TRY(co_await tour.close());
    CO_TRY(tour.run_tool({"fsck", "--data", "d0", "d1"}, 0));
    CO_TRY(tour.run_tool({"info", "d0", "d1"}, 0));
    co_return Result<void>{};
}

}  // namespace stoa::apps::demo
