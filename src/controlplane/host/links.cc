#include "controlplane/host/links.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_bridge.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "controlplane/host/netlink.h"

namespace stoa::host {

namespace {

constexpr size_t kMacBytes = 6;
constexpr uint32_t kNoForwardDelay = 0;

std::string mac_text(ConstBytes value) {
    std::string text;
    for (const std::byte one : value) {
        text += fmt::format("{}{:02x}", text.empty() ? "" : ":", std::to_integer<unsigned>(one));
    }
    return text;
}

Result<std::array<std::byte, kMacBytes>> parse_mac(const std::string& text) {
    std::array<std::byte, kMacBytes> mac{};
    bool is_good = text.size() == kMacBytes * 3 - 1;
    for (size_t i = 0; is_good && i < text.size(); ++i) {
        const char c = text[i];
        const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        is_good = i % 3 == 2 ? c == ':' : digit >= 0;
        if (is_good && i % 3 != 2) {
            mac[i / 3] = static_cast<std::byte>(std::to_integer<int>(mac[i / 3]) * 16 + digit);
        }
    }
    if (is_good) return mac;
    return Error(
        ErrorCode::invalid_argument,
        fmt::format("MAC address \"{}\": must be like 52:54:00:12:34:56, in small letters", text));
}

// An address as the kernel takes it.
struct RawAddress {
    uint8_t family = AF_INET;
    std::array<std::byte, sizeof(in6_addr)> bytes{};
    size_t size_bytes = sizeof(in_addr);
};

Result<RawAddress> parse_address(const LinkAddress& address) {
    RawAddress raw;
    if (::inet_pton(AF_INET, address.address.c_str(), raw.bytes.data()) == 1) {
        if (address.prefix <= 32) return raw;
    } else if (::inet_pton(AF_INET6, address.address.c_str(), raw.bytes.data()) == 1) {
        raw.family = AF_INET6;
        raw.size_bytes = sizeof(in6_addr);
        if (address.prefix <= 128) return raw;
    }
    return Error(ErrorCode::invalid_argument,
                 fmt::format("address {}/{}: is none", address.address, address.prefix));
}

std::string address_text(uint8_t family, ConstBytes value) {
    std::array<char, INET6_ADDRSTRLEN> text{};
    const size_t wanted = family == AF_INET ? sizeof(in_addr) : sizeof(in6_addr);
    if (value.size() < wanted) return "";
    const char* done = ::inet_ntop(family, value.data(), text.data(), text.size());
    return done == nullptr ? "" : done;
}

ifinfomsg info_of(uint32_t index) {
    ifinfomsg info{};
    info.ifi_family = AF_UNSPEC;
    info.ifi_index = static_cast<int>(index);
    return info;
}

Result<void> check_link_name(const std::string& name) {
    const bool is_plain = std::ranges::all_of(
        name, [](char c) { return c > ' ' && c < 127 && c != '/' && c != ':'; });
    if (!name.empty() && name.size() <= kLinkNameBytesMax && is_plain && name[0] != '.') return {};
    return Error(ErrorCode::invalid_argument,
                 fmt::format("link name \"{}\": must have 1 to 15 letters and digits", name));
}

// In this thread's namespace. Errors: not_found, by errno.
Result<uint32_t> index_of(const std::string& name) {
    TRY(check_link_name(name));
    const unsigned index = ::if_nametoindex(name.c_str());
    if (index != 0) return uint32_t{index};
    return system_error("link " + name, errno);
}

Link read_link(const ifinfomsg& info, ConstBytes attributes) {
    Link link;
    link.index = static_cast<uint32_t>(info.ifi_index);
    link.is_up = (info.ifi_flags & IFF_UP) != 0;
    for_each_attribute(attributes, [&link](uint16_t type, ConstBytes value) {
        if (type == IFLA_IFNAME) link.name = text_of(value);
        if (type == IFLA_ADDRESS) link.mac = mac_text(value);
        if (type == IFLA_MTU) link.mtu_bytes = number_of(value);
        if (type == IFLA_MASTER) link.master = number_of(value);
        if (type == IFLA_CARRIER) link.has_carrier = !value.empty() && value[0] != std::byte{0};
        if (type != IFLA_LINKINFO) return;
        for_each_attribute(value, [&link](uint16_t inner, ConstBytes kind) {
            if (inner == IFLA_INFO_KIND) link.kind = text_of(kind);
        });
    });
    return link;
}

Result<void> read_addresses(NetlinkSocket& socket, std::vector<Link>& links) {
    ifaddrmsg all{};
    all.ifa_family = AF_UNSPEC;
    return socket.dump(
        NetlinkMessage(RTM_GETADDR, NLM_F_DUMP, all), "list of addresses",
        [&links](uint16_t type, ConstBytes payload) {
            ifaddrmsg message{};
            ConstBytes attributes;
            if (type != RTM_NEWADDR || !take_fixed(payload, message, attributes)) return;
            const auto link = std::ranges::find(links, message.ifa_index, &Link::index);
            if (link == links.end()) return;
            std::string address;
            for_each_attribute(attributes, [&](uint16_t inner, ConstBytes value) {
                // IFA_LOCAL is ours; IFA_ADDRESS may be the other end's, and is all IPv6 has.
                if (inner == IFA_LOCAL || (inner == IFA_ADDRESS && address.empty())) {
                    address = address_text(message.ifa_family, value);
                }
            });
            if (address.empty()) return;
            link->addresses.push_back({.address = address, .prefix = message.ifa_prefixlen});
        });
}

Result<void> change_address(NetlinkSocket& socket, uint16_t type, uint16_t flags, const Link& link,
                            const LinkAddress& address) {
    TRY_ASSIGN(const RawAddress raw, parse_address(address));
    ifaddrmsg message{};
    message.ifa_family = raw.family;
    message.ifa_prefixlen = address.prefix;
    message.ifa_index = link.index;
    if (raw.family == AF_INET6) message.ifa_flags = IFA_F_NODAD;
    NetlinkMessage request(type, static_cast<uint16_t>(flags | NLM_F_ACK), message);
    const ConstBytes bytes(raw.bytes.data(), raw.size_bytes);
    request.put(IFA_LOCAL, bytes);
    request.put(IFA_ADDRESS, bytes);
    if (raw.family == AF_INET && address.prefix < 31) {
        const uint32_t network = ntohl(number_of(bytes));
        const uint32_t broadcast = htonl(network | (UINT32_MAX >> address.prefix));
        request.put_number(IFA_BROADCAST, broadcast);
    }
    return socket.ask(std::move(request), fmt::format("address {}/{} of link {}", address.address,
                                                      address.prefix, link.name));
}

Result<void> make_bridge(NetlinkSocket& socket, const BridgeSpec& spec) {
    NetlinkMessage request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ACK, info_of(0));
    request.put_text(IFLA_IFNAME, spec.name);
    request.put_number(IFLA_MTU, spec.mtu_bytes);
    if (!spec.mac.empty()) {
        TRY_ASSIGN(const auto mac, parse_mac(spec.mac));
        request.put(IFLA_ADDRESS, mac);
    }
    const size_t info = request.begin(IFLA_LINKINFO);
    request.put_text(IFLA_INFO_KIND, "bridge");
    const size_t data = request.begin(IFLA_INFO_DATA);
    request.put_number(IFLA_BR_FORWARD_DELAY, kNoForwardDelay);
    request.put_number(IFLA_BR_STP_STATE, uint32_t{0});
    request.end(data);
    request.end(info);
    return socket.ask(std::move(request), "bridge " + spec.name);
}

Result<void> sync_addresses(NetlinkSocket& socket, const Link& link,
                            const std::vector<LinkAddress>& wanted) {
    for (const LinkAddress& one : wanted) {
        if (std::ranges::find(link.addresses, one) != link.addresses.end()) continue;
        TRY(change_address(socket, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, link, one));
    }
    for (const LinkAddress& one : link.addresses) {
        const bool is_kernels = one.address.starts_with("fe80:");
        if (is_kernels || std::ranges::find(wanted, one) != wanted.end()) continue;
        TRY(change_address(socket, RTM_DELADDR, 0, link, one));
    }
    return {};
}

Result<void> change_link(NetlinkSocket& socket, uint32_t index, std::string_view what,
                         const std::function<void(ifinfomsg&)>& flags,
                         const std::function<void(NetlinkMessage&)>& attributes) {
    ifinfomsg info = info_of(index);
    flags(info);
    NetlinkMessage request(RTM_NEWLINK, NLM_F_ACK, info);
    attributes(request);
    return socket.ask(std::move(request), what);
}

}  // namespace

std::string link_prefix(std::string_view instance) {
    return fmt::format("st{}", instance.substr(0, 4));
}

Result<std::string> link_name(std::string_view instance, char kind, std::string_view suffix) {
    const bool is_plain = std::ranges::all_of(
        suffix, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
    std::string name = fmt::format("{}{}{}", link_prefix(instance), kind, suffix);
    if (instance.size() >= 4 && is_plain && kind >= 'a' && kind <= 'z' &&
        name.size() <= kLinkNameBytesMax) {
        return name;
    }
    return Error(ErrorCode::invalid_argument,
                 fmt::format("link name \"{}\": must be at most 15 characters, a-z and 0-9", name));
}

Result<std::vector<Link>> list_links(std::string_view prefix) {
    TRY_ASSIGN(NetlinkSocket socket, NetlinkSocket::open());
    std::vector<Link> links;
    TRY(socket.dump(NetlinkMessage(RTM_GETLINK, NLM_F_DUMP, info_of(0)), "list of links",
                    [&](uint16_t type, ConstBytes payload) {
                        ifinfomsg info{};
                        ConstBytes attributes;
                        if (type != RTM_NEWLINK || !take_fixed(payload, info, attributes)) return;
                        Link link = read_link(info, attributes);
                        if (link.name.starts_with(prefix)) links.push_back(std::move(link));
                    }));
    TRY(read_addresses(socket, links));
    std::ranges::sort(links, {}, &Link::index);
    return links;
}

Result<Link> find_link(const std::string& name) {
    TRY_ASSIGN(std::vector<Link> links, list_links(name));
    const auto found = std::ranges::find(links, name, &Link::name);
    if (found != links.end()) return std::move(*found);
    return Error(ErrorCode::not_found, "link " + name + ": does not exist");
}

Result<void> ensure_bridge(const BridgeSpec& spec) {
    TRY(check_link_name(spec.name));
    TRY_ASSIGN(NetlinkSocket socket, NetlinkSocket::open());
    auto link = find_link(spec.name);
    if (!link.ok() && link.error().code() == ErrorCode::not_found) {
        TRY(make_bridge(socket, spec));
        link = find_link(spec.name);
    }
    if (!link.ok()) return link.error();
    if (link->kind != "bridge") {
        return Error(ErrorCode::conflict,
                     fmt::format("bridge {}: a link of this name exists and is no bridge ({})",
                                 spec.name, link->kind.empty() ? "hardware" : link->kind));
    }
    TRY(sync_addresses(socket, *link, spec.addresses));
    return change_link(
        socket, link->index, "bridge " + spec.name,
        [](ifinfomsg& info) {
            info.ifi_flags = IFF_UP;
            info.ifi_change = IFF_UP;
        },
        [&spec, &link](NetlinkMessage& request) {
            if (link->mtu_bytes != spec.mtu_bytes) request.put_number(IFLA_MTU, spec.mtu_bytes);
        });
}

Result<void> delete_link(const std::string& name) {
    const auto index = index_of(name);
    if (!index.ok() && index.error().code() == ErrorCode::not_found) return {};
    if (!index.ok()) return index.error();
    TRY_ASSIGN(NetlinkSocket socket, NetlinkSocket::open());
    auto deleted =
        socket.ask(NetlinkMessage(RTM_DELLINK, NLM_F_ACK, info_of(*index)), "link " + name);
    if (!deleted.ok() && deleted.error().code() == ErrorCode::not_found) return {};
    return deleted;
}

Result<void> set_link_up(const std::string& name, bool up) {
    TRY_ASSIGN(const uint32_t index, index_of(name));
    TRY_ASSIGN(NetlinkSocket socket, NetlinkSocket::open());
    return change_link(
        socket, index, "link " + name,
        [up](ifinfomsg& info) {
            info.ifi_flags = up ? IFF_UP : 0;
            info.ifi_change = IFF_UP;
        },
        [](NetlinkMessage&) {});
}

Result<void> set_link_master(const std::string& name, const std::string& master) {
    TRY_ASSIGN(const uint32_t index, index_of(name));
    uint32_t bridge = 0;
    if (!master.empty()) {
        TRY_ASSIGN(bridge, index_of(master));
    }
    TRY_ASSIGN(NetlinkSocket socket, NetlinkSocket::open());
    return change_link(
        socket, index, fmt::format("link {} in bridge {}", name, master), [](ifinfomsg&) {},
        [bridge](NetlinkMessage& request) { request.put_number(IFLA_MASTER, bridge); });
}

Result<void> add_link_address(const std::string& name, const LinkAddress& address) {
    TRY_ASSIGN(const Link link, find_link(name));
    TRY_ASSIGN(NetlinkSocket socket, NetlinkSocket::open());
    return change_address(socket, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, link, address);
}

}  // namespace stoa::host
