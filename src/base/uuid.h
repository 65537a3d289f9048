// Identifiers: 128-bit UUIDs (RFC 9562). The caller brings the randomness.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace stoa {

struct Uuid {
    std::array<std::byte, 16> bytes{};

    auto operator<=>(const Uuid&) const = default;
    [[nodiscard]] bool is_nil() const { return *this == Uuid{}; }
    // 36 characters, lower case.
    [[nodiscard]] std::string to_string() const;
    // Accepts the 36-character form, either case. Errors: invalid_argument.
    static Result<Uuid> parse(std::string_view text);
    // Version 4 (random) from 128 random bits.
    static Uuid from_random(uint64_t high, uint64_t low);
};

struct UuidHash {
    size_t operator()(const Uuid& id) const;
};

}  // namespace stoa
