// Admission: whether one more guest fits into the memory of this host.
//
// What counts is the guest's memory and what QEMU needs besides, against the smaller of the host's
// memory and the limit of the control plane's own cgroup, less the reserve and blockd's caches.
// Guests are counted whole, whether they have touched their memory yet or not: a guest that was
// started must never be killed because another one was.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "controlplane/model/vm.h"

namespace stoa::machine {

struct MemoryBudget {
    uint64_t host_bytes = 0;
    uint64_t cgroup_limit_bytes = 0;  // 0: none
    uint64_t reserve_bytes = 0;       // HostSpec
    uint64_t caches_bytes = 0;        // of stoa-blockd, for all open pools
};

// For guests, at most; 0 if the reserve takes all.
[[nodiscard]] uint64_t guest_bytes_max(const MemoryBudget& budget);

// What a guest takes: its memory, and QEMU's own as measured ("kvm" or "tcg": translated code and
// its tables; docs/decisions/ has the figures).
[[nodiscard]] uint64_t guest_bytes(const model::VmSpec& spec, std::string_view accelerator);

// `used_bytes` is taken by guests that run or are to run. Errors: no_space ("vm web1 needs 1.2 GiB
// of memory; 0.8 GiB of 4.0 GiB for guests are left: ...").
[[nodiscard]] Result<void> admit(const MemoryBudget& budget, uint64_t used_bytes,
                                 uint64_t wanted_bytes, std::string_view vm);

// "1.5 GiB", "512 MiB": for people.
[[nodiscard]] std::string bytes_text(uint64_t bytes);

}  // namespace stoa::machine
