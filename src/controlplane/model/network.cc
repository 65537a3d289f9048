#include "controlplane/model/network.h"

#include <algorithm>
#include <charconv>

#include <fmt/format.h>

#include "controlplane/model/checks.h"
#include "controlplane/model/record.h"

namespace stoa::model {

namespace {

constexpr size_t kForwardsMax = 256;
constexpr size_t kDomainBytesMax = 253;
constexpr size_t kLinkBytesMax = 15;
constexpr uint32_t kPrefixMin = 8;
constexpr uint32_t kPrefixMax = 29;
constexpr uint32_t kPortMax = 65'535;

// "10.7.0.0/24", nothing set behind its prefix.
bool is_subnet(std::string_view text) {
    const size_t slash = text.find('/');
    if (slash == std::string_view::npos || !is_ipv4(text.substr(0, slash))) return false;
    const std::string_view digits = text.substr(slash + 1);
    uint32_t prefix = 0;
    const char* const end = digits.data() + digits.size();
    const auto [stop, error] = std::from_chars(digits.data(), end, prefix);
    if (error != std::errc() || stop != end || digits.front() == '0') return false;
    if (prefix < kPrefixMin || prefix > kPrefixMax) return false;
    uint32_t address = 0;
    uint32_t part = 0;
    for (const char c : text.substr(0, slash)) {
        if (c == '.') {
            address = (address << 8) | part;
            part = 0;
        } else {
            part = part * 10 + static_cast<uint32_t>(c - '0');
        }
    }
    address = (address << 8) | part;
    return (address & (~uint32_t{0} >> prefix)) == 0;
}

bool is_domain(std::string_view text) {
    if (text.empty() || text.size() > kDomainBytesMax) return false;
    for (;;) {
        const size_t dot = text.find('.');
        if (!check_name(text.substr(0, dot)).ok()) return false;
        if (dot == std::string_view::npos) return true;
        text.remove_prefix(dot + 1);
    }
}

bool is_link_name(std::string_view text) {
    const auto fits = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
               c == '-' || c == '_' || c == '.';
    };
    return !text.empty() && text.size() <= kLinkBytesMax && std::ranges::all_of(text, fits) &&
           text.front() != '-' && text != "." && text != "..";
}

Result<void> check_forwards(const std::vector<PortForward>& forwards) {
    TRY(check_range("spec.forwards", forwards.size(), 0, kForwardsMax));
    for (size_t i = 0; i < forwards.size(); ++i) {
        const PortForward& one = forwards[i];
        const std::string field = fmt::format("spec.forwards[{}]", i);
        TRY(check_range(field + ".host_port", one.host_port, 1, kPortMax));
        TRY(check_range(field + ".guest_port", one.guest_port, 1, kPortMax));
        if (!one.host_address.empty() && !is_ipv4(one.host_address)) {
            return wrong_field(field + ".host_address", "must be an address such as 192.0.2.10");
        }
        if (one.vm.is_nil()) return wrong_field(field + ".vm", "is missing");
        for (size_t k = 0; k < i; ++k) {
            const PortForward& other = forwards[k];
            const bool overlaps = other.host_address.empty() || one.host_address.empty() ||
                                  other.host_address == one.host_address;
            if (!overlaps || other.protocol != one.protocol || other.host_port != one.host_port) {
                continue;
            }
            return wrong_field(field + ".host_port",
                               fmt::format("{} is taken by spec.forwards[{}]", one.host_port, k));
        }
    }
    return {};
}

}  // namespace

Result<void> check(const NetworkSpec& spec) {
    if (!is_domain(spec.domain)) {
        return wrong_field("spec.domain", "must be a domain such as stoa or lab.example.org");
    }
    if (spec.mode == NetworkMode::bridge) {
        if (!is_link_name(spec.bridge)) {
            return wrong_field("spec.bridge", "must name a bridge of the host, such as br0");
        }
        if (!spec.subnet.empty()) return wrong_field("spec.subnet", "is only for mode nat");
        if (!spec.forwards.empty()) return wrong_field("spec.forwards", "are only for mode nat");
        return {};
    }
    if (!spec.bridge.empty()) return wrong_field("spec.bridge", "is only for mode bridge");
    if (!spec.subnet.empty() && !is_subnet(spec.subnet)) {
        return wrong_field("spec.subnet",
                           fmt::format("must be a network such as 10.77.3.0/24, its prefix from {} "
                                       "to {}, nothing set behind it",
                                       kPrefixMin, kPrefixMax));
    }
    return check_forwards(spec.forwards);
}

}  // namespace stoa::model
