// Tickets: one-time words that let a browser open a WebSocket, where it cannot say who it is.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "base/result.h"

namespace stoa::http {

// One thread.
class Tickets {
public:
    using Random = std::function<uint64_t()>;   // unpredictable
    using Clock = std::function<int64_t()>;     // ns, monotonic
    static constexpr int64_t kLifeNs = 30'000'000'000;
    static constexpr size_t kTicketsMax = 1024;  // then the oldest goes

    Tickets(Clock clock, Random random) : clock_(std::move(clock)), random_(std::move(random)) {}

    // For `principal` and this path ("/v1/vms/ID/console") alone: 32 hex digits.
    std::string issue(std::string principal, std::string path);
    // Who it was given to; it is used up, whatever the answer is.
    // Errors: denied (unknown, used, too old, or of another path).
    Result<std::string> redeem(const std::string& ticket, const std::string& path);

private:
    struct Ticket {
        std::string principal;
        std::string path;
        int64_t issued_ns = 0;
    };
    Clock clock_;
    Random random_;
    std::map<std::string, Ticket> tickets_;
};

}  // namespace stoa::http
