// Reactor: the executor of a real thread, on one io_uring.
//
// One turn of the loop resumes what is ready, then puts everything that was started meanwhile into
// the kernel with a single system call, which also waits if nothing is left to do. An operation is
// never allocated: the address of its owner's request travels through the ring.
// Behaviour: reactor_test.cc. Simulated twin: sim/simulator.h.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/result.h"
#include "dataplane/io/executor.h"
#include "dataplane/io/sync.h"
#include "dataplane/io/task.h"

struct io_uring;
struct io_uring_sqe;

namespace stoa::io {

struct ReactorOptions {
    uint32_t submission_entries = 256;   // operations handed over by one system call
    uint32_t completion_entries = 4096;  // more than these are kept by the kernel, never lost
    uint32_t resumptions_per_turn = 1024;  // before the kernel is looked at again
};

// Puts operations into the ring and is told how they ended: a file, later a socket.
class RingClient {
public:
    // The operation that `item` stands for has ended with `result`: the kernel's value, negative
    // for an errno. May start operations and post continuations; resumes nothing itself.
    virtual void complete(void* item, int result) = 0;

protected:
    ~RingClient() = default;
};

// Create it, run it and destroy it on one thread; only post_from_other_thread() is for others.
// Outlives its clients and whatever is posted to it.
class Reactor final : public Executor {
public:
    // Errors: unsupported (a kernel without io_uring, or older than 5.11), io.
    static Result<std::unique_ptr<Reactor>> create(ReactorOptions options = {});
    Reactor(const Reactor&) = delete;
    Reactor& operator=(const Reactor&) = delete;
    ~Reactor() override;  // CHECKs that no client is left.

    void post(Continuation& item) override { ready_.push(item); }
    void post_at(uint64_t due_ns, Continuation& item) override;
    [[nodiscard]] uint64_t now_ns() const override;
    [[nodiscard]] uint64_t wall_ns() const override;
    [[nodiscard]] uint64_t random() override;

    // The same as post(), from any thread; wakes the loop. Items posted by one thread are resumed
    // in its order. The call has returned before the reactor is destroyed.
    void post_from_other_thread(Continuation& item);

    // Runs the loop until `task` has ended, and gives its result. What else is in flight then goes
    // on in the next run().
    template <class T>
    T run(Task<T> task);

    // For clients. The number that add_client() gives is an argument of tag(). A client is removed
    // when all its operations have ended. At most 65534 clients.
    [[nodiscard]] uint16_t add_client(RingClient& client);
    void remove_client(uint16_t number);
    // An entry of the submission queue to be filled; submitted at the end of the turn at the
    // latest. Its user_data must be a tag().
    [[nodiscard]] io_uring_sqe& next_entry();
    [[nodiscard]] static uint64_t tag(uint16_t client, void* item);

private:
    static constexpr size_t kRandomWords = 32;  // 256 bytes: getrandom gives them whole

    explicit Reactor(ReactorOptions options);
    Result<void> open();
    void loop(const TaskGroup& until);
    void resume_ready();
    void expire_timers();
    void enter_kernel();
    void submit_now();
    void reap();
    void arm_wake();
    void take_posted();

    template <class T>
    static Task<void> store(Task<T> task, std::optional<T>& result) {
        result.emplace(co_await std::move(task));
    }

    const ReactorOptions options_;
    const std::thread::id thread_ = std::this_thread::get_id();
    std::unique_ptr<io_uring> ring_;
    ContinuationQueue ready_;
    std::vector<Timer> timers_;  // a heap, the earliest on top
    uint64_t timer_sequence_ = 0;
    std::vector<RingClient*> clients_;  // by number - 1; null: free
    std::array<uint64_t, kRandomWords> random_words_{};
    size_t random_left_ = 0;
    bool running_ = false;
    bool wake_armed_ = false;
    int wake_fd_ = -1;
    std::atomic<Continuation*> posted_ = nullptr;  // by other threads, the newest first
};

template <class T>
T Reactor::run(Task<T> task) {
    TaskGroup group(*this);
    if constexpr (std::is_void_v<T>) {
        group.spawn(std::move(task));
        loop(group);
    } else {
        std::optional<T> result;
        group.spawn(store<T>(std::move(task), result));
        loop(group);
        return *std::move(result);
    }
}

}  // namespace stoa::io
