// dnsmasq, which serves DHCP and DNS in a NAT network: its arguments and its files.
//
// It knows only the guests that Stoa writes into its two files; it gives out nothing by itself and
// keeps no leases, so that it can be killed and started again at any time.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "controlplane/model/network.h"
#include "controlplane/network/subnet.h"

namespace stoa::network {

struct DnsmasqOptions {
    std::string interface;
    Subnet subnet;
    std::string domain;
    std::string directory;  // of its files, which all may read: it does not stay root
};

// Without the program itself.
[[nodiscard]] std::vector<std::string> dnsmasq_arguments(const DnsmasqOptions& options);

// What it reads when it starts, and again at SIGHUP. Leases without an address are left out.
struct DnsmasqFiles {
    std::string dhcp;  // DIRECTORY/dhcp-hosts
    std::string dns;   // DIRECTORY/dns-hosts
    bool operator==(const DnsmasqFiles&) const = default;
};

[[nodiscard]] DnsmasqFiles dnsmasq_files(const std::vector<model::Lease>& leases,
                                         std::string_view domain);

}  // namespace stoa::network
