// An open pool in use: it is closed meanwhile if somebody asks for that, and then whatever runs in
// it ends soon; but it is not destroyed before its last use ends.
#pragma once

#include <cstdint>
#include <utility>

#include "dataplane/io/sync.h"
#include "dataplane/pool/pool.h"

namespace stoa::service {

class PoolUse {
public:
    // Counts itself in `uses`; tells `ended`. Both outlive it, as they are of the pool.
    PoolUse(pool::Pool& pool, uint32_t& uses, io::Condition& ended)
        : pool_(&pool), uses_(uses), ended_(ended) {
        ++uses_;
    }
    PoolUse(PoolUse&& other) noexcept
        : pool_(std::exchange(other.pool_, nullptr)), uses_(other.uses_), ended_(other.ended_) {}
    PoolUse(const PoolUse&) = delete;
    PoolUse& operator=(const PoolUse&) = delete;
    PoolUse& operator=(PoolUse&&) = delete;
    ~PoolUse() {
        if (pool_ == nullptr) return;
        --uses_;
        ended_.notify_all();
    }

    pool::Pool& operator*() const { return *pool_; }
    pool::Pool* operator->() const { return pool_; }

private:
    pool::Pool* pool_;
    uint32_t& uses_;
    io::Condition& ended_;
};

}  // namespace stoa::service
