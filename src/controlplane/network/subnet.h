// IPv4 addresses and subnets: reading, writing, and the choice of a subnet that nobody has.
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace stoa::network {

struct Ipv4 {
    uint32_t bits = 0;  // 10.0.0.1 is 0x0a000001
    auto operator<=>(const Ipv4&) const = default;
};

// Four decimal numbers without leading zeros. Errors: invalid_argument.
[[nodiscard]] Result<Ipv4> parse_ipv4(std::string_view text);
[[nodiscard]] std::string to_text(Ipv4 address);

struct Subnet {
    Ipv4 base;
    uint32_t prefix_bits = 32;
    bool operator==(const Subnet&) const = default;

    [[nodiscard]] bool contains(Ipv4 address) const;
    [[nodiscard]] bool overlaps(const Subnet& other) const;
    [[nodiscard]] Ipv4 gateway() const { return {base.bits + 1}; }  // the host's own
    [[nodiscard]] Ipv4 first_guest() const { return {base.bits + 2}; }
    [[nodiscard]] Ipv4 last_guest() const;  // the one before the broadcast address
    [[nodiscard]] uint32_t guests_max() const;
    [[nodiscard]] Ipv4 mask() const;
};

// Any "ADDRESS/BITS" whose address is the first of it. Errors: invalid_argument (what it should
// be).
[[nodiscard]] Result<Subnet> parse_subnet(std::string_view text);
[[nodiscard]] std::string to_text(const Subnet& subnet);

// What a network of guests may have: /16 to /29, of unicast addresses, and not of the loopback,
// link-local or "this network" ones. Errors: invalid_argument.
[[nodiscard]] Result<Subnet> parse_guest_subnet(std::string_view text);

// The first /24 of 10.77.0.0/16, then of 192.168.128.0/17, that overlaps none of `used`.
// Errors: no_space (name one yourself).
[[nodiscard]] Result<Subnet> choose_subnet(std::span<const Subnet> used);

}  // namespace stoa::network
