#include "dataplane/io/reactor.h"

#include <liburing.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <string>

#include "base/check.h"
#include "dataplane/io/system_error.h"

namespace stoa::io {

namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;
constexpr unsigned kPointerBits = 48;  // user addresses of x86-64 and arm64 unless asked for more
constexpr uint64_t kPointerMask = (uint64_t{1} << kPointerBits) - 1;
constexpr uint64_t kWakeTag = 0;
constexpr size_t kClientsMax = 65534;

// From the quickest set-up to what every kernel has: completions run only when this thread asks
// for them (6.1), without interrupting it (5.19), plain.
constexpr std::array<unsigned, 3> kSetups = {
    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
    IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG, 0};
constexpr unsigned kNeededFeatures = IORING_FEAT_EXT_ARG | IORING_FEAT_NODROP;

uint64_t clock_ns(clockid_t clock) {
    timespec now{};
    clock_gettime(clock, &now);
    return static_cast<uint64_t>(now.tv_sec) * kNsPerSecond + static_cast<uint64_t>(now.tv_nsec);
}

// Order of the heap: the earliest on top, equal ones in the order in which they were set.
bool later(const Timer& a, const Timer& b) {
    return a.due_ns != b.due_ns ? a.due_ns > b.due_ns : a.sequence > b.sequence;
}

// What submit and wait calls may answer without anything being lost; the next turn tries again.
bool is_transient(int result) {
    return result >= 0 || result == -ETIME || result == -EINTR || result == -EAGAIN ||
           result == -EBUSY;
}

}  // namespace

Reactor::Reactor(ReactorOptions options) : options_(options) {}

Result<std::unique_ptr<Reactor>> Reactor::create(ReactorOptions options) {
    if (options.submission_entries == 0 || options.resumptions_per_turn == 0 ||
        options.completion_entries < options.submission_entries) {
        return Error(ErrorCode::invalid_argument,
                     "reactor: " + std::to_string(options.submission_entries) +
                         " submission entries, " + std::to_string(options.completion_entries) +
                         " completion entries and " + std::to_string(options.resumptions_per_turn) +
                         " resumptions per turn are not a valid configuration");
    }
    std::unique_ptr<Reactor> reactor(new Reactor(options));
    TRY(reactor->open());
    return reactor;
}

Result<void> Reactor::open() {
    wake_fd_ = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (wake_fd_ < 0) return system_error("reactor: cannot create an event counter", errno);

    int result = -EINVAL;
    auto ring = std::make_unique<io_uring>();
    for (size_t i = 0; i < kSetups.size() && result == -EINVAL; ++i) {
        io_uring_params params{};
        params.flags = kSetups[i] | IORING_SETUP_CQSIZE | IORING_SETUP_CLAMP;
        params.cq_entries = options_.completion_entries;
        result = io_uring_queue_init_params(options_.submission_entries, ring.get(), &params);
    }
    if (result == -ENOSYS || result == -EPERM) {
        return Error(ErrorCode::unsupported,
                     "reactor: the kernel refuses io_uring (" + errno_text(-result) +
                         "); allow it with sysctl kernel.io_uring_disabled=0",
                     -result);
    }
    if (result < 0) return system_error("reactor: cannot create an io_uring", -result);
    ring_ = std::move(ring);
    if ((ring_->features & kNeededFeatures) != kNeededFeatures) {
        return Error(ErrorCode::unsupported,
                     "reactor: the kernel's io_uring cannot wait with a timeout; 5.11 or newer is "
                     "needed");
    }
    // Spares a look-up of the descriptor at each call; works without.
    static_cast<void>(io_uring_register_ring_fd(ring_.get()));
    return {};
}

Reactor::~Reactor() {
    CHECK(!running_);
    for (const RingClient* client : clients_) CHECK(client == nullptr);
    if (ring_ != nullptr) io_uring_queue_exit(ring_.get());
    if (wake_fd_ >= 0) ::close(wake_fd_);
}

void Reactor::post_at(uint64_t due_ns, Continuation& item) {
    timers_.push_back({due_ns, timer_sequence_++, &item});
    std::ranges::push_heap(timers_, later);
}

uint64_t Reactor::now_ns() const { return clock_ns(CLOCK_MONOTONIC); }

uint64_t Reactor::wall_ns() const { return clock_ns(CLOCK_REALTIME); }

uint64_t Reactor::random() {
    if (random_left_ == 0) {
        ssize_t got = 0;
        do {
            got = getrandom(random_words_.data(), sizeof random_words_, 0);
        } while (got < 0 && errno == EINTR);
        CHECK(got == static_cast<ssize_t>(sizeof random_words_));
        random_left_ = kRandomWords;
    }
    // A word is given once and not kept.
    return std::exchange(random_words_[--random_left_], 0);
}

void Reactor::post_from_other_thread(Continuation& item) {
    Continuation* head = posted_.load(std::memory_order_relaxed);
    do {
        item.next = head;
    } while (!posted_.compare_exchange_weak(head, &item, std::memory_order_release,
                                            std::memory_order_relaxed));
    if (head != nullptr) return;  // whoever was first wakes the loop for all
    const uint64_t one = 1;
    ssize_t written = 0;
    do {
        written = ::write(wake_fd_, &one, sizeof one);
    } while (written < 0 && errno == EINTR);
    CHECK(written == sizeof one || errno == EAGAIN);  // EAGAIN: the counter is full, so it is awake
}

void Reactor::take_posted() {
    Continuation* newest = posted_.exchange(nullptr, std::memory_order_acquire);
    Continuation* oldest = nullptr;
    while (newest != nullptr) {
        Continuation* older = newest->next;
        newest->next = oldest;
        oldest = newest;
        newest = older;
    }
    while (oldest != nullptr) {
        Continuation& item = *oldest;
        oldest = item.next;
        ready_.push(item);
    }
}

uint16_t Reactor::add_client(RingClient& client) {
    auto place = std::ranges::find(clients_, nullptr);
    if (place == clients_.end()) {
        CHECK(clients_.size() < kClientsMax);
        place = clients_.insert(place, nullptr);
    }
    *place = &client;
    return static_cast<uint16_t>(place - clients_.begin() + 1);
}

void Reactor::remove_client(uint16_t number) {
    CHECK(number > 0 && number <= clients_.size() && clients_[number - 1U] != nullptr);
    clients_[number - 1U] = nullptr;
}

uint64_t Reactor::tag(uint16_t client, void* item) {
    const auto address = reinterpret_cast<uintptr_t>(item);
    CHECK(address <= kPointerMask && client > 0);
    return uint64_t{client} << kPointerBits | address;
}

io_uring_sqe& Reactor::next_entry() {
    io_uring_sqe* entry = io_uring_get_sqe(ring_.get());
    while (entry == nullptr) {
        submit_now();
        entry = io_uring_get_sqe(ring_.get());
    }
    return *entry;
}

// The submission queue is full in the middle of a turn: hand it over and go on.
void Reactor::submit_now() {
    const int result = io_uring_submit(ring_.get());
    CHECK(is_transient(result));
    if (result == -EAGAIN || result == -EBUSY) {
        // The kernel wants completions to be taken first.
        static_cast<void>(io_uring_get_events(ring_.get()));
        reap();
    }
}

void Reactor::loop(const TaskGroup& until) {
    CHECK(!running_ && thread_ == std::this_thread::get_id());
    running_ = true;
    while (true) {
        resume_ready();
        if (until.running() == 0) break;
        enter_kernel();
        reap();
        if (!timers_.empty()) expire_timers();
    }
    running_ = false;
}

void Reactor::resume_ready() {
    for (uint32_t resumed = 0; resumed < options_.resumptions_per_turn; ++resumed) {
        Continuation* item = ready_.pop();
        if (item == nullptr) return;
        item->resume();
    }
}

void Reactor::expire_timers() {
    const uint64_t now = now_ns();
    while (!timers_.empty() && timers_.front().due_ns <= now) {
        std::ranges::pop_heap(timers_, later);
        ready_.push(*timers_.back().continuation);
        timers_.pop_back();
    }
}

// Submits, and waits for a completion or the next timer unless something is ready.
void Reactor::enter_kernel() {
    if (!wake_armed_) arm_wake();
    int result = 0;
    uint64_t now = 0;
    const bool due = !timers_.empty() && timers_.front().due_ns <= (now = now_ns());
    if (!ready_.empty() || due) {
        const bool kernel_has_work = (io_uring_smp_load_acquire(ring_->sq.kflags) &
                                      (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) != 0;
        if (io_uring_sq_ready(ring_.get()) > 0) {
            result = io_uring_submit_and_get_events(ring_.get());
        } else if (kernel_has_work) {
            result = io_uring_get_events(ring_.get());
        }
    } else {
        __kernel_timespec timeout{};
        __kernel_timespec* limit = nullptr;
        if (!timers_.empty()) {
            const uint64_t left = timers_.front().due_ns - now;
            timeout.tv_sec = static_cast<int64_t>(left / kNsPerSecond);
            timeout.tv_nsec = static_cast<int64_t>(left % kNsPerSecond);
            limit = &timeout;
        }
        io_uring_cqe* first = nullptr;
        result = io_uring_submit_and_wait_timeout(ring_.get(), &first, 1, limit, nullptr);
    }
    CHECK(is_transient(result));
}

// Takes an entry before it handles it, so that a client may start operations, and with them come
// back here, from complete().
void Reactor::reap() {
    io_uring_cqe* entry = nullptr;
    while (io_uring_cq_ready(ring_.get()) > 0 && io_uring_peek_cqe(ring_.get(), &entry) == 0) {
        const uint64_t tagged = entry->user_data;
        const int result = entry->res;
        io_uring_cqe_seen(ring_.get(), entry);
        if (tagged == kWakeTag) {
            wake_armed_ = false;
            uint64_t count = 0;
            static_cast<void>(!::read(wake_fd_, &count, sizeof count));
            take_posted();
            continue;
        }
        const size_t client = static_cast<size_t>(tagged >> kPointerBits) - 1;
        CHECK(client < clients_.size() && clients_[client] != nullptr);
        // NOLINTNEXTLINE(performance-no-int-to-ptr): the ring carries addresses as integers
        void* item = reinterpret_cast<void*>(tagged & kPointerMask);
        clients_[client]->complete(item, result);
    }
}

// A poll, not a read: nothing of ours is written to after the ring was closed.
void Reactor::arm_wake() {
    io_uring_sqe& entry = next_entry();
    io_uring_prep_poll_add(&entry, wake_fd_, POLLIN);
    io_uring_sqe_set_data64(&entry, kWakeTag);
    wake_armed_ = true;
}

}  // namespace stoa::io
