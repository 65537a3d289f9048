// Buffers: memory for the data of requests, with a limit over all connections of a server.
//
// Small ones are kept and given again. A connection has a share that nobody can take from it, so
// that it goes on beside others that hold all the rest; beyond that share it waits its turn.
#pragma once

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

    private:
        friend class Buffers;
        Buffers& buffers_;
        BufferHolder& holder_;
        uint64_t own_bytes_ = 0;
        uint64_t shared_bytes_ = 0;
    };

    // Looks again, for those that should give up.
    void wake() { freed_.notify_all(); }
    [[nodiscard]] uint64_t shared_bytes() const { return shared_bytes_; }

private:
    static constexpr size_t kSmallBytes = 4096;
    static constexpr size_t kSmallKept = 1024;

    io::Task<void> reap();

    const BufferLimits limits_;
    io::Executor& executor_;
    io::Condition freed_;
    io::TaskGroup reaper_;  // runs while somebody waits
    std::vector<Account*> accounts_;
    uint64_t shared_bytes_ = 0;
    std::vector<AlignedBuffer> small_;
};

}  // namespace stoa::nbd
