#include "dataplane/serve/nbd/buffers.h"

#include <algorithm>
#include <bit>
#include <utility>

namespace stoa::nbd {

namespace {
constexpr uint64_t kReapEveryNs = 100'000'000;
constexpr uint64_t kPauseNs = 1'000'000'000;  // of the whole process: longer than it ever takes
}  // namespace

Buffers::Account::Account(Buffers& buffers, BufferHolder& holder)
    : buffers_(buffers), holder_(holder) {
    buffers_.accounts_.push_back(this);
}

Buffers::Account::~Account() {
    CHECK(own_bytes_ == 0 && shared_bytes_ == 0);
    std::erase(buffers_.accounts_, this);
}

// In the frame of admit().
struct Buffers::Account::Waiter {
    const Account& account;
    size_t size_bytes;
};

bool Buffers::Account::is_fair(size_t size_bytes) const {
    return shared_bytes_ == 0 || shared_bytes_ + size_bytes <= buffers_.limits_.shared_bytes / 2;
}

bool Buffers::Account::may_share(size_t size_bytes, const Waiter* until) const {
    // One alone is always possible, however big.
    const bool fits = buffers_.shared_bytes_ + size_bytes <= buffers_.limits_.shared_bytes ||
                      buffers_.shared_bytes_ == 0;
    if (!fits || !is_fair(size_bytes)) return false;
    for (const Waiter* each : buffers_.waiting_) {
        if (each == until) break;
        if (each->account.is_fair(each->size_bytes)) return false;
    }
    return true;
}

bool Buffers::Account::admit_now(size_t size_bytes, const Waiter* until) {
    if (own_bytes_ + size_bytes <= buffers_.limits_.share_bytes) {
        own_bytes_ += size_bytes;
        return true;
    }
    if (!may_share(size_bytes, until)) return false;
    shared_bytes_ += size_bytes;
    buffers_.shared_bytes_ += size_bytes;
    return true;
}

bool Buffers::Account::try_admit(size_t size_bytes) { return admit_now(size_bytes, nullptr); }

io::Task<bool> Buffers::Account::admit(size_t size_bytes, const bool& give_up) {
    if (!give_up && try_admit(size_bytes)) co_return true;
    const Waiter waiter{*this, size_bytes};
    buffers_.waiting_.push_back(&waiter);
    bool admitted = false;
    while (!give_up) {
        admitted = admit_now(size_bytes, &waiter);
        if (admitted) break;
        if (buffers_.reaper_.running() == 0) buffers_.reaper_.spawn(buffers_.reap());
        co_await buffers_.freed_.wait();
    }
    std::erase(buffers_.waiting_, &waiter);
    // Those behind may fit into what is left.
    if (buffers_.freed_.has_waiters()) buffers_.freed_.notify_all();
    co_return admitted;
}

io::Task<void> Buffers::reap() {
    co_await executor_.yield();  // whoever started it waits only now
    uint64_t last = executor_.now_ns();
    uint64_t not_before = 0;
    while (freed_.has_waiters()) {
        co_await executor_.sleep_ns(kReapEveryNs);
        if (!freed_.has_waiters()) break;
        const uint64_t now = executor_.now_ns();
        // A process that was stopped has not taken notice of what they took meanwhile.
        if (now - std::exchange(last, now) >= kPauseNs) not_before = now;
        for (const Account* each : accounts_) {
            const uint64_t since = each->holder_.stuck_since_ns();
            const bool holds = each->own_bytes_ + each->shared_bytes_ > 0;
            if (holds && since != 0 && now - std::max(since, not_before) >= limits_.stuck_ns) {
                each->holder_.cut();
            }
        }
    }
}

std::vector<AlignedBuffer>* Buffers::list_of(size_t size_bytes) {
    if (!std::has_single_bit(size_bytes) || size_bytes < kKeptBytesLeast) return nullptr;
    const auto index = static_cast<size_t>(std::countr_zero(size_bytes / kKeptBytesLeast));
    return index < kKeptSizes ? &kept_.at(index) : nullptr;
}

AlignedBuffer Buffers::Account::take(size_t size_bytes) {
    auto* kept = buffers_.list_of(size_bytes);
    if (kept == nullptr || kept->empty()) return AlignedBuffer(size_bytes);
    AlignedBuffer buffer = std::move(kept->back());
    kept->pop_back();
    buffers_.kept_bytes_ -= size_bytes;
    return buffer;
}

void Buffers::Account::give_back(AlignedBuffer buffer) {
    const size_t size_bytes = buffer.size();
    auto* kept = buffers_.list_of(size_bytes);
    if (kept != nullptr && buffers_.kept_bytes_ + size_bytes <= kKeptBytesMax) {
        kept->push_back(std::move(buffer));
        buffers_.kept_bytes_ += size_bytes;
    }
    give_back_bytes(size_bytes);
}

void Buffers::Account::give_back_bytes(size_t size_bytes) {
    // What is shared goes first, for others may wait for it.
    const uint64_t shared = std::min<uint64_t>(size_bytes, shared_bytes_);
    shared_bytes_ -= shared;
    buffers_.shared_bytes_ -= shared;
    CHECK(own_bytes_ >= size_bytes - shared);
    own_bytes_ -= size_bytes - shared;
    if (buffers_.freed_.has_waiters()) buffers_.freed_.notify_all();
}

}  // namespace stoa::nbd
