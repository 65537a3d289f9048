// The host: the machine that a control plane runs on.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/describe.h"
#include "base/result.h"
#include "base/uuid.h"

namespace stoa::model {

struct HostSpec {
    uint64_t reserve_bytes = uint64_t{1} << 30;
    uint32_t grace_seconds = 86'400;
    static constexpr auto fields() {
        return std::tuple(
            optional("reserve_bytes", &HostSpec::reserve_bytes, "memory that guests do not get"),
            optional("grace_seconds", &HostSpec::grace_seconds,
                     "how long a deleted VM can be undeleted"));
    }
};

// Which accelerator guests get, and what was measured.
struct Accelerator {
    std::string name;
    std::string reason;
    double operations_per_second = 0;
    int64_t measured_ns = 0;
    static constexpr auto fields() {
        return std::tuple(
            optional("name", &Accelerator::name, "kvm or tcg"),
            optional("reason", &Accelerator::reason, "why"),
            optional("operations_per_second", &Accelerator::operations_per_second,
                     "of the guest program that was timed through /dev/kvm; 0: it did not run"),
            optional("measured_ns", &Accelerator::measured_ns, "when"));
    }
};

struct HostStatus {
    std::string boot_id;
    std::string version;
    std::string kernel;
    std::string qemu_version;
    uint32_t cpus = 0;
    uint64_t memory_bytes = 0;
    uint64_t guest_memory_bytes = 0;
    Accelerator accelerator;
    bool guests_isolated = false;
    std::vector<std::string> warnings;
    static constexpr auto fields() {
        return std::tuple(
            optional("boot_id", &HostStatus::boot_id, ""),
            optional("version", &HostStatus::version, "of Stoa"),
            optional("kernel", &HostStatus::kernel, ""),
            optional("qemu_version", &HostStatus::qemu_version, ""),
            optional("cpus", &HostStatus::cpus, ""),
            optional("memory_bytes", &HostStatus::memory_bytes, "what this control plane may use"),
            optional("guest_memory_bytes", &HostStatus::guest_memory_bytes,
                     "reserved by guests that run, with the overhead of QEMU"),
            optional("accelerator", &HostStatus::accelerator, ""),
            optional("guests_isolated", &HostStatus::guests_isolated,
                     "each VM has a user of its own; not without root"),
            optional("warnings", &HostStatus::warnings, "what this machine lacks"));
    }
};

struct Host {
    static constexpr std::string_view kName = "host";
    using Spec = HostSpec;
    using Status = HostStatus;
};

}  // namespace stoa::model
