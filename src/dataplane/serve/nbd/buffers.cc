#include "dataplane/serve/nbd/buffers.h"

#include <algorithm>
#include <utility>

namespace stoa::nbd {

namespace {
constexpr uint64_t kReapEveryNs = 100'000'000;
}

Buffers::Account::Account(Buffers& buffers, BufferHolder& holder)
    : buffers_(buffers), holder_(holder) {
    buffers_.accounts_.push_back(this);
}

Buffers::Account::~Account() {
    CHECK(own_bytes_ == 0 && shared_bytes_ == 0);
    std::erase(buffers_.accounts_, this);
}

bool Buffers::Account::try_admit(size_t size_bytes) {
    if (own_bytes_ + size_bytes <= buffers_.limits_.share_bytes) {
        own_bytes_ += size_bytes;
        return true;
    }
    // One alone is always possible, however big.
    const bool fits = buffers_.shared_bytes_ + size_bytes <= buffers_.limits_.shared_bytes ||
                      buffers_.shared_bytes_ == 0;
    // Half of it is the most that one connection takes, unless it holds nothing yet.
    const bool fair =
        shared_bytes_ == 0 || shared_bytes_ + size_bytes <= buffers_.limits_.shared_bytes / 2;
    if (!fits || !fair) return false;
    shared_bytes_ += size_bytes;
    buffers_.shared_bytes_ += size_bytes;
    return true;
}

io::Task<bool> Buffers::Account::admit(size_t size_bytes, const bool& give_up) {
    while (!give_up) {
        if (try_admit(size_bytes)) co_return true;
        if (buffers_.reaper_.running() == 0) buffers_.reaper_.spawn(buffers_.reap());
        co_await buffers_.freed_.wait();
    }
    co_return false;
}

io::Task<void> Buffers::reap() {
    co_await executor_.yield();  // whoever started it waits only now
    while (freed_.has_waiters()) {
        co_await executor_.sleep_ns(kReapEveryNs);
        if (!freed_.has_waiters()) break;
        for (const Account* each : accounts_) {
            const uint64_t since = each->holder_.stuck_since_ns();
            const bool holds = each->own_bytes_ + each->shared_bytes_ > 0;
            if (holds && since != 0 && executor_.now_ns() - since >= limits_.stuck_ns) {
                each->holder_.cut();
            }
        }
    }
}

AlignedBuffer Buffers::Account::take(size_t size_bytes) {
    if (size_bytes == kSmallBytes && !buffers_.small_.empty()) {
        AlignedBuffer buffer = std::move(buffers_.small_.back());
        buffers_.small_.pop_back();
        return buffer;
    }
    return AlignedBuffer(size_bytes);
}

void Buffers::Account::give_back(AlignedBuffer buffer) {
    const uint64_t size_bytes = buffer.size();
    // What is shared goes first, for others may wait for it.
    const uint64_t shared = std::min(size_bytes, shared_bytes_);
    shared_bytes_ -= shared;
    buffers_.shared_bytes_ -= shared;
    CHECK(own_bytes_ >= size_bytes - shared);
    own_bytes_ -= size_bytes - shared;
    if (size_bytes == kSmallBytes && buffers_.small_.size() < kSmallKept) {
        buffers_.small_.push_back(std::move(buffer));
    }
    if (buffers_.freed_.has_waiters()) buffers_.freed_.notify_all();
}

}  // namespace stoa::nbd
