#include "controlplane/network/ruleset.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "controlplane/network/dnsmasq.h"
#include "controlplane/network/leases.h"

namespace stoa::network {
namespace {

const Uuid kWeb = Uuid::from_random(1, 1);
const Uuid kDb = Uuid::from_random(2, 2);

NetworkRules nat_network() {
    NetworkRules network;
    network.interface = "st1a2bn000001";
    network.subnet = *parse_subnet("10.77.3.0/24");
    network.leases = {{kWeb, "eth0", "web", "02:00:00:00:00:01", "10.77.3.2", "st1a2bv000001"}};
    network.forwards = {{model::Protocol::tcp, "", 8080, kWeb, 80},
                        {model::Protocol::udp, "192.0.2.1", 53, kWeb, 5353},
                        {model::Protocol::tcp, "", 9999, kDb, 1}};
    return network;
}

NetworkRules bridge_network() {
    NetworkRules network;
    network.mode = model::NetworkMode::bridge;
    network.interface = "br0";
    network.leases = {{kDb, "eth0", "db", "02:00:00:00:00:02", "", "st1a2bv000002"}};
    return network;
}

TEST(Ruleset, forwards_masquerade_and_isolation_are_these) {
    const Ruleset ruleset = make_ruleset({nat_network()});
    EXPECT_EQ(ruleset.ip, R"(  chain loopback {
    type filter hook prerouting priority raw; policy accept;
    iifname "st1a2bn000001" ip daddr 127.0.0.0/8 drop
  }
  chain incoming {
    type nat hook prerouting priority dstnat; policy accept;
    fib daddr type local tcp dport 8080 dnat to 10.77.3.2:80
    ip daddr 192.0.2.1 udp dport 53 dnat to 10.77.3.2:5353
  }
  chain outgoing {
    type nat hook output priority -100; policy accept;
    fib daddr type local tcp dport 8080 dnat to 10.77.3.2:80
    ip daddr 192.0.2.1 udp dport 53 dnat to 10.77.3.2:5353
  }
  chain source {
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr 10.77.3.0/24 oifname != "st1a2bn000001" masquerade
    ip saddr 10.77.3.0/24 oifname "st1a2bn000001" ct status dnat masquerade
    ip saddr 127.0.0.0/8 oifname "st1a2bn000001" masquerade
  }
  chain passing {
    type filter hook forward priority filter; policy accept;
    ct state established,related accept
    iifname "st1a2bn000001" oifname "st1a2bn000001" accept
    iifname "st1a2bn000001" ip saddr != 10.77.3.0/24 drop
    oifname "st1a2bn000001" ct status dnat accept
    oifname "st1a2bn000001" drop
  }
  chain )" + ruleset.mark + " {\n  }\n");
}

TEST(Ruleset, a_tap_passes_only_what_is_its_own) {
    const Ruleset ruleset = make_ruleset({nat_network(), bridge_network()});
    EXPECT_EQ(ruleset.bridge, R"(  set nat_taps {
    type ifname
    elements = { "st1a2bv000001" }
  }
  set bridge_taps {
    type ifname
    elements = { "st1a2bv000002" }
  }
  set macs {
    type ifname . ether_addr
    elements = { "st1a2bv000001" . 02:00:00:00:00:01, "st1a2bv000002" . 02:00:00:00:00:02 }
  }
  set addresses {
    type ifname . ether_addr . ipv4_addr
    elements = { "st1a2bv000001" . 02:00:00:00:00:01 . 10.77.3.2 }
  }
  chain from_guest {
    type filter hook prerouting priority -300; policy accept;
    iifname @nat_taps jump nat_guest
    iifname @bridge_taps jump bridge_guest
  }
  chain nat_guest {
    iifname . ether saddr != @macs drop
    ether type ip udp sport 67 drop
    ether type ip udp sport 68 udp dport 67 ip saddr 0.0.0.0 accept
    ether type ip iifname . ether saddr . ip saddr != @addresses drop
    ether type arp arp saddr ip 0.0.0.0 accept
    ether type arp iifname . arp saddr ether . arp saddr ip != @addresses drop
    ether type { ip, arp } accept
    drop
  }
  chain bridge_guest {
    iifname . ether saddr != @macs drop
  }
  chain )" + ruleset.mark + " {\n  }\n");
}

TEST(Ruleset, the_mark_changes_with_the_rules) {
    const std::string mark = make_ruleset({nat_network()}).mark;
    EXPECT_EQ(mark, make_ruleset({nat_network()}).mark);
    NetworkRules other = nat_network();
    other.forwards[0].guest_port = 81;
    EXPECT_NE(mark, make_ruleset({other}).mark);
}

TEST(Ruleset, the_mark_counts_only_in_both_tables_of_the_instance) {
    const Instance instance{"1a2b3c4d"};
    const auto text = [](std::string_view ip, std::string_view bridge) {
        return std::string(R"({"nftables":[{"metainfo":{}},{"chain":{"family":"ip","table":")") +
               std::string(ip) + R"(","name":"mark_1"}},{"chain":{"family":"bridge","table":")" +
               std::string(bridge) + R"(","name":"mark_1"}}]})";
    };
    EXPECT_TRUE(*has_mark(text("stoa_1a2b3c4d", "stoa_1a2b3c4d"), instance, "mark_1"));
    EXPECT_FALSE(*has_mark(text("stoa_1a2b3c4d", "stoa_1a2b3c4d"), instance, "mark_2"));
    EXPECT_FALSE(*has_mark(text("stoa_1a2b3c4d", "stoa_ffffffff"), instance, "mark_1"));
    EXPECT_FALSE(has_mark("[]", instance, "mark_1").ok());
}

TEST(Dnsmasq, it_serves_one_interface_and_named_guests_alone) {
    const auto arguments = dnsmasq_arguments(
        {"st1a2bn000001", *parse_subnet("10.77.3.0/24"), "lab.stoa", "/run/stoa/x/net/ID"});
    const std::vector<std::string> expected = {"--interface=st1a2bn000001",
                                               "--bind-interfaces",
                                               "--listen-address=10.77.3.1",
                                               "--dhcp-range=10.77.3.0,static,255.255.255.0,3600",
                                               "--dhcp-hostsfile=/run/stoa/x/net/ID/dhcp-hosts",
                                               "--dhcp-ignore=tag:!known",
                                               "--dhcp-ignore-names",
                                               "--addn-hosts=/run/stoa/x/net/ID/dns-hosts",
                                               "--local=/lab.stoa/"};
    for (const std::string& one : expected) {
        EXPECT_NE(std::ranges::find(arguments, one), arguments.end()) << one;
    }
}

TEST(Dnsmasq, no_name_of_a_guest_is_a_word_of_its_files) {
    const DnsmasqFiles files =
        dnsmasq_files({{kWeb, "eth0", "ignore", "02:00:00:00:00:01", "10.77.3.2", ""}}, "stoa");
    EXPECT_EQ(files.dhcp, "02:00:00:00:00:01,10.77.3.2\n");
    EXPECT_EQ(files.dns, "10.77.3.2 ignore.stoa ignore\n");
}

// Leases.

const Instance kInstance{"1a2b3c4d"};

model::Record<model::Network> network_record() {
    model::Record<model::Network> network;
    network.id = Uuid::from_random(9, 9);
    network.name = "lan";
    return network;
}

model::Record<model::Vm> vm_record(uint64_t number, const std::string& name,
                                   const std::string& address) {
    model::Record<model::Vm> vm;
    vm.id = Uuid::from_random(number, 0);
    vm.name = name;
    model::VmNic nic;
    nic.name = "eth0";
    nic.network = network_record().id;
    nic.address = address;
    vm.spec.nics = {nic};
    return vm;
}

LeasePlan plan(const model::Record<model::Network>& network,
               const std::vector<model::Record<model::Vm>>& vms, const char* subnet) {
    records::Table<model::Vm> table;
    for (const auto& vm : vms) table.emplace(vm.id, vm);
    return plan_leases(kInstance, network, *parse_subnet(subnet), table, {});
}

TEST(Leases, a_nic_keeps_its_lease_and_follows_the_name_of_its_vm) {
    auto network = network_record();
    auto web = vm_record(2, "web", "");
    network.status.leases = plan(network, {web}, "10.77.3.0/24").leases;
    ASSERT_EQ(network.status.leases.size(), 1U);
    EXPECT_EQ(network.status.leases[0].address, "10.77.3.2");
    web.name = "www";
    const auto after = plan(network, {vm_record(1, "older", ""), web}, "10.77.3.0/24").leases;
    ASSERT_EQ(after.size(), 2U);
    EXPECT_EQ(after[0].address, "10.77.3.3");
    EXPECT_EQ(after[1].name, "www");
    EXPECT_EQ(after[1].address, "10.77.3.2");
    EXPECT_EQ(after[1].interface, network.status.leases[0].interface);
    EXPECT_NE(after[0].interface, after[1].interface);
}

TEST(Leases, wanted_addresses_are_given_before_any_others) {
    const auto leases =
        plan(network_record(), {vm_record(1, "a", ""), vm_record(2, "b", "10.77.3.2")},
             "10.77.3.0/24")
            .leases;
    ASSERT_EQ(leases.size(), 2U);
    EXPECT_EQ(leases[0].address, "10.77.3.3");
    EXPECT_EQ(leases[1].address, "10.77.3.2");
}

TEST(Leases, what_cannot_be_given_is_refused_with_a_reason) {
    std::vector<model::Record<model::Vm>> vms;
    for (uint64_t i = 1; i <= 6; ++i) vms.push_back(vm_record(i, "vm" + std::to_string(i), ""));
    vms.push_back(vm_record(7, "twice", "10.77.3.6"));
    vms.push_back(vm_record(8, "late", "10.77.3.6"));
    const LeasePlan all = plan(network_record(), vms, "10.77.3.0/29");
    EXPECT_EQ(all.leases.size(), 5U);
    ASSERT_EQ(all.refused.size(), 3U);
    EXPECT_EQ(all.refused.at({vms[7].id, "eth0"}).code(), ErrorCode::in_use);
    EXPECT_EQ(all.refused.at({vms[5].id, "eth0"}).code(), ErrorCode::no_space);
}

TEST(Leases, a_lease_ends_with_its_nic) {
    auto network = network_record();
    auto web = vm_record(2, "web", "");
    network.status.leases = plan(network, {web}, "10.77.3.0/24").leases;
    web.spec.nics.clear();
    EXPECT_TRUE(plan(network, {web}, "10.77.3.0/24").leases.empty());
    EXPECT_TRUE(plan(network, {}, "10.77.3.0/24").leases.empty());
}

}  // namespace
}  // namespace stoa::network
