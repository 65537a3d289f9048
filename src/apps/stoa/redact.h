// Values that others may see: what is a secret, or looks like one, is taken out.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace stoa::cli {

// Fields named like secrets become "(removed)", at any depth; so do "password=..." and kin within
// texts.
[[nodiscard]] Json redacted(const Json& value);
[[nodiscard]] std::string redacted_text(std::string_view text);

}  // namespace stoa::cli
