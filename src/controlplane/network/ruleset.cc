#include "controlplane/network/ruleset.h"

#include <iterator>

#include <fmt/format.h>

#include "base/json.h"

namespace stoa::network {

namespace {

using Out = std::back_insert_iterator<std::string>;

std::string join(const std::vector<std::string>& parts) {
    return fmt::format("{}", fmt::join(parts, ", "));
}

// A set; nftables wants no empty list of elements.
std::string set_text(std::string_view name, std::string_view type,
                     const std::vector<std::string>& elements) {
    std::string text = fmt::format("  set {} {{\n    type {}\n", name, type);
    if (!elements.empty()) text += fmt::format("    elements = {{ {} }}\n", join(elements));
    return text + "  }\n";
}

std::string_view address_of(const NetworkRules& network, const Uuid& vm) {
    for (const model::Lease& lease : network.leases) {
        if (lease.vm == vm && !lease.address.empty()) return lease.address;
    }
    return {};
}

// The translations of one network's forwards, for packets from elsewhere and from the host itself.
std::string forwards_text(const NetworkRules& network) {
    std::string text;
    for (const model::PortForward& forward : network.forwards) {
        const std::string_view address = address_of(network, forward.vm);
        if (address.empty()) continue;
        const std::string where = forward.host_address.empty()
                                      ? "fib daddr type local"
                                      : fmt::format("ip daddr {}", forward.host_address);
        fmt::format_to(Out(text), "    {} {} dport {} dnat to {}:{}\n", where,
                       enum_names(forward.protocol).at(static_cast<size_t>(forward.protocol)),
                       forward.host_port, address, forward.guest_port);
    }
    return text;
}

std::string ip_table(const std::vector<NetworkRules>& networks) {
    std::string forwards;
    std::string loopback;
    std::string masquerade;
    std::string passing;
    for (const NetworkRules& network : networks) {
        if (network.mode != model::NetworkMode::nat) continue;
        const std::string bridge = fmt::format("\"{}\"", network.interface);
        const std::string subnet = to_text(network.subnet);
        forwards += forwards_text(network);
        // Packets to 127.0.0.0/8 pass this bridge as answers of guests to forwards, which bear the
        // bridge's address here still. Any other is an attack on what listens there.
        fmt::format_to(Out(loopback), "    iifname {} ip daddr 127.0.0.0/8 drop\n", bridge);
        // Outward; and what was forwarded back into the network, so that answers come this way too.
        fmt::format_to(Out(masquerade), "    ip saddr {} oifname != {} masquerade\n", subnet,
                       bridge);
        fmt::format_to(Out(masquerade), "    ip saddr {} oifname {} ct status dnat masquerade\n",
                       subnet, bridge);
        fmt::format_to(Out(masquerade), "    ip saddr 127.0.0.0/8 oifname {} masquerade\n", bridge);
        fmt::format_to(Out(passing),
                       "    iifname {0} oifname {0} accept\n"
                       "    iifname {0} ip saddr != {1} drop\n"
                       "    oifname {0} ct status dnat accept\n"
                       "    oifname {0} drop\n",
                       bridge, subnet);
    }
    return fmt::format(
        "  chain loopback {{\n"
        "    type filter hook prerouting priority raw; policy accept;\n{}  }}\n"
        "  chain incoming {{\n"
        "    type nat hook prerouting priority dstnat; policy accept;\n{}  }}\n"
        "  chain outgoing {{\n"
        "    type nat hook output priority -100; policy accept;\n{}  }}\n"
        "  chain source {{\n"
        "    type nat hook postrouting priority srcnat; policy accept;\n{}  }}\n"
        "  chain passing {{\n"
        "    type filter hook forward priority filter; policy accept;\n"
        "    ct state established,related accept\n{}  }}\n",
        loopback, forwards, forwards, masquerade, passing);
}

std::string bridge_table(const std::vector<NetworkRules>& networks) {
    std::vector<std::string> nat_taps;
    std::vector<std::string> bridge_taps;
    std::vector<std::string> macs;
    std::vector<std::string> addresses;
    for (const NetworkRules& network : networks) {
        for (const model::Lease& lease : network.leases) {
            if (lease.interface.empty()) continue;
            const bool is_nat = network.mode == model::NetworkMode::nat;
            (is_nat ? nat_taps : bridge_taps).push_back(fmt::format("\"{}\"", lease.interface));
            macs.push_back(fmt::format("\"{}\" . {}", lease.interface, lease.mac));
            if (is_nat) {
                addresses.push_back(
                    fmt::format("\"{}\" . {} . {}", lease.interface, lease.mac, lease.address));
            }
        }
    }
    return fmt::format(
        "{}{}{}{}"
        "  chain from_guest {{\n"
        "    type filter hook prerouting priority -300; policy accept;\n"
        "    iifname @nat_taps jump nat_guest\n"
        "    iifname @bridge_taps jump bridge_guest\n"
        "  }}\n"
        "  chain nat_guest {{\n"
        "    iifname . ether saddr != @macs drop\n"
        "    ether type ip udp sport 67 drop\n"
        "    ether type ip udp sport 68 udp dport 67 ip saddr 0.0.0.0 accept\n"
        "    ether type ip iifname . ether saddr . ip saddr != @addresses drop\n"
        "    ether type arp arp saddr ip 0.0.0.0 accept\n"
        "    ether type arp iifname . arp saddr ether . arp saddr ip != @addresses drop\n"
        "    ether type {{ ip, arp }} accept\n"
        "    drop\n"
        "  }}\n"
        "  chain bridge_guest {{\n"
        "    iifname . ether saddr != @macs drop\n"
        "  }}\n",
        set_text("nat_taps", "ifname", nat_taps), set_text("bridge_taps", "ifname", bridge_taps),
        set_text("macs", "ifname . ether_addr", macs),
        set_text("addresses", "ifname . ether_addr . ipv4_addr", addresses));
}

uint64_t hash_text(std::string_view text) {
    uint64_t hash = 0xcbf29ce484222325;
    for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
    return hash;
}

std::string_view text_of(const JsonObject& object, std::string_view key) {
    const Json* value = object.if_contains(key);
    if (value == nullptr || !value->is_string()) return {};
    return value->get_string();
}

}  // namespace

Ruleset make_ruleset(const std::vector<NetworkRules>& networks) {
    Ruleset ruleset{ip_table(networks), bridge_table(networks), ""};
    ruleset.mark = fmt::format("mark_{:016x}", hash_text(ruleset.ip + ruleset.bridge));
    const std::string chain = fmt::format("  chain {} {{\n  }}\n", ruleset.mark);
    ruleset.ip += chain;
    ruleset.bridge += chain;
    return ruleset;
}

Result<bool> has_mark(std::string_view nft_json, const Instance& instance, std::string_view mark) {
    TRY_ASSIGN(const Json document, parse_json(nft_json));
    const JsonObject* top = document.if_object();
    const Json* items = top == nullptr ? nullptr : top->if_contains("nftables");
    if (items == nullptr || !items->is_array()) {
        return Error(ErrorCode::invalid_argument, "nft: its answer has no \"nftables\"");
    }
    const std::string table = table_name(instance);
    bool in_ip = false;
    bool in_bridge = false;
    for (const Json& item : items->get_array()) {
        const JsonObject* object = item.if_object();
        const Json* chain = object == nullptr ? nullptr : object->if_contains("chain");
        if (chain == nullptr || !chain->is_object()) continue;
        const JsonObject& one = chain->get_object();
        if (text_of(one, "table") != table || text_of(one, "name") != mark) continue;
        in_ip = in_ip || text_of(one, "family") == "ip";
        in_bridge = in_bridge || text_of(one, "family") == "bridge";
    }
    return in_ip && in_bridge;
}

}  // namespace stoa::network
