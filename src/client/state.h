// What a Client holds. Only for client.cc and websocket.cc.
#pragma once

#include <memory>
#include <optional>

#include "client/client.h"
#include "client/stream.h"

namespace stoa::client {

struct Client::State {
    Endpoint endpoint;
    Loop loop;
    std::unique_ptr<Stream> stream;  // after the loop: it is destroyed before it
    Failure failure = Failure::none;
    std::optional<Problem> problem;

    Async<> ensure_connected();
};

}  // namespace stoa::client
