#include "controlplane/network/addresses.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "base/utf8.h"
#include "controlplane/model/record.h"
#include "controlplane/network/links.h"

namespace stoa::network {

namespace {

Result<Ipv4> check_wanted(const Subnet& subnet, std::span<const model::Lease> leases,
                          std::string_view wanted) {
    TRY_ASSIGN(const Ipv4 address, parse_ipv4(wanted));
    if (!subnet.contains(address)) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("address {}: is not of subnet {}", wanted, to_text(subnet)));
    }
    if (address < subnet.first_guest() || address > subnet.last_guest()) {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("address {}: guests of {} have {} to {}", wanted, to_text(subnet),
                                 to_text(subnet.first_guest()), to_text(subnet.last_guest())));
    }
    for (const model::Lease& lease : leases) {
        if (lease.address == wanted) {
            return Error(ErrorCode::in_use, fmt::format("address {}: belongs to NIC {} of vm {}",
                                                        wanted, lease.nic, lease.name));
        }
    }
    return address;
}

}  // namespace

std::string choose_mac(const Uuid& vm, std::string_view nic) {
    const uint64_t hash = nic_hash(vm, nic, 0);
    return fmt::format("02:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}", (hash >> 56) & 255,
                       (hash >> 48) & 255, (hash >> 40) & 255, (hash >> 32) & 255,
                       (hash >> 24) & 255);
}

Result<void> check_mac(std::string_view mac) {
    const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
    bool fits = mac.size() == 17;
    for (size_t i = 0; fits && i < mac.size(); ++i) {
        fits = i % 3 == 2 ? mac[i] == ':' : is_hex(mac[i]);
    }
    constexpr std::string_view kGroup = "13579bdf";
    if (!fits || kGroup.find(mac[1]) != std::string_view::npos || mac == "00:00:00:00:00:00") {
        return Error(ErrorCode::invalid_argument,
                     fmt::format("mac \"{}\": must be like 02:12:34:56:78:9a, of lower-case "
                                 "digits, and not a group's",
                                 to_plain_text(mac)));
    }
    return {};
}

Result<Ipv4> choose_address(const Subnet& subnet, std::span<const model::Lease> leases,
                            std::string_view wanted) {
    if (!wanted.empty()) return check_wanted(subnet, leases, wanted);
    std::vector<Ipv4> taken;
    taken.reserve(leases.size());
    for (const model::Lease& lease : leases) {
        const Result<Ipv4> address = parse_ipv4(lease.address);
        if (address.ok() && subnet.contains(*address)) taken.push_back(*address);
    }
    std::ranges::sort(taken);
    Ipv4 free = subnet.first_guest();
    for (const Ipv4 address : taken) {
        if (address == free) ++free.bits;
    }
    if (free > subnet.last_guest()) {
        return Error(ErrorCode::no_space, fmt::format("subnet {}: all {} addresses are given out",
                                                      to_text(subnet), subnet.guests_max()));
    }
    return free;
}

std::string guest_name(std::string_view vm_name, const model::VmSpec& vm, const Uuid& network,
                       std::string_view nic) {
    const auto first = std::ranges::find_if(
        vm.nics, [&](const model::VmNic& one) { return one.network == network; });
    if (first == vm.nics.end() || first->name == nic) return std::string(vm_name);
    // A DNS label: what is too long is cut at the VM's name.
    const size_t room = model::kNameBytesMax - std::min(nic.size() + 1, model::kNameBytesMax - 1);
    return fmt::format("{}-{}", vm_name.substr(0, room), nic);
}

}  // namespace stoa::network
