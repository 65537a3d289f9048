// Leases: what each NIC in a network is given, as it follows from the records.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "controlplane/model/network.h"
#include "controlplane/model/vm.h"
#include "controlplane/network/links.h"
#include "controlplane/network/subnet.h"
#include "controlplane/records/records.h"

namespace stoa::network {

using NicKey = std::pair<Uuid, std::string>;  // VM, name of the NIC

struct LeasePlan {
    std::vector<model::Lease> leases;     // by VM and NIC
    std::map<NicKey, Error> refused;      // what cannot be given, and why
};

// The leases of `network` for the NICs of `vms` that are in it. A NIC keeps what it has as long as
// its spec wants no other address; then those get theirs that want a certain one, then the rest.
// `subnet`: none in mode bridge. `interfaces`: names of taps that other networks' NICs have.
[[nodiscard]] LeasePlan plan_leases(const Instance& instance,
                                    const model::Record<model::Network>& network,
                                    const std::optional<Subnet>& subnet,
                                    const records::Table<model::Vm>& vms,
                                    const std::set<std::string>& interfaces);

}  // namespace stoa::network
