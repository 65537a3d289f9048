// Tokens: random words that are shown once and kept as a hash. Inside of this folder.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"
#include "controlplane/host/random.h"

namespace stoa::access {

// "stoa-session-" or "stoa-token-" and 64 hex digits of 256 random bits.
[[nodiscard]] std::string new_token(std::string_view kind, host::Random& random);
// SHA-256, 64 hex digits. What is guessed in 2^256 needs no slow hash.
[[nodiscard]] std::string hash_token(std::string_view token);
// "AB:CD:…" of SHA-256.
[[nodiscard]] std::string fingerprint_of(std::string_view bytes);

}  // namespace stoa::access
