#include "controlplane/network/dnsmasq.h"

#include <fmt/format.h>

namespace stoa::network {

namespace {

constexpr uint32_t kLeaseSeconds = 3600;

}  // namespace

std::vector<std::string> dnsmasq_arguments(const DnsmasqOptions& options) {
    const std::string gateway = to_text(options.subnet.gateway());
    return {
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--pid-file=",
        "--log-facility=-",
        // Only where its guests are.
        "--interface=" + options.interface,
        "--except-interface=lo",
        "--bind-interfaces",
        "--listen-address=" + gateway,
        // Guests that Stoa does not name get nothing.
        fmt::format("--dhcp-range={},static,{},{}", to_text(options.subnet.base),
                    to_text(options.subnet.mask()), kLeaseSeconds),
        "--dhcp-hostsfile=" + options.directory + "/dhcp-hosts",
        "--dhcp-option=option:router," + gateway,
        "--dhcp-option=option:dns-server," + gateway,
        "--dhcp-option=option:domain-search," + options.domain,
        "--dhcp-authoritative",
        "--dhcp-ignore=tag:!known",
        "--dhcp-ignore-names",  // a guest does not choose what it is called
        "--leasefile-ro",
        "--no-ping",
        // Names of guests are answered here and asked of nobody else.
        "--no-hosts",
        "--addn-hosts=" + options.directory + "/dns-hosts",
        "--domain=" + options.domain,
        "--local=/" + options.domain + "/",
        fmt::format("--host-record=gateway.{},{}", options.domain, gateway),
        "--domain-needed",
        "--bogus-priv",
        "--cache-size=1000",
    };
}

DnsmasqFiles dnsmasq_files(const std::vector<model::Lease>& leases, std::string_view domain) {
    DnsmasqFiles files;
    for (const model::Lease& lease : leases) {
        if (lease.address.empty()) continue;
        // Without the name: "ignore", "infinite" and digits mean something else there. It is found
        // by the address.
        files.dhcp += fmt::format("{},{}\n", lease.mac, lease.address);
        files.dns += fmt::format("{} {}.{} {}\n", lease.address, lease.name, domain, lease.name);
    }
    return files;
}

}  // namespace stoa::network
