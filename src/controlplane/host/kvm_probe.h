// Does /dev/kvm run guests at the speed of hardware? It may open and emulate, and then real guests
// hang. A tiny guest program is run and timed, in a process of its own with a time limit: what it
// found, and why the threshold is where it is: docs/decisions/011-accelerator.md.
#pragma once

#include <chrono>
#include <string>
#include <tuple>

#include "base/describe.h"
#include "controlplane/async/async.h"

namespace stoa::host {

struct KvmProbe {
    bool usable = false;
    double operations_per_second = 0;  // 0: the guest program did not end
    std::string reason{};                // a sentence, also when usable
    int64_t measured_ns = 0;           // since 1970
    static constexpr auto fields() {
        return std::tuple(required("usable", &KvmProbe::usable, ""),
                          required("operations_per_second", &KvmProbe::operations_per_second, ""),
                          required("reason", &KvmProbe::reason, ""),
                          required("measured_ns", &KvmProbe::measured_ns, ""));
    }
};

struct KvmProbeOptions {
    std::string helper{};  // path of stoa-launch
    // A file that remembers the result for this boot, kernel and QEMU; empty: measured always.
    std::string cache{};
    std::string boot_id{};
    std::string kernel{};
    std::string qemu_version{};
    std::chrono::milliseconds limit{2000};
    std::string device = "/dev/kvm";
};

// Never an error: what goes wrong is a reason not to use KVM. Only `cancelled`.
Async<KvmProbe> probe_kvm(KvmProbeOptions options);

// Below this KVM is not used.
constexpr double kKvmOperationsPerSecondMin = 100e6;

}  // namespace stoa::host
