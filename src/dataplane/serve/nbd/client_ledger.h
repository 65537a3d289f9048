// Which flushes must not succeed, because the connection was lost between a write and them and the
// server may have forgotten what it acknowledged. Pure; client_ledger_test.cc.
#pragma once

#include <algorithm>
#include <cstdint>

namespace stoa::nbd {

// Writes are counted as they are acknowledged without being durable.
class ClientLedger {
public:
    struct Flush {
        uint64_t covers = 0;       // all writes acknowledged before it
        uint64_t losses = 0;       // before it
        bool has_work = false;     // something that it covers is not durable yet
        bool covers_loss = false;  // something that it covers may be lost
    };

    void acknowledge() { ++acknowledged_; }
    // The connection has ended.
    void lose() {
        if (acknowledged_ == durable_) return;
        ++losses_;
        lost_through_ = acknowledged_;
    }
    [[nodiscard]] Flush begin_flush() const {
        return {acknowledged_, losses_, acknowledged_ > durable_, lost_through_ > durable_};
    }
    // The server has answered. False: what the flush covers may be lost; this is told once.
    [[nodiscard]] bool end_flush(const Flush& flush) {
        const bool good = !flush.covers_loss && !(flush.has_work && flush.losses != losses_);
        // If more was lost since, another flush has to tell of that.
        if (good || flush.covers >= lost_through_) durable_ = std::max(durable_, flush.covers);
        return good;
    }

private:
    uint64_t acknowledged_ = 0;
    uint64_t durable_ = 0;  // or told of
    uint64_t lost_through_ = 0;
    uint64_t losses_ = 0;
};

}  // namespace stoa::nbd
