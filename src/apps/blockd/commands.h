// What stoa-blockd does from the command line.
#pragma once

#include <cstdint>
#include <string>

namespace stoa::apps::blockd {

// Exit codes: docs/blockd.md.
constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kRefused = 2;    // the daemon answered with an error
constexpr int kNoDaemon = 3;   // nobody answers on the control socket

struct ServeOptions {
    std::string root;
    std::string runtime;
    uint64_t cache_bytes = uint64_t{256} << 20;
};

// Runs the daemon until SIGTERM, SIGINT or daemon.stop.
int serve(const ServeOptions& options);

// Calls a method of the daemon of this root and prints the result.
int call(const std::string& root, const std::string& method, const std::string& params);
// Prints events until interrupted.
int follow_events(const std::string& root);

}  // namespace stoa::apps::blockd
