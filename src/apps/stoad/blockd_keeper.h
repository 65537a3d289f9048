// Keeps stoa-blockd running where no service manager does: started detached, adopted by its
// identity, started again when it has ended.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "controlplane/async/scope.h"
#include "controlplane/host/process.h"

namespace stoa::apps::stoad {

struct BlockdKeeperOptions {
    std::string root;
    std::string program;  // path of stoa-blockd
    std::string launch_helper;
    std::function<void(std::string)> tell;
};

// One thread. Does not move.
class BlockdKeeper {
public:
    BlockdKeeper(asio::any_io_executor executor, BlockdKeeperOptions options);
    BlockdKeeper(const BlockdKeeper&) = delete;
    BlockdKeeper& operator=(const BlockdKeeper&) = delete;

    // Ends when one runs and has said which instance it is (ROOT/blockd/state.json).
    // Errors: timeout, and as host::launch.
    Async<> start();
    // From then on it is started again when it ends.
    void keep();
    // Lets go of it; it lives on.
    AsyncVoid close();

private:
    Async<> launch();
    AsyncVoid follow();
    [[nodiscard]] std::string status_file() const;

    asio::any_io_executor executor_;
    BlockdKeeperOptions options_;
    std::optional<host::Process> process_;
    Scope scope_;
};

}  // namespace stoa::apps::stoad
