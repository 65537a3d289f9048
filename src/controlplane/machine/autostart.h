// Which guests are started when the host has started, and in which order.
#pragma once

#include <string_view>
#include <vector>

#include "controlplane/machine/planner.h"

namespace stoa::machine {

// Guests that run when this host's boot is new: those that were wanted on (`previous`) or always
// are. In groups of one start order, lower ones first; each group waits for the longest delay of
// the one before.
struct AutostartGroup {
    std::vector<Uuid> vms;  // by name
    uint32_t delay_seconds = 0;  // before the next group
};
[[nodiscard]] std::vector<AutostartGroup> autostart_groups(const records::Table<model::Vm>& vms,
                                                           const Uuid& host);

// The reverse, when the host shuts down: guests that run, higher orders first.
[[nodiscard]] std::vector<AutostartGroup> shutdown_groups(const records::Table<model::Vm>& vms,
                                                          const Uuid& host);

}  // namespace stoa::machine
