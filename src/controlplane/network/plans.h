// What requests about networks will do: pure functions of the request and of the records.
#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "controlplane/model/network_requests.h"
#include "controlplane/network/subnet.h"
#include "controlplane/records/records.h"
#include "controlplane/task/plan.h"

namespace stoa::network {

// What planners are told of the world besides the request.
struct Planning {
    const records::Records& records;
    task::Ids& ids;
    bool may_manage = false;  // links, addresses and nftables: Networks::may_manage()
};

// Steps: network.record, network.apply. Errors: invalid_argument (field), already_exists (name),
// in_use (subnet of another network, host port of another forward), denied (no root: use user-mode
// networking).
[[nodiscard]] Result<task::Plan> plan_create(const Planning& planning,
                                             const model::NetworkCreate& request);
// Steps: network.apply. `if_match`: the revision that the request is about; empty: any.
// Errors: as above, not_found (network, VM, forward), conflict (another revision).
[[nodiscard]] Result<task::Plan> plan_set(const Planning& planning, std::string_view network,
                                          const model::NetworkSet& request,
                                          std::string_view if_match);
// Steps: network.clean; the record is erased with the plan's intent, and there is no way back.
// Errors: not_found, in_use (names the VMs whose NICs are in it), conflict.
[[nodiscard]] Result<task::Plan> plan_delete(const Planning& planning, std::string_view network,
                                             std::string_view if_match);

// For planners of VMs: that each NIC of `spec` can be in its network: the network exists, a wanted
// address is free and of its subnet, hardware addresses are well-formed and nobody else's, there is
// room. `vm` is the one that `spec` is of.
// Errors: invalid_argument ("nics[1].address: …"), not_found, in_use, no_space, denied (no root).
[[nodiscard]] Result<void> check_nics(const records::Records& records, const Uuid& vm,
                                      const model::VmSpec& spec, bool may_manage);

// "8080/tcp" or "192.0.2.1:8080/tcp": how a forward is named.
[[nodiscard]] std::string forward_name(const model::PortForward& forward);

// model::check(), and what a subnet and forwards of guests must keep to besides.
// Errors: invalid_argument (field).
[[nodiscard]] Result<void> check_network(const model::NetworkSpec& spec);

// The subnet of a NAT network: the one wanted, else the one in use. Errors: not_found (none yet).
[[nodiscard]] Result<Subnet> subnet_of(const model::Record<model::Network>& network);

// The hardware address that a NIC has: its spec's, or the one that it always gets.
[[nodiscard]] std::string mac_of(const Uuid& vm, const model::VmNic& nic);

}  // namespace stoa::network
