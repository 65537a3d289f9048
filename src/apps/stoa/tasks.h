// Tasks: waiting for their end, and what is said meanwhile.
#pragma once

#include <optional>
#include <string>

#include "apps/stoa/context.h"
#include "apps/stoa/progress.h"

namespace stoa::cli {

// Waits until task `id` is over, with one line of progress. Returns its record.
// Errors: that of the task (its code), cancelled, timeout (--timeout; it goes on), those of the
// session.
Result<Json> wait_for_task(Context& context, const std::string& id, const std::string& title);

// "step 2 of 5: cloning image tiny".
[[nodiscard]] std::string task_step(const Json& task);

Result<int> run_task_wait(Context& context, const Invocation& invocation);
Result<int> run_task_cancel(Context& context, const Invocation& invocation);

}  // namespace stoa::cli
