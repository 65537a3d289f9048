// Secrets out of bodies, before these go into the journal.
#pragma once

#include "base/json.h"

namespace stoa::api {

// `value` with "***" for each text that the schema marks as writeOnly, and for whatever stands
// under a name that the schema does not know.
[[nodiscard]] Json redact(const Json& value, const Json& schema);

}  // namespace stoa::api
