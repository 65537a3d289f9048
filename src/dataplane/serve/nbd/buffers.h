// Buffers: memory for the data of requests, with a limit over all connections of a server.
//
// Those of common sizes are kept and given again. A connection has a share that nobody can take
// from it, so that it goes on beside others that hold all the rest; beyond that share it waits its
// turn: who came first and lacks only room is not overtaken, so that a big request is not starved
// by small ones. Behaviour: server_test.cc.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "dataplane/io/sync.h"
#include "dataplane/io/task.h"

namespace stoa::nbd {

struct BufferLimits {
    uint64_t shared_bytes = uint64_t{128} << 20;  // for all connections together
    uint64_t share_bytes = uint64_t{256} << 10;   // of each connection alone, besides
    // Who does not take its answers for so long is cut off while others wait for memory.
    uint64_t stuck_ns = 10'000'000'000;
};

// Holds buffers: a connection.
class BufferHolder {
public:
    // Since when its client has not taken what waits for it; 0: it takes it.
    [[nodiscard]] virtual uint64_t stuck_since_ns() const = 0;
    // Gives back what it holds, soon.
    virtual void cut() = 0;

protected:
    ~BufferHolder() = default;
};

class Buffers {
public:
    Buffers(io::Executor& executor, BufferLimits limits)
        : limits_(limits), executor_(executor), freed_(executor), reaper_(executor) {}
    Buffers(const Buffers&) = delete;
    Buffers& operator=(const Buffers&) = delete;
    // When all accounts are closed; awaited before it is destroyed.
    io::Task<void> stop() { co_await reaper_.join(); }

    // What one connection holds. All of it is given back before it ends.
    class Account {
    public:
        Account(Buffers& buffers, BufferHolder& holder);
        Account(const Account&) = delete;
        Account& operator=(const Account&) = delete;
        ~Account();

        // Waits until `size_bytes` may be taken, or until `give_up`; true: take() may follow now.
        io::Task<bool> admit(size_t size_bytes, const bool& give_up);
        // True if nothing has to be waited for.
        [[nodiscard]] bool try_admit(size_t size_bytes);
        // Not zeroed. After an admission of the same size.
        [[nodiscard]] AlignedBuffer take(size_t size_bytes);
        void give_back(AlignedBuffer buffer);
        // What was admitted for memory that comes from elsewhere.
        void give_back_bytes(size_t size_bytes);

    private:
        friend class Buffers;
        // Half of all is the most that one connection shares in, unless it holds nothing yet.
        [[nodiscard]] bool is_fair(size_t size_bytes) const;
        // `until`: whose turn it is to be, among those who wait; nullptr: behind all of them.
        struct Waiter;
        [[nodiscard]] bool may_share(size_t size_bytes, const Waiter* until) const;
        bool admit_now(size_t size_bytes, const Waiter* until);

        Buffers& buffers_;
        BufferHolder& holder_;
        uint64_t own_bytes_ = 0;
        uint64_t shared_bytes_ = 0;
    };

    // Looks again, for those that should give up.
    void wake() { freed_.notify_all(); }
    [[nodiscard]] uint64_t shared_bytes() const { return shared_bytes_; }

private:
    // Buffers of a power of two are kept.
    static constexpr size_t kKeptBytesLeast = 4096;
    static constexpr size_t kKeptSizes = 9;  // up to 1 MiB
    static constexpr size_t kKeptBytesMax = 16 << 20;  // of all together

    // The free list of a size; nullptr: it is not kept.
    [[nodiscard]] std::vector<AlignedBuffer>* list_of(size_t size_bytes);
    io::Task<void> reap();

    const BufferLimits limits_;
    io::Executor& executor_;
    io::Condition freed_;
    io::TaskGroup reaper_;  // runs while somebody waits
    std::vector<Account*> accounts_;
    std::vector<const Account::Waiter*> waiting_;  // the first to come is first
    uint64_t shared_bytes_ = 0;
    std::array<std::vector<AlignedBuffer>, kKeptSizes> kept_;
    size_t kept_bytes_ = 0;
};

}  // namespace stoa::nbd
