// Passwords: argon2id (RFC 9106), 19 MiB, 2 passes, 1 lane, a salt of 16 bytes, a hash of 32: what
// OWASP asks for at least, some 30 ms and no more memory than a small host has to spare. These
// calls block so long: run them on a Worker.
#pragma once

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

#include "base/result.h"

namespace stoa::access {

constexpr size_t kPasswordBytesMin = 8;
constexpr size_t kPasswordBytesMax = 1024;

using Salt = std::array<std::byte, 16>;

// Errors: invalid_argument (length; not UTF-8).
[[nodiscard]] Result<void> check_password(std::string_view password);

// "$argon2id$v=19$m=19456,t=2,p=1$SALT$HASH". Errors: no_space (memory).
[[nodiscard]] Result<std::string> hash_password(std::string_view password, const Salt& salt);

// Takes as long for a wrong password as for the right one. `hash` empty: never right, after the
// same time. Passwords that are too long are wrong.
[[nodiscard]] bool verify_password(std::string_view password, std::string_view hash);

}  // namespace stoa::access
