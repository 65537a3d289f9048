#include "controlplane/network/leases.h"

#include <algorithm>

#include <fmt/format.h>

#include "controlplane/network/addresses.h"
#include "controlplane/network/plans.h"

namespace stoa::network {

namespace {

struct Wanted {
    NicKey key;
    std::string name;
    std::string mac;
    std::string address;  // empty: any
};

std::vector<Wanted> wanted_of(const Uuid& network, const records::Table<model::Vm>& vms) {
    std::vector<Wanted> all;
    for (const auto& [id, vm] : vms) {
        for (const model::VmNic& nic : vm.spec.nics) {
            if (nic.network != network) continue;
            all.push_back({{id, nic.name},
                           guest_name(vm.name, vm.spec, network, nic.name),
                           mac_of(id, nic),
                           nic.address});
        }
    }
    // Those that want a certain address come first; the order is that of the VMs' making.
    std::ranges::sort(all, {},
                      [](const Wanted& one) { return std::pair(one.address.empty(), one.key); });
    return all;
}

const model::Lease* find(const std::vector<model::Lease>& leases, const NicKey& key) {
    const auto found = std::ranges::find_if(leases, [&](const model::Lease& lease) {
        return lease.vm == key.first && lease.nic == key.second;
    });
    return found == leases.end() ? nullptr : &*found;
}

// Whether what the NIC has is what it wants.
bool fits(const model::Lease& lease, const Wanted& wanted, const std::optional<Subnet>& subnet) {
    if (lease.interface.empty()) return false;
    if (!subnet) return lease.address.empty();
    const auto address = parse_ipv4(lease.address);
    return address.ok() && subnet->contains(*address) &&
           (wanted.address.empty() || wanted.address == lease.address);
}

std::string free_interface(const Instance& instance, const NicKey& key,
                           const std::set<std::string>& taken) {
    for (uint32_t salt = 0;; ++salt) {
        std::string name = tap_name(instance, key.first, key.second, salt);
        if (!taken.contains(name)) return name;
    }
}

Result<model::Lease> give(const Wanted& wanted, const std::optional<Subnet>& subnet,
                          const std::vector<model::Lease>& others) {
    for (const model::Lease& other : others) {
        if (other.mac != wanted.mac) continue;
        return Error(ErrorCode::in_use, fmt::format("mac {}: belongs to NIC {} of vm {}", other.mac,
                                                    other.nic, other.name));
    }
    model::Lease lease{wanted.key.first, wanted.key.second, wanted.name, wanted.mac, "", ""};
    if (subnet) {
        TRY_ASSIGN(const Ipv4 address, choose_address(*subnet, others, wanted.address));
        lease.address = to_text(address);
    }
    return lease;
}

}  // namespace

LeasePlan plan_leases(const Instance& instance, const model::Record<model::Network>& network,
                      const std::optional<Subnet>& subnet, const records::Table<model::Vm>& vms,
                      const std::set<std::string>& interfaces) {
    const std::vector<Wanted> wanted = wanted_of(network.id, vms);
    LeasePlan plan;
    std::set<std::string> taken = interfaces;
    for (const Wanted& one : wanted) {
        const model::Lease* lease = find(network.status.leases, one.key);
        if (lease == nullptr || !fits(*lease, one, subnet)) continue;
        plan.leases.push_back(*lease);
        plan.leases.back().name = one.name;
        plan.leases.back().mac = one.mac;
        taken.insert(lease->interface);
    }
    for (const Wanted& one : wanted) {
        if (find(plan.leases, one.key) != nullptr) continue;
        Result<model::Lease> lease = give(one, subnet, plan.leases);
        if (!lease.ok()) {
            plan.refused.emplace(one.key, lease.take_error());
            continue;
        }
        lease->interface = free_interface(instance, one.key, taken);
        taken.insert(lease->interface);
        plan.leases.push_back(*std::move(lease));
    }
    std::ranges::sort(plan.leases, {},
                      [](const model::Lease& lease) { return NicKey(lease.vm, lease.nic); });
    return plan;
}

}  // namespace stoa::network
