#include "controlplane/api/context.h"

namespace stoa::api {

Context::Context(const Parts& parts)
    : Parts(parts),
      tickets([this] { return clock.monotonic_ns(); }, [this] { return random.next(); }),
      plan_tokens({.now_ns = [this] { return clock.monotonic_ns(); },
                   .random = [this] { return random.next(); }}) {}

}  // namespace stoa::api
