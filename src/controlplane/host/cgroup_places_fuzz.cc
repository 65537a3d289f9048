// Any text of /proc/self/mountinfo and /proc/self/cgroup, separated by a zero byte.
#include "controlplane/host/cgroup_places.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>

using namespace stoa::host;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const size_t cut = std::min(text.find('\0'), text.size());
    for (const Hierarchy& one : find_hierarchies(text.substr(0, cut), text.substr(cut))) {
        if (!one.own.starts_with(one.mount)) std::abort();
        if (one.is_unified != one.controllers.empty()) std::abort();
    }
    return 0;
}
