#include "controlplane/access/rate_limit.h"

#include <algorithm>

#include <fmt/format.h>

namespace stoa::access {

namespace {
constexpr uint32_t kDoublingsMax = 20;
constexpr int64_t kSecondNs = 1'000'000'000;
}  // namespace

int64_t RateLimit::pause_ns(const Entry& entry) const {
    if (entry.failures < free_) return 0;
    const uint32_t doublings = std::min(entry.failures - free_, kDoublingsMax);
    return std::min(kPauseMaxNs, kPauseMinNs << doublings);
}

Result<void> RateLimit::check(const std::string& key, int64_t now_ns) const {
    const auto found = entries_.find(key);
    if (found == entries_.end()) return {};
    const int64_t left_ns = found->second.failed_ns + pause_ns(found->second) - now_ns;
    if (left_ns <= 0) return {};
    return Error(ErrorCode::busy, fmt::format("too many failed logins: wait {} s",
                                              (left_ns + kSecondNs - 1) / kSecondNs));
}

void RateLimit::failed(const std::string& key, int64_t now_ns) {
    make_room(now_ns);
    Entry& entry = entries_[key];
    if (entry.failures > 0 && now_ns - entry.failed_ns > kForgottenNs) entry.failures = 0;
    ++entry.failures;
    entry.failed_ns = now_ns;
}

void RateLimit::make_room(int64_t now_ns) {
    if (entries_.size() < kKeysMax) return;
    std::erase_if(entries_,
                  [&](const auto& one) { return now_ns - one.second.failed_ns > kForgottenNs; });
    if (entries_.size() < kKeysMax) return;
    entries_.erase(std::ranges::min_element(entries_, {},
                                            [](const auto& one) { return one.second.failed_ns; }));
}

}  // namespace stoa::access
