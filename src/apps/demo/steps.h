// The steps of the tour, in order.
#pragma once

#include "apps/demo/tour.h"

namespace stoa::apps::demo {

io::Task<Result<void>> step_create(Tour& tour);
io::Task<Result<void>> step_write(Tour& tour);
io::Task<Result<void>> step_snapshot(Tour& tour);
io::Task<Result<void>> step_difference(Tour& tour);
io::Task<Result<void>> step_damaged_data(Tour& tour);
io::Task<Result<void>> step_damaged_map(Tour& tour);
io::Task<Result<void>> step_killed_process(Tour& tour);
io::Task<Result<void>> step_dead_host(Tour& tour);
io::Task<Result<void>> step_delete(Tour& tour);
io::Task<Result<void>> step_close(Tour& tour);

}  // namespace stoa::apps::demo
