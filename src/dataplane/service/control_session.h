// One connection to the control socket: a reader, a writer, and the calls that run
// (rpc/json_rpc.h). Any bytes of a client: control_fuzz.cc.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "dataplane/io/stream.h"
#include "dataplane/io/sync.h"
#include "dataplane/service/events.h"
#include "dataplane/service/method.h"
#include "rpc/json_rpc.h"

namespace stoa::service {

class ControlSession {
public:
    // Gives the method of a name, or nullptr. Methods outlive the session.
    using Find = std::function<const Method*(std::string_view)>;

    // All of these outlive it.
    ControlSession(io::Executor& executor, Find find, Events& events, io::Stream& stream);
    ControlSession(const ControlSession&) = delete;
    ControlSession& operator=(const ControlSession&) = delete;
    ~ControlSession();

    // Until the client has hung up or was cut off, and all its calls have ended.
    io::Task<void> run();
    void cut() { stream_.shut_down(); }

private:
    static constexpr size_t kCallsMax = 64;  // at a time
    static constexpr size_t kQueuedBytesMax = size_t{16} << 20;  // a client that does not read

    io::Task<void> read();
    void take(const std::string& line);
    io::Task<void> call(rpc::Request request);
    void subscribe();
    void send(std::string_view line);
    io::Task<void> write();

    const Find find_;
    Events& events_;
    io::Stream& stream_;
    io::TaskGroup calls_;
    io::TaskGroup writer_;
    io::Condition outgoing_;
    io::Condition call_ended_;
    std::string queued_;
    uint64_t subscription_ = 0;
    bool ended_ = false;
};

}  // namespace stoa::service
