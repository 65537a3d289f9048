// The watch: a WebSocket with all that happens, each message a JSON object with a "type".
//
//     {"type": "entry", "sequence", "time_ns", "kind", "subject", "text", …}   of the journal
//     {"type": "record", "kind", "id", "change": spec|status|erased, "revision"}
//     {"type": "progress", "task", "done", "total", "text"}
//     {"type": "ready", "sequence", "revision"}   first: from where it goes on
//
// A client that comes again says ?since= (the last entry's sequence) and ?revision= (of the last
// record message) and misses nothing. What is too long ago closes with 4410: list again.
#pragma once

#include <string>

#include "controlplane/api/context.h"
#include "controlplane/async/async.h"
#include "controlplane/http/route.h"

namespace stoa::api {

Async<> watch(Context& context, const http::Request& request, http::Socket& socket);

}  // namespace stoa::api
