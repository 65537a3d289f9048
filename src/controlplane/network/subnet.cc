#include "controlplane/network/subnet.h"

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <optional>
#include <vector>

#include <fmt/format.h>

#include "base/utf8.h"

namespace stoa::network {

namespace {

constexpr uint32_t kPrefixBitsMin = 16;
constexpr uint32_t kPrefixBitsMax = 29;

// A decimal number without leading zeros, up to `high`.
std::optional<uint32_t> parse_number(std::string_view text, uint32_t high) {
    uint32_t number = 0;
    const char* end = text.data() + text.size();
    const auto [stop, error] = std::from_chars(text.data(), end, number);
    if (text.empty() || error != std::errc{} || stop != end || number > high ||
        (text.size() > 1 && text.front() == '0')) {
        return std::nullopt;
    }
    return number;
}

uint32_t mask_bits(uint32_t prefix_bits) {
    return prefix_bits == 0 ? 0 : ~uint32_t{0} << (32 - prefix_bits);
}

constexpr Subnet net(uint32_t a, uint32_t b, uint32_t c, uint32_t prefix_bits) {
    return {{(a << 24) | (b << 16) | (c << 8)}, prefix_bits};
}

}  // namespace

Result<Ipv4> parse_ipv4(std::string_view text) {
    const auto wrong = [&] {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("address \"{}\": must be an IPv4 address such as 10.77.3.5",
                                 to_plain_text(text)));
    };
    Ipv4 address;
    std::string_view rest = text;
    for (int part = 0; part < 4; ++part) {
        const size_t dot = part < 3 ? rest.find('.') : rest.size();
        if (dot == std::string_view::npos) return wrong();
        const auto number = parse_number(rest.substr(0, dot), 255);
        if (!number) return wrong();
        address.bits = (address.bits << 8) | *number;
        if (part < 3) rest.remove_prefix(dot + 1);
    }
    return address;
}

std::string to_text(Ipv4 address) {
    return fmt::format("{}.{}.{}.{}", address.bits >> 24, (address.bits >> 16) & 255,
                       (address.bits >> 8) & 255, address.bits & 255);
}

bool Subnet::contains(Ipv4 address) const {
    return (address.bits & mask_bits(prefix_bits)) == base.bits;
}

bool Subnet::overlaps(const Subnet& other) const {
    return prefix_bits <= other.prefix_bits ? contains(other.base) : other.contains(base);
}

Ipv4 Subnet::last_guest() const { return {(base.bits | ~mask_bits(prefix_bits)) - 1}; }

uint32_t Subnet::guests_max() const { return last_guest().bits - first_guest().bits + 1; }

Ipv4 Subnet::mask() const { return {mask_bits(prefix_bits)}; }

Result<Subnet> parse_subnet(std::string_view text) {
    const auto wrong = [&](std::string_view why) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("subnet \"{}\": {}", to_plain_text(text), why));
    };
    const size_t slash = text.find('/');
    if (slash == std::string_view::npos) return wrong("must be ADDRESS/BITS such as 10.77.3.0/24");
    const Result<Ipv4> base = parse_ipv4(text.substr(0, slash));
    const auto bits = parse_number(text.substr(slash + 1), 32);
    if (!base.ok() || !bits) return wrong("must be ADDRESS/BITS such as 10.77.3.0/24");
    const Subnet subnet{*base, *bits};
    if (!subnet.contains(*base)) {
        return wrong(
            fmt::format("begins at {}/{}", to_text(Ipv4{base->bits & mask_bits(*bits)}), *bits));
    }
    return subnet;
}

std::string to_text(const Subnet& subnet) {
    return fmt::format("{}/{}", to_text(subnet.base), subnet.prefix_bits);
}

Result<Subnet> parse_guest_subnet(std::string_view text) {
    TRY_ASSIGN(const Subnet subnet, parse_subnet(text));
    if (subnet.prefix_bits < kPrefixBitsMin || subnet.prefix_bits > kPrefixBitsMax) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("subnet {}: must have a prefix of {} to {} bits", to_text(subnet),
                                 kPrefixBitsMin, kPrefixBitsMax));
    }
    static constexpr std::array kForbidden = {
        std::pair{net(0, 0, 0, 8), "\"this network\""},
        std::pair{net(127, 0, 0, 8), "the loopback network"},
        std::pair{net(169, 254, 0, 16), "for link-local addresses"},
        std::pair{net(224, 0, 0, 3), "not for unicast addresses"},
    };
    for (const auto& [forbidden, why] : kForbidden) {
        if (subnet.overlaps(forbidden)) {
            return Error(ErrorCode::invalid_argument,
                         fmt::format("subnet {}: lies in {}, which is {}", to_text(subnet),
                                     to_text(forbidden), why));
        }
    }
    return subnet;
}

Result<Subnet> choose_subnet(std::span<const Subnet> used) {
    for (const Subnet& range : {net(10, 77, 0, 16), net(192, 168, 128, 17)}) {
        const uint32_t count = uint32_t{1} << (24 - range.prefix_bits);
        for (uint32_t i = 0; i < count; ++i) {
            const Subnet candidate{{range.base.bits + (i << 8)}, 24};
            if (std::ranges::none_of(used,
                                     [&](const Subnet& one) { return one.overlaps(candidate); })) {
                return candidate;
            }
        }
    }
    return Error(ErrorCode::no_space,
                 "no subnet is free on this host in 10.77.0.0/16 and 192.168.128.0/17: name one");
}

}  // namespace stoa::network
