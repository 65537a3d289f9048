#include "dataplane/io/sim/simulator.h"

#include <algorithm>
#include <cinttypes>
#include <cstdio>
#include <cstdlib>

namespace stoa::io::sim {

namespace {

// Order of the heap: the top is what no other timer precedes.
bool is_later(const Timer& a, const Timer& b) {
    return a.due_ns != b.due_ns ? a.due_ns > b.due_ns : a.sequence > b.sequence;
}

}  // namespace

void Simulator::post_at(uint64_t due_ns, Continuation& item) {
    timers_.push_back({std::max(due_ns, now_ns_), sequence_++, &item});
    std::ranges::push_heap(timers_, is_later);
}

bool Simulator::cancel(const Continuation& item) {
    const size_t removed =
        std::erase_if(timers_, [&](const Timer& timer) { return timer.continuation == &item; });
    if (removed != 0) std::ranges::make_heap(timers_, is_later);
    return removed != 0;
}

bool Simulator::step() {
    if (Continuation* item = ready_.pop(); item != nullptr) {
        ++steps_;
        item->resume();
        return true;
    }
    if (timers_.empty()) return false;
    std::ranges::pop_heap(timers_, is_later);
    const Timer timer = timers_.back();
    timers_.pop_back();
    now_ns_ = timer.due_ns;
    ++steps_;
    trace(timer.due_ns ^ (timer.sequence << 32));
    timer.continuation->resume();
    return true;
}

bool Simulator::run_until_idle(uint64_t steps_max) {
    for (uint64_t taken = 0; taken < steps_max; ++taken) {
        if (!step()) return true;
    }
    return is_idle();
}

void Simulator::run_for(uint64_t duration_ns) {
    const uint64_t end_ns = now_ns_ + duration_ns;
    while (!ready_.empty() || (!timers_.empty() && timers_.front().due_ns <= end_ns)) step();
    now_ns_ = end_ns;
}

void Simulator::fail_stuck() const {
    if (is_idle()) {
        std::fprintf(stderr,  // tidy: allow print: the process ends right after
                     "simulator: the task waits for something that never comes: nothing is queued "
                     "(step %" PRIu64 ", simulated time %" PRIu64 " ns)\n",
                     steps_, now_ns_);
    } else {
        std::fprintf(stderr,  // tidy: allow print: the process ends right after
                     "simulator: the task did not end within %" PRIu64
                     " steps (simulated time %" PRIu64 " ns)\n",
                     kStepsMax, now_ns_);
    }
    std::abort();
}

}  // namespace stoa::io::sim
