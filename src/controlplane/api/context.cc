#include "controlplane/api/context.h"

namespace stoa::api {

Context::Context(const Parts& parts)
    : store(parts.store), records(parts.records), engine(parts.engine), journal(parts.journal),
      authorizer(parts.authorizer), clock(parts.clock), random(parts.random), about(parts.about),
      tickets([this] { return clock.monotonic_ns(); }, [this] { return random.next(); }),
      plan_tokens({.now_ns = [this] { return clock.monotonic_ns(); },
                   .random = [this] { return random.next(); }}) {}

}  // namespace stoa::api
