// Any text of /proc/PID/stat: a program chooses its own name in it.
#include <cstdlib>
#include <string>

#include "controlplane/host/launch/process_stat.h"

using namespace stoa;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    static_cast<void>(host::parse_process_stat(text).ok());
    // Whatever the name is, the fields after it are the kernel's.
    std::string whole = "42 (";
    whole += text;
    whole += ") R 7 1 1 0 -1 4 1 0 0 0 11 22 0 0 20 0 1 0 987654 1 2 3\n";
    const auto stat = host::parse_process_stat(whole);
    if (!stat.ok() || stat->start_ticks != 987654 || stat->parent != 7) std::abort();
    return 0;
}
