// What guests are made of and run on: borrowed from who wires the program, for its life.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "controlplane/async/async.h"
#include "controlplane/async/worker.h"
#include "controlplane/host/cgroup.h"
#include "controlplane/host/clock.h"
#include "controlplane/host/random.h"
#include "controlplane/journal/journal.h"
#include "controlplane/machine/attachments.h"
#include "controlplane/machine/planner.h"
#include "controlplane/records/records.h"

namespace stoa::machine {

struct Settings {
    Uuid host;
    std::string boot_id;
    std::string root;          // ROOT
    std::string runtime;       // RUN
    std::string launch_helper;  // path of stoa-launch
    std::string qemu;          // path of qemu-system-x86_64
    qemu::Accelerator accelerator = qemu::Accelerator::tcg;
    std::string uefi_code = "/usr/share/OVMF/OVMF_CODE_4M.fd";
    std::string uefi_variables = "/usr/share/OVMF/OVMF_VARS_4M.fd";
    bool is_root = false;
    uint32_t own_uid = 0;
    uint32_t own_gid = 0;
    // Of root's instances: each guest's QEMU runs as a user of its own.
    uint32_t uid_first = 1'600'000'000;
    uint32_t uid_count = 100'000;
    uint32_t kvm_gid = 0;  // who may open /dev/kvm; 0: all
    uint32_t reconnect_seconds = 3600;  // how long disks wait for stoa-blockd
};

struct Services {
    asio::any_io_executor executor;
    records::Records& records;
    journal::Journal& journal;
    const host::Clock& clock;
    host::Random& random;
    Worker& files;
    Disks& disks;
    Taps& taps;
    const host::CgroupTree& cgroups;
    const Settings& settings;
    // For admission and for plans of the program's own.
    std::function<PlanContext(task::Ids&)> context;
};

// Directories and files of a VM.
[[nodiscard]] std::string run_directory(const Settings& settings, const Uuid& vm);  // RUN/vm/ID
[[nodiscard]] std::string state_directory(const Settings& settings,
                                          const Uuid& vm);  // ROOT/stoad/vms/ID
[[nodiscard]] std::string status_file(const Settings& settings, const Uuid& vm);
[[nodiscard]] std::string log_file(const Settings& settings, const Uuid& vm);
[[nodiscard]] std::string serial_file(const Settings& settings, const Uuid& vm);

}  // namespace stoa::machine
