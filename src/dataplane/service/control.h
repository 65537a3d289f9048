// The control socket: JSON-RPC for root and the user that the daemon runs as (rpc/json_rpc.h).
#pragma once

#include <memory>
#include <vector>

#include "base/result.h"
#include "dataplane/io/socket.h"
#include "dataplane/io/sync.h"
#include "dataplane/service/control_session.h"
#include "dataplane/service/service.h"

namespace stoa::service {

class Control {
public:
    Control(io::Reactor& reactor, Service& service);
    Control(const Control&) = delete;
    Control& operator=(const Control&) = delete;
    ~Control();

    // Errors: those of io::Listener.
    Result<void> start();
    // Cuts all clients off; calls that run are ended.
    io::Task<void> stop();

private:
    static constexpr size_t kClientsMax = 64;
    io::Task<void> accept_clients();
    io::Task<void> attend(std::unique_ptr<io::Socket> socket);

    io::Reactor& reactor_;
    Service& service_;
    std::unique_ptr<io::Listener> listener_;
    std::vector<ControlSession*> clients_;
    io::TaskGroup tasks_;
    bool stopping_ = false;
};

}  // namespace stoa::service
