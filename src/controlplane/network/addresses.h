// Addresses of guests: Stoa gives them out, DHCP only tells the guests.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "base/uuid.h"
#include "controlplane/model/network.h"
#include "controlplane/model/vm.h"
#include "controlplane/network/subnet.h"

namespace stoa::network {

// "02:…", locally administered: the same for the same NIC, another for any other (of 2^40).
[[nodiscard]] std::string choose_mac(const Uuid& vm, std::string_view nic);
// Six pairs of lower-case hex digits; unicast, not all zero. Errors: invalid_argument.
[[nodiscard]] Result<void> check_mac(std::string_view mac);

// The address of a NIC in `subnet`: `wanted` if it is not empty, else the lowest free one.
// `leases` are those of the other NICs.
// Errors: invalid_argument (not of this subnet, or the host's own), in_use (names who has it),
// no_space (all are given out).
[[nodiscard]] Result<Ipv4> choose_address(const Subnet& subnet,
                                          std::span<const model::Lease> leases,
                                          std::string_view wanted);

// What a guest is called in its network: the VM's name, and for its further NICs in the same
// network NAME-NIC.
[[nodiscard]] std::string guest_name(std::string_view vm_name, const model::VmSpec& vm,
                                     const Uuid& network, std::string_view nic);

}  // namespace stoa::network
