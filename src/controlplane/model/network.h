// Networks that guests are attached to.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "base/describe.h"
#include "base/result.h"
#include "base/uuid.h"

namespace stoa::model {

// nat: a subnet of its own, DHCP and DNS by Stoa, outward by address translation.
// bridge: guests stand beside the host on one of its interfaces.
enum class NetworkMode : uint8_t { nat, bridge };
constexpr std::array<std::string_view, 2> enum_names(NetworkMode /*type*/) {
    return {"nat", "bridge"};
}

enum class Protocol : uint8_t { tcp, udp };
constexpr std::array<std::string_view, 2> enum_names(Protocol /*type*/) { return {"tcp", "udp"}; }

struct PortForward {
    Protocol protocol = Protocol::tcp;
    std::string host_address;
    uint32_t host_port = 0;
    Uuid vm;
    uint32_t guest_port = 0;
    static constexpr auto fields() {
        return std::tuple(
            optional("protocol", &PortForward::protocol, "tcp or udp"),
            optional("host_address", &PortForward::host_address, "empty: all of the host's"),
            required("host_port", &PortForward::host_port, ""),
            required("vm", &PortForward::vm, ""),
            required("guest_port", &PortForward::guest_port, ""));
    }
};

struct NetworkSpec {
    NetworkMode mode = NetworkMode::nat;
    std::string subnet;
    std::string domain = "stoa";
    std::string bridge;
    std::vector<PortForward> forwards;
    static constexpr auto fields() {
        return std::tuple(
            optional("mode", &NetworkSpec::mode, "nat or bridge"),
            optional("subnet", &NetworkSpec::subnet, "such as 10.77.3.0/24; a free one if empty"),
            optional("domain", &NetworkSpec::domain, "guests are NAME.DOMAIN"),
            optional("bridge", &NetworkSpec::bridge, "mode bridge: the host's bridge"),
            optional("forwards", &NetworkSpec::forwards, "mode nat"));
    }
};

// What Stoa gave out: kept as long as the NIC exists.
struct Lease {
    Uuid vm;
    std::string nic;
    std::string name;
    std::string mac;
    std::string address;
    std::string interface;
    static constexpr auto fields() {
        return std::tuple(
            required("vm", &Lease::vm, ""), required("nic", &Lease::nic, ""),
            required("name", &Lease::name, ""), required("mac", &Lease::mac, ""),
            required("address", &Lease::address, "empty in mode bridge"),
            optional("interface", &Lease::interface, "of the host, while the guest runs"));
    }
};

struct NetworkStatus {
    bool is_up = false;
    std::string reason;
    std::string subnet;
    std::string interface;
    std::vector<Lease> leases;
    std::vector<std::string> warnings;
    static constexpr auto fields() {
        return std::tuple(optional("up", &NetworkStatus::is_up, ""),
                          optional("reason", &NetworkStatus::reason, "why it is not up"),
                          optional("subnet", &NetworkStatus::subnet, "the one in use"),
                          optional("interface", &NetworkStatus::interface, "of the host"),
                          optional("leases", &NetworkStatus::leases, ""),
                          optional("warnings", &NetworkStatus::warnings,
                                   "what others on this host do against it"));
    }
};

struct Network {
    static constexpr std::string_view kName = "network";
    using Spec = NetworkSpec;
    using Status = NetworkStatus;
};

[[nodiscard]] Result<void> check(const NetworkSpec& spec);

}  // namespace stoa::model
