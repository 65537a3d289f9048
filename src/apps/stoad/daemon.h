// The daemon: builds the objects of the control plane, in the order in which they need each other,
// and takes them down in reverse. Guests and stoa-blockd live on when it ends.
//
// Start: what runs is adopted, and what is frozen thawed, before anything else is done for it;
// then tasks go on; then the API answers.
#pragma once

#include <memory>

#include <boost/asio/io_context.hpp>

#include "apps/stoad/options.h"
#include "controlplane/async/async.h"
#include "controlplane/host/clock.h"

namespace stoa::apps::stoad {

// One thread.
class Daemon {
public:
    Daemon(asio::io_context& loop, Options options, host::Clock& clock);
    Daemon(const Daemon&) = delete;
    Daemon& operator=(const Daemon&) = delete;
    ~Daemon();  // CHECKs that close() finished.

    // Errors: those of what is opened, with the reason; call close() then as well.
    Async<> start();
    AsyncVoid close();

private:
    struct Parts;
    std::unique_ptr<Parts> parts_;
};

}  // namespace stoa::apps::stoad
