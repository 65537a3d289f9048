// What the control socket calls.
#pragma once

#include <functional>

#include "base/json.h"
#include "base/result.h"
#include "dataplane/io/task.h"

namespace stoa::service {

// One call: parameters in, result out.
using Method = std::function<io::Task<Result<Json>>(Json params)>;

}  // namespace stoa::service
