// BlockdClient: asks stoa-blockd over its control socket, and hears its events.
//
// One connection, made anew whenever it ends, until close(). Calls wait beside each other; one
// whose connection is lost before its answer is asked again on the next one: only what may be asked
// twice is asked here (docs/blockd.md). Each call ends by its deadline, whatever the daemon does:
// what it sends is bounded and never believed. Messages: src/rpc/; named calls: blockd.h. A daemon
// that lies, stalls, or dies: blockd_client_test.cc, answers_fuzz.cc.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "controlplane/async/async.h"
#include "controlplane/async/signal.h"
#include "rpc/daemon.h"

namespace stoa::storage {

struct BlockdClientOptions {
    std::string socket_path;  // ROOT/blockd/control.socket
    std::chrono::milliseconds connect_limit{2000};
    std::chrono::milliseconds reconnect_pause{50};  // doubles …
    std::chrono::milliseconds reconnect_pause_max{1000};  // … up to this
    size_t calls_max = 4096;  // that wait at the same time
    size_t answer_bytes_max = 32u << 20;  // a longer message ends the connection
    size_t notices_max = 1024;
};

// What a subscriber learns, in its order.
struct Notice {
    enum class What : uint8_t {
        connected,  // what happened before is not known: look at everything
        disconnected,
        lost,  // events were not taken in time: look at everything
        event,
    };
    What what = What::event;
    rpc::Event event;
};

// One thread. Does not move.
class BlockdClient {
public:
    // Begins to connect; never fails for a daemon that is away.
    static std::unique_ptr<BlockdClient> create(asio::any_io_executor executor,
                                                BlockdClientOptions options);
    BlockdClient(const BlockdClient&) = delete;
    BlockdClient& operator=(const BlockdClient&) = delete;
    ~BlockdClient();  // CHECKs that close() finished.
    // Calls that wait end with `cancelled`. Call once.
    AsyncVoid close();

    // The answer of `method`. Errors: those of the daemon; timeout (no answer within `limit`: it
    // may have been done or not; says whether there is a daemon at all), busy (too many calls),
    // invalid_argument (longer than a message may be), cancelled (closing, or who asks was).
    Async<Json> call(std::string method, Json params, std::chrono::milliseconds limit);

    // The next notice; waits for it. One waiter at a time, and the first that waits begins the
    // collecting. Errors: cancelled.
    Async<Notice> next_notice();

    [[nodiscard]] bool is_connected() const;
    // Why not, for people; empty if it is.
    [[nodiscard]] const std::string& why_not() const;
    // Wakes when the connection comes or goes.
    [[nodiscard]] Signal& changed();

private:
    struct State;
    explicit BlockdClient(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

}  // namespace stoa::storage
