// The nftables ruleset of an instance: one table in each of two families (ip,
// bridge), with all networks in it, each replaced atomically.
//
//   - Guests of a NAT network reach the world through the host's address.
//   - The world reaches guests only through port forwards, which work from outside, from the host
//     itself (127.0.0.1 too) and from the guests. Networks do not reach each other but through
//     them.
//   - A tap passes only what its NIC may send: its own hardware address, in a NAT network its own
//     IPv4 address, ARP, and no answers of a DHCP server.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "controlplane/model/network.h"
#include "controlplane/network/links.h"
#include "controlplane/network/subnet.h"

namespace stoa::network {

// A network that is up, as the ruleset needs it.
struct NetworkRules {
    model::NetworkMode mode = model::NetworkMode::nat;
    std::string interface;
    Subnet subnet;  // mode nat
    std::vector<model::Lease> leases;
    std::vector<model::PortForward> forwards;  // to VMs without a lease: left out
};

// The bodies of the instance's tables, for host::replace_table(). Among its chains each has an
// empty one named after the content of both (`mark`), so that a table that others removed or
// replaced is noticed.
struct Ruleset {
    std::string ip;
    std::string bridge;
    std::string mark;  // "mark_" and 16 hex digits
};

[[nodiscard]] Ruleset make_ruleset(const std::vector<NetworkRules>& networks);

// Whether both tables of the instance are there with this mark, by the answer of
// `nft -j list ruleset`. Errors: invalid_argument (not nftables' JSON).
[[nodiscard]] Result<bool> has_mark(std::string_view nft_json, const Instance& instance,
                                    std::string_view mark);

}  // namespace stoa::network
