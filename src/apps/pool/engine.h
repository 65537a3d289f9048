// The engine under a command: a reactor, the devices it has open, and a pool on them.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "dataplane/io/device.h"
#include "dataplane/io/executor.h"
#include "dataplane/io/foreign_data.h"
#include "dataplane/io/task.h"
#include "dataplane/pool/pool.h"

namespace stoa::apps::pool {

class Engine {
public:
    // Opens `paths` and locks them against other processes.
    // Errors: busy, io, invalid_argument.
    static Result<std::unique_ptr<Engine>> open(const std::vector<std::string>& paths,
                                                bool read_only);
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;
    ~Engine();

    [[nodiscard]] io::Executor& executor();
    // What others left on devices.
    [[nodiscard]] io::ForeignData& foreign();
    [[nodiscard]] std::vector<io::Device*> devices() const;
    // Runs the loop until the task has ended.
    Result<void> run(io::Task<Result<void>> task);

private:
    struct Parts;
    explicit Engine(std::unique_ptr<Parts> parts);
    std::unique_ptr<Parts> parts_;
};

// What a command does with an open pool; returns its exit code.
using PoolAction = std::function<io::Task<int>(stoa::pool::Pool& pool)>;

// Opens the pool on `paths` read-only, runs `action`, closes the pool. Prints errors; returns the
// exit code. `accept_missing`: although `paths` are not all of its devices.
int with_pool(const std::vector<std::string>& paths, bool accept_missing, const PoolAction& action);

}  // namespace stoa::apps::pool
