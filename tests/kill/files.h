// The pool under test: two files, the ring of acknowledged writes, and how to open them.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/io/device.h"
#include "dataplane/io/reactor.h"
#include "dataplane/io/shared_memory.h"
#include "dataplane/pool/fsck/fsck.h"
#include "dataplane/pool/pool.h"

namespace stoa::killtest {

struct Paths {
    std::vector<std::string> devices;
    std::string ring;
};

// Declared in the order in which they depend on each other; destroyed backwards.
struct OpenPool {
    std::unique_ptr<io::Reactor> reactor;
    std::vector<std::unique_ptr<io::Device>> devices;
    std::unique_ptr<io::SharedMemory> ring;
    std::string events;  // a line each
    std::unique_ptr<pool::Pool> pool;
};

// New files with an empty pool of kVolumes volumes.
Result<void> create_files(const Paths& paths);
Result<std::unique_ptr<OpenPool>> open_pool(const Paths& paths);
// Of the files as they are, data blocks included.
Result<fsck::Report> check_files(const Paths& paths);

}  // namespace stoa::killtest
