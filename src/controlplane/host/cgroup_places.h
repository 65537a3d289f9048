// Where the hierarchies of control groups are mounted, and this process's place in each. Inside of
// this folder. Formats: proc(5) (mountinfo), cgroups(7) (/proc/PID/cgroup). Fuzz target:
// cgroup_places_fuzz.cc.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace stoa::host {

struct Hierarchy {
    bool is_unified = false;            // v2
    std::set<std::string> controllers;  // of v1: "cpu", "memory"; of v2 see cgroup.controllers
    std::string mount;                  // directory of its root as far as we see it
    std::string own;                    // directory of our group
};

// `mounts`: /proc/self/mountinfo; `own`: /proc/self/cgroup. Lines that are odd are passed over.
[[nodiscard]] std::vector<Hierarchy> find_hierarchies(std::string_view mounts,
                                                      std::string_view own);

// Words between any of the separators; no empty ones.
[[nodiscard]] std::vector<std::string_view> split(std::string_view text,
                                                  std::string_view separators);

}  // namespace stoa::host
