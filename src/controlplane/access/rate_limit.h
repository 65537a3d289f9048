// RateLimit: after some failed logins the next ones must wait, longer each time.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/result.h"

namespace stoa::access {

// One thread. Keys are names of users in one object and addresses in another; both are asked for
// each login, so that neither many names from one address nor many addresses for one name get
// further.
class RateLimit {
public:
    static constexpr int64_t kPauseMinNs = 1'000'000'000;
    static constexpr int64_t kPauseMaxNs = 300'000'000'000;
    static constexpr int64_t kForgottenNs = 900'000'000'000;  // without a failure
    static constexpr size_t kKeysMax = 10'000;                // then the oldest goes

    // `free`: failures in a row that cost nothing.
    explicit RateLimit(uint32_t free) : free_(free) {}

    // Errors: busy (says how many seconds to wait). Times: ns, monotonic.
    [[nodiscard]] Result<void> check(const std::string& key, int64_t now_ns) const;
    void failed(const std::string& key, int64_t now_ns);
    void succeeded(const std::string& key) { entries_.erase(key); }

private:
    struct Entry {
        uint32_t failures = 0;
        int64_t failed_ns = 0;
    };
    [[nodiscard]] int64_t pause_ns(const Entry& entry) const;
    void make_room(int64_t now_ns);

    uint32_t free_;
    std::map<std::string, Entry> entries_;
};

}  // namespace stoa::access
