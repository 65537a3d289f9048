// The pool of the demo, open on its files: what a daemon would hold.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/io/device.h"
#include "dataplane/io/reactor.h"
#include "dataplane/io/shared_memory.h"
#include "dataplane/pool/pool.h"

namespace stoa::apps::demo {

struct EngineOptions {
    std::vector<std::string> files;
    std::string ring;  // of acknowledged writes
    std::function<void(const std::string&)> events;
};

class Engine {
public:
    explicit Engine(io::Reactor& reactor) : reactor_(reactor) {}
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;
    ~Engine() { CHECK(pool_ == nullptr); }

    // Opens ring, files and pool; recovers if need be. Errors: those of each.
    io::Task<Result<void>> open(EngineOptions options);
    // Closes the pool, unlocks the files. The ring stays. Nothing to do if it is not open.
    io::Task<Result<void>> close();

    [[nodiscard]] bool is_open() const { return pool_ != nullptr; }
    [[nodiscard]] stoa::pool::Pool& pool() { return *pool_; }
    [[nodiscard]] io::Reactor& reactor() { return reactor_; }

private:
    io::Reactor& reactor_;
    std::unique_ptr<io::SharedMemory> ring_;
    std::vector<std::unique_ptr<io::Device>> devices_;
    std::unique_ptr<stoa::pool::Pool> pool_;
};

}  // namespace stoa::apps::demo
