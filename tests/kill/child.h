// The process that is killed: opens the pool, works on it at some depth, tells the parent.
#pragma once

#include <cstdint>
#include <map>

#include "tests/kill/files.h"

namespace stoa::killtest {

struct ChildOptions {
    uint64_t seed = 1;
    int pipe = -1;            // events are written here
    uint64_t first_id = 1;    // of this child's operations
    uint64_t operations = 0;  // until it closes the pool and opens it again; 0: no end
    bool only_open = false;   // opens the pool and waits
    std::map<uint64_t, uint8_t> snapshots;  // that there may be: id, volumes
};

// Never returns: ends with the process, usually by SIGKILL.
[[noreturn]] void run_child(const Paths& paths, const ChildOptions& options);

}  // namespace stoa::killtest
