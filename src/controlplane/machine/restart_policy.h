// When a guest that crashed is started again: with a back-off that doubles, and not for ever.
#pragma once

#include <cstdint>
#include <optional>

#include "controlplane/model/vm.h"

namespace stoa::machine {

// Counts one more crash in `status`; earlier ones are forgiven if the guest had run for the
// policy's window. `ran_ns`: how long this time.
void count_crash(model::VmStatus& status, const model::RestartPolicy& policy, int64_t now_ns,
                 int64_t ran_ns);

// When it is to be started again, in ns since 1970: 1 s after the first crash, then 2, 4, … up to
// 5 minutes. Nothing: it stays off (the policy says so, or its attempts are used up).
[[nodiscard]] std::optional<int64_t> restart_at_ns(const model::VmStatus& status,
                                                   const model::RestartPolicy& policy);

}  // namespace stoa::machine
