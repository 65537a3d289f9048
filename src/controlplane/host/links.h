// Network links, by rtnetlink and ioctl. All calls act in the network namespace of the calling
// thread, and block only as long as the kernel takes. They need root (CAP_NET_ADMIN): denied.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "controlplane/host/descriptor.h"

namespace stoa::host {

constexpr size_t kLinkNameBytesMax = 15;

// "st" + the first 4 digits of the instance + `kind` + at most 8 characters of `suffix` (a-z, 0-9):
// "st1a2bb03", "st1a2bv0f3e1c". Errors: invalid_argument.
Result<std::string> link_name(std::string_view instance, char kind, std::string_view suffix);
// What the names of an instance's links begin with: "st1a2b".
[[nodiscard]] std::string link_prefix(std::string_view instance);

struct LinkAddress {
    std::string address{};  // "10.7.0.1" or "fd00::1"
    uint8_t prefix = 0;  // 24
    bool operator==(const LinkAddress&) const = default;
};

struct Link {
    std::string name{};
    uint32_t index = 0;
    uint32_t master = 0;  // index of its bridge; 0: none
    std::string kind{};  // "bridge", "tun", "veth"; empty for hardware and lo
    std::string mac{};  // "52:54:00:12:34:56"
    uint32_t mtu_bytes = 0;
    bool is_up = false;  // set up by the administrator
    bool has_carrier = false;
    std::vector<LinkAddress> addresses{};
};

struct BridgeSpec {
    std::string name{};
    std::string mac{};  // empty: chosen by the kernel; give one, or it changes with the ports
    uint32_t mtu_bytes = 1500;
    std::vector<LinkAddress> addresses{};
};

// Makes the bridge and sets it up, or makes one that is there like that (missing addresses are
// added, others taken away). Without spanning tree or delay.
// Errors: conflict (a link of this name that is no bridge), denied, invalid_argument, in_use, io.
Result<void> ensure_bridge(const BridgeSpec& spec);
// Any link; none there is fine. Errors: denied, io.
Result<void> delete_link(const std::string& name);
// Errors: not_found, denied, io.
Result<void> set_link_up(const std::string& name, bool up);
// `master` empty: takes it out. Errors: not_found, denied, in_use, io.
Result<void> set_link_master(const std::string& name, const std::string& master);
Result<void> add_link_address(const std::string& name, const LinkAddress& address);

// All links whose name begins with `prefix` (empty: all), with addresses, by index. Errors: io.
Result<std::vector<Link>> list_links(std::string_view prefix);
// Errors: not_found, io.
Result<Link> find_link(const std::string& name);

struct TapSpec {
    std::string name{};
    std::string bridge{};  // empty: none
    uint32_t mtu_bytes = 1500;
    bool isolated = false;  // its bridge passes nothing between isolated ports
};
// A tap that exists as long as the descriptor (and its copies in other processes) is open; up, in
// its bridge, with vnet_hdr, one queue: for "-netdev tap,fd=N". Close-on-exec.
// Errors: already_exists, not_found (bridge), denied (/dev/net/tun too), unsupported, io.
Result<Descriptor> open_tap(const TapSpec& spec);

// Which links bear the default routes (IPv4), by lowest metric first. Errors: io.
Result<std::vector<std::string>> default_route_links();
struct Subnet {
    uint32_t address = 0;  // host byte order
    uint8_t prefix = 0;
};
// IPv4 networks that this host has routes to, without the default routes: taken for choosing a free
// one. Errors: io.
Result<std::vector<Subnet>> routed_subnets();

}  // namespace stoa::host
