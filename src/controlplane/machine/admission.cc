#include "controlplane/machine/admission.h"

#include <algorithm>

#include <fmt/format.h>

namespace stoa::machine {

namespace {

constexpr uint64_t kMiB = uint64_t{1} << 20;
// Measured with QEMU 7.2: a guest of 128 MiB that has booted holds 40 to 60 MiB besides its memory
// under KVM, and 180 to 220 MiB more under TCG with its default buffer for translated code.
constexpr uint64_t kQemuBytes = 64 * kMiB;
constexpr uint64_t kTcgBytes = 220 * kMiB;
constexpr uint64_t kCpuBytes = 4 * kMiB;
// Page tables and the bitmaps of devices grow with the guest's memory.
constexpr uint64_t kMemoryShare = 256;

}  // namespace

uint64_t guest_bytes_max(const MemoryBudget& budget) {
    const uint64_t all = budget.cgroup_limit_bytes == 0
                             ? budget.host_bytes
                             : std::min(budget.host_bytes, budget.cgroup_limit_bytes);
    const uint64_t kept = budget.reserve_bytes + budget.caches_bytes;
    return all > kept ? all - kept : 0;
}

uint64_t guest_bytes(const model::VmSpec& spec, std::string_view accelerator) {
    uint64_t overhead = kQemuBytes + spec.cpus * kCpuBytes + spec.memory_bytes / kMemoryShare;
    if (accelerator != "kvm") overhead += kTcgBytes;
    return spec.memory_bytes + overhead;
}

Result<void> admit(const MemoryBudget& budget, uint64_t used_bytes, uint64_t wanted_bytes,
                   std::string_view vm) {
    const uint64_t most = guest_bytes_max(budget);
    const uint64_t left = most > used_bytes ? most - used_bytes : 0;
    if (wanted_bytes <= left) return {};
    return Error(ErrorCode::no_space,
                 fmt::format("vm {} needs {} of memory with the overhead of QEMU; {} of {} for "
                             "guests are left: stop another VM, give this one less, or lower the "
                             "host's reserve of {}",
                             vm, bytes_text(wanted_bytes), bytes_text(left), bytes_text(most),
                             bytes_text(budget.reserve_bytes)));
}

std::string bytes_text(uint64_t bytes) {
    constexpr uint64_t kGiB = 1024 * kMiB;
    if (bytes >= kGiB) {
        return fmt::format("{:.1f} GiB", static_cast<double>(bytes) / static_cast<double>(kGiB));
    }
    return fmt::format("{} MiB", bytes / kMiB);
}

}  // namespace stoa::machine
