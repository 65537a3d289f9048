// Plans that were shown and may be executed: each has a token, for a while.
//
// plan=true: make the plan with ids of a new seed, keep() it, show it with its token.
// plan_token=TOKEN: seed_of() gives the seed; make the plan again with Ids(seed), from the records
// as they are now; take() says whether it is the plan that was shown. Then it is submitted.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <string>

#include "controlplane/task/plan.h"

namespace stoa::task {

class PlanTokens {
public:
    struct Options {
        std::function<int64_t()> now_ns;
        std::function<uint64_t()> random;  // unpredictable: tokens are made of it
        int64_t keep_ns = int64_t{15} * 60 * 1'000'000'000;
        size_t kept_max = 1000;  // then the oldest is forgotten
    };
    explicit PlanTokens(Options options) : options_(std::move(options)) {}

    // The token, 32 hexadecimal digits.
    std::string keep(const Plan& plan, Ids::Seed seed, std::string principal);

    // Errors: gone (unknown, too old, used, or another principal's).
    [[nodiscard]] Result<Ids::Seed> seed_of(const std::string& token, const std::string& principal);

    // Compares verb, target, locks, steps, intent and point of no return. If they are the same, the
    // token is used up; else it may be tried again.
    // Errors: as seed_of; conflict: says what is different now, a line each.
    Result<void> take(const std::string& token, const std::string& principal, const Plan& now);

private:
    struct Kept {
        std::string token;
        std::string principal;
        int64_t until_ns;
        Ids::Seed seed;
        Plan plan;
    };
    void forget_old();
    std::deque<Kept>::iterator find(const std::string& token, const std::string& principal);

    Options options_;
    std::deque<Kept> kept_;  // in the order of their making
};

// What differs, for people, a line each; empty: nothing.
[[nodiscard]] std::string difference(const Plan& before, const Plan& now);

}  // namespace stoa::task
