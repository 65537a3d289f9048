#include "controlplane/network/subnet.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "controlplane/network/addresses.h"
#include "controlplane/network/links.h"

namespace stoa::network {
namespace {

Subnet subnet(std::string_view text) { return *parse_subnet(text); }

TEST(Subnet, only_whole_decimal_addresses_are_read) {
    EXPECT_EQ(to_text(*parse_ipv4("10.77.0.255")), "10.77.0.255");
    for (const char* bad : {"", "10.77.0", "10.77.0.256", "10.77.0.01", "10.77.0.1.2", " 10.0.0.1",
                            "10.0.0.-1", "10.0.0.1\n", "0x0a.0.0.1", "10..0.1"}) {
        EXPECT_FALSE(parse_ipv4(bad).ok()) << bad;
    }
}

TEST(Subnet, a_subnet_begins_at_its_first_address) {
    EXPECT_EQ(to_text(subnet("10.77.3.0/24")), "10.77.3.0/24");
    const auto bad = parse_subnet("10.77.3.5/24");
    ASSERT_FALSE(bad.ok());
    EXPECT_EQ(bad.error().message(), "subnet \"10.77.3.5/24\": begins at 10.77.3.0/24");
    for (const char* one : {"10.0.0.0", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/024"}) {
        EXPECT_FALSE(parse_subnet(one).ok()) << one;
    }
}

TEST(Subnet, its_ends_belong_to_the_host_and_to_broadcast) {
    const Subnet one = subnet("10.77.3.0/29");
    EXPECT_EQ(to_text(one.gateway()), "10.77.3.1");
    EXPECT_EQ(to_text(one.first_guest()), "10.77.3.2");
    EXPECT_EQ(to_text(one.last_guest()), "10.77.3.6");
    EXPECT_EQ(one.guests_max(), 5U);
    EXPECT_EQ(to_text(one.mask()), "255.255.255.248");
}

TEST(Subnet, guests_get_no_loopback_and_no_multicast) {
    EXPECT_TRUE(parse_guest_subnet("192.168.4.0/22").ok());
    for (const char* bad : {"127.0.0.0/24", "169.254.0.0/16", "224.0.0.0/24", "0.0.0.0/16",
                            "10.0.0.0/8", "10.0.0.0/30", "255.255.255.0/24"}) {
        EXPECT_FALSE(parse_guest_subnet(bad).ok()) << bad;
    }
}

TEST(Subnet, the_first_one_that_overlaps_nothing_is_chosen) {
    EXPECT_EQ(to_text(*choose_subnet({})), "10.77.0.0/24");
    const std::vector<Subnet> used = {subnet("10.77.0.0/23"), subnet("10.77.2.128/25")};
    EXPECT_EQ(to_text(*choose_subnet(used)), "10.77.3.0/24");
    const std::vector<Subnet> ten = {subnet("10.0.0.0/8")};
    EXPECT_EQ(to_text(*choose_subnet(ten)), "192.168.128.0/24");
    const std::vector<Subnet> all = {subnet("0.0.0.0/0")};
    EXPECT_EQ(choose_subnet(all).error().code(), ErrorCode::no_space);
}

model::Lease lease(const std::string& address) { return {{}, "eth0", "web1", "", address, ""}; }

TEST(Addresses, the_lowest_free_one_is_given) {
    const std::vector<model::Lease> leases = {lease("10.77.3.4"), lease("10.77.3.2")};
    EXPECT_EQ(to_text(*choose_address(subnet("10.77.3.0/24"), leases, "")), "10.77.3.3");
}

TEST(Addresses, a_wanted_one_must_be_of_the_subnet_and_free) {
    const Subnet net = subnet("10.77.3.0/24");
    const std::vector<model::Lease> leases = {lease("10.77.3.9")};
    EXPECT_EQ(to_text(*choose_address(net, leases, "10.77.3.77")), "10.77.3.77");
    EXPECT_EQ(choose_address(net, leases, "10.77.3.9").error().code(), ErrorCode::in_use);
    for (const char* bad : {"10.77.4.1", "10.77.3.1", "10.77.3.0", "10.77.3.255", "web"}) {
        EXPECT_EQ(choose_address(net, leases, bad).error().code(), ErrorCode::invalid_argument)
            << bad;
    }
}

TEST(Addresses, exhaustion_says_how_many_there_were) {
    std::vector<model::Lease> leases;
    for (int i = 2; i <= 6; ++i) leases.push_back(lease("10.77.3." + std::to_string(i)));
    const auto none = choose_address(subnet("10.77.3.0/29"), leases, "");
    ASSERT_FALSE(none.ok());
    EXPECT_EQ(none.error().code(), ErrorCode::no_space);
    EXPECT_EQ(none.error().message(), "subnet 10.77.3.0/29: all 5 addresses are given out");
}

TEST(Addresses, a_nic_always_gets_the_same_mac_of_its_own) {
    const Uuid vm = Uuid::from_random(1, 2);
    const std::string mac = choose_mac(vm, "eth0");
    EXPECT_EQ(mac, choose_mac(vm, "eth0"));
    EXPECT_NE(mac, choose_mac(vm, "eth1"));
    EXPECT_NE(mac, choose_mac(Uuid::from_random(1, 3), "eth0"));
    EXPECT_TRUE(check_mac(mac).ok()) << mac;
    for (const char* bad : {"", "02:00:00:00:00", "01:00:00:00:00:01", "02-00-00-00-00-01",
                            "02:00:00:00:00:0G", "00:00:00:00:00:00", "02:00:00:00:00:01;"}) {
        EXPECT_FALSE(check_mac(bad).ok()) << bad;
    }
}

TEST(Addresses, only_the_first_nic_in_a_network_bears_the_name_of_its_vm) {
    const Uuid network = Uuid::from_random(5, 6);
    model::VmSpec spec;
    for (const char* name : {"a", "b", "c"}) {
        model::VmNic nic;
        nic.name = name;
        if (name[0] != 'a') nic.network = network;
        spec.nics.push_back(nic);
    }
    EXPECT_EQ(guest_name("web1", spec, network, "b"), "web1");
    EXPECT_EQ(guest_name("web1", spec, network, "c"), "web1-c");
    EXPECT_EQ(guest_name(std::string(63, 'x'), spec, network, "c").size(), 63U);
}

TEST(Links, names_fit_the_kernel_and_differ_by_instance) {
    const Instance one{"1a2b3c4d"};
    const Uuid id = Uuid::from_random(7, 8);
    for (const std::string& name : {bridge_name(one, id), tap_name(one, id, "eth0", 0)}) {
        EXPECT_LE(name.size(), 15U);
        EXPECT_TRUE(name.starts_with("st1a2b")) << name;
    }
    EXPECT_NE(tap_name(one, id, "eth0", 0), tap_name(one, id, "eth0", 1));
    EXPECT_EQ(table_name(one), "stoa_1a2b3c4d");
}

}  // namespace
}  // namespace stoa::network
