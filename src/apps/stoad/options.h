// What stoad is started with.
#pragma once

#include <cstdint>
#include <string>

namespace stoa::apps::stoad {

struct Options {
    std::string root;
    std::string listen = "127.0.0.1:7443";  // ADDRESS:PORT, or "none"
    // Directory of stoad's own helpers: stoa-launch, stoa-blockd. Empty: where stoad lies.
    std::string helpers;
    std::string qemu;  // empty: found in PATH
    bool starts_blockd = true;  // else a service manager does
    bool allows_kvm = true;
    uint32_t uid_first = 1'600'000'000;
    uint32_t uid_count = 100'000;
    uint32_t reconnect_seconds = 3600;
};

}  // namespace stoa::apps::stoad
