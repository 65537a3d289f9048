// Control groups of one instance: stoa/INSTANCE/{vms/ID,helpers}, in v1, v2 and hybrid hierarchies.
//
// Where: at the root of each hierarchy if that may be written, else (v2) under the own group if it
// was delegated. Memory of v1: under the own group if that is limited, so that the limit holds. Why
// not under stoad's own unit: docs/decisions/012-control-groups.md. What cannot
// be had (no permission, no controller) is said by missing() and then silently left out: guests run
// without weights rather than not at all.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/async/async.h"

namespace stoa::host {

struct CgroupLimits {
    std::optional<uint64_t> memory_max_bytes{};  // 0: none
    std::optional<uint32_t> cpu_weight{};  // 1 … 10000, usual 100 (v1 shares are computed)
    std::optional<uint64_t> pids_max{};  // 0: none
};

struct CgroupUse {
    std::optional<uint64_t> memory_bytes{};  // with page cache
    std::optional<uint64_t> cpu_ns{};
};

// One group: a directory in each hierarchy that could be had (maybe none). A value.
class Cgroup {
public:
    explicit Cgroup(std::vector<std::string> directories) : directories_(std::move(directories)) {}

    // For LaunchSpec::cgroups.
    [[nodiscard]] const std::vector<std::string>& directories() const { return directories_; }
    [[nodiscard]] bool exists() const;
    // Processes in it and below, each once. Empty if it does not exist.
    [[nodiscard]] std::vector<int32_t> pids() const;
    [[nodiscard]] CgroupUse use() const;
    // Limits whose controller is missing are left out. Errors: invalid_argument, denied, io.
    Result<void> set(const CgroupLimits& limits) const;
    // Moves a process into it. Errors: not_found, denied, io.
    Result<void> add(int32_t pid) const;
    // Kills everything in it and below, and waits until it is empty, at most 5 s. Errors: timeout.
    Async<> kill_all() const;
    // Removes it and the groups below; none there is fine. Errors: in_use (processes are in it),
    // io.
    Result<void> remove() const;

private:
    std::vector<std::string> directories_{};
};

struct CgroupPlace {
    std::string own = "/proc/self/cgroup";
    std::string mounts = "/proc/self/mountinfo";
};

class CgroupTree {
public:
    // Finds what can be had; makes nothing. Cannot fail: what is missing is in missing().
    static CgroupTree find(std::string_view instance, const CgroupPlace& place = {});

    // Makes stoa/INSTANCE/NAME ("vms/ID", "helpers") where possible, or takes what is there.
    // Errors: invalid_argument (a name with .. or other than letters, digits, - _ . /), no_space,
    // io.
    Result<Cgroup> create(std::string_view name) const;
    // The same group, whether it exists or not.
    [[nodiscard]] Cgroup get(std::string_view name) const;
    // Names of the groups directly under NAME ("vms"): leftovers are told by them.
    [[nodiscard]] std::vector<std::string> list(std::string_view name) const;
    // Removes stoa/INSTANCE itself if nothing runs in it. Errors: in_use, io.
    Result<void> remove() const;

    // Whole sentences for `stoa host check`.
    [[nodiscard]] const std::vector<std::string>& missing() const { return missing_; }
    [[nodiscard]] bool has_memory() const { return has_memory_; }
    [[nodiscard]] bool has_cpu() const { return has_cpu_; }
    [[nodiscard]] bool has_pids() const { return has_pids_; }
    // Whether processes can be gathered in groups at all.
    [[nodiscard]] bool available() const { return !bases_.empty(); }

private:
    friend class CgroupFinder;
    std::vector<std::string> bases_{};  // …/stoa/INSTANCE, one a hierarchy
    std::vector<std::string> missing_{};
    bool is_unified_ = false;
    bool has_memory_ = false;
    bool has_cpu_ = false;
    bool has_pids_ = false;
};

// The memory limit of the group this process is in and of those above it; nothing if unlimited.
[[nodiscard]] std::optional<uint64_t> own_memory_limit_bytes(const CgroupPlace& place = {});

}  // namespace stoa::host
