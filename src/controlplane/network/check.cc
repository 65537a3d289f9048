// What a network's record may say (plans.h).
#include <fmt/format.h>

#include "controlplane/network/addresses.h"
#include "controlplane/network/plans.h"

namespace stoa::network {

Result<void> check_network(const model::NetworkSpec& spec) {
    TRY(model::check(spec));
    if (!spec.subnet.empty()) {
        const auto subnet = parse_guest_subnet(spec.subnet);
        if (!subnet.ok()) return subnet.error();
    }
    for (const model::PortForward& forward : spec.forwards) {
        if (forward.host_address.empty()) continue;
        TRY_ASSIGN(const Ipv4 address, parse_ipv4(forward.host_address));
        if (address.bits == 0) {
            return Error(ErrorCode::invalid_argument,
                         fmt::format("forwards: {}: leave the address empty for all of the host's",
                                     forward_name(forward)));
        }
    }
    return {};
}

std::string forward_name(const model::PortForward& forward) {
    return fmt::format("{}{}{}/{}", forward.host_address, forward.host_address.empty() ? "" : ":",
                       forward.host_port,
                       enum_names(forward.protocol).at(static_cast<size_t>(forward.protocol)));
}

Result<Subnet> subnet_of(const model::Record<model::Network>& network) {
    const std::string& text =
        network.spec.subnet.empty() ? network.status.subnet : network.spec.subnet;
    if (text.empty()) {
        return Error(ErrorCode::not_found,
                     fmt::format("network {}: has no subnet yet", network.name));
    }
    return parse_subnet(text);
}

std::string mac_of(const Uuid& vm, const model::VmNic& nic) {
    return nic.mac.empty() ? choose_mac(vm, nic.name) : nic.mac;
}

}  // namespace stoa::network
