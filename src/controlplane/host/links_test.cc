// Real links, in a network namespace of the test's own: nothing of the machine is touched.
#include "controlplane/host/links.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <thread>

#include "controlplane/host/files.h"

using namespace stoa;
using namespace stoa::host;

namespace {

// Runs `body` on a thread in a new network namespace. False: this machine does not let us.
template <class Body>
bool in_namespace(Body body) {
    bool entered = false;
    std::thread([&] {
        entered = ::unshare(CLONE_NEWNET) == 0;
        if (entered) body();
    }).join();
    return entered;
}

#define REQUIRE_NAMESPACE(...) \
    if (!in_namespace(__VA_ARGS__)) GTEST_SKIP() << "needs root, for a network namespace"

}  // namespace

TEST(Links, names_fit_and_are_recognized) {
    EXPECT_EQ(*link_name("1a2b3c4d", 'b', "03"), "st1a2bb03");
    EXPECT_EQ(*link_name("1a2b3c4d", 'v', "0f3e1c"), "st1a2bv0f3e1c");
    EXPECT_EQ(link_prefix("1a2b3c4d"), "st1a2b");
    EXPECT_FALSE(link_name("1a2b3c4d", 'v', "0123456789").ok());
    EXPECT_FALSE(link_name("1a2b3c4d", 'v', "a/b").ok());
    EXPECT_FALSE(link_name("1a", 'v', "1").ok());
}

TEST(Links, a_bridge_is_made_repaired_and_deleted) {
    REQUIRE_NAMESPACE([] {
        BridgeSpec spec{.name = "st1a2bb1",
                        .mac = "52:54:00:aa:bb:cc",
                        .mtu_bytes = 1400,
                        .addresses = {{.address = "10.7.0.1", .prefix = 24},
                                      {.address = "fd00:7::1", .prefix = 64}}};
        ASSERT_TRUE(ensure_bridge(spec).ok()) << ensure_bridge(spec).error().message();
        auto link = find_link(spec.name);
        ASSERT_TRUE(link.ok());
        EXPECT_EQ(link->kind, "bridge");
        EXPECT_EQ(link->mac, spec.mac);
        EXPECT_EQ(link->mtu_bytes, 1400U);
        EXPECT_TRUE(link->is_up);
        for (const LinkAddress& one : spec.addresses) {
            EXPECT_NE(std::ranges::find(link->addresses, one), link->addresses.end())
                << one.address;
        }
        // Again, with another address, down and of another size: it is put right.
        ASSERT_TRUE(set_link_up(spec.name, false).ok());
        spec.addresses = {{.address = "10.8.0.1", .prefix = 24}};
        spec.mtu_bytes = 1500;
        ASSERT_TRUE(ensure_bridge(spec).ok());
        link = find_link(spec.name);
        EXPECT_TRUE(link->is_up);
        EXPECT_EQ(link->mtu_bytes, 1500U);
        std::erase_if(link->addresses,
                      [](const LinkAddress& one) { return one.address.starts_with("fe80"); });
        EXPECT_EQ(link->addresses, spec.addresses);
        const auto subnets = routed_subnets();
        ASSERT_TRUE(subnets.ok());
        EXPECT_TRUE(std::ranges::any_of(*subnets, [](const Subnet& one) {
            return one.address == 0x0a080000 && one.prefix == 24;
        }));
        EXPECT_TRUE(default_route_links()->empty());
        EXPECT_EQ(list_links("st1a2b")->size(), 1U);
        EXPECT_GE(list_links("")->size(), 2U);
        ASSERT_TRUE(delete_link(spec.name).ok());
        EXPECT_TRUE(delete_link(spec.name).ok());
        EXPECT_EQ(find_link(spec.name).error().code(), ErrorCode::not_found);
    });
}

TEST(Links, a_tap_is_in_its_bridge_and_vanishes_with_its_descriptor) {
    REQUIRE_NAMESPACE([] {
        ASSERT_TRUE(ensure_bridge({.name = "st1a2bb1"}).ok());
        auto tap = open_tap(
            {.name = "st1a2bv000001", .bridge = "st1a2bb1", .mtu_bytes = 1450, .isolated = true});
        ASSERT_TRUE(tap.ok()) << tap.error().message();
        EXPECT_NE(::fcntl(tap->get(), F_GETFD) & FD_CLOEXEC, 0);
        const auto link = find_link("st1a2bv000001");
        ASSERT_TRUE(link.ok());
        EXPECT_EQ(link->master, find_link("st1a2bb1")->index);
        EXPECT_EQ(link->kind, "tun");
        EXPECT_EQ(link->mtu_bytes, 1450U);
        EXPECT_TRUE(link->is_up);
        EXPECT_EQ(open_tap({.name = "st1a2bv000001"}).error().code(), ErrorCode::already_exists);
        ASSERT_TRUE(set_link_master("st1a2bv000001", "").ok());
        EXPECT_EQ(find_link("st1a2bv000001")->master, 0U);
        const Descriptor copy(::fcntl(tap->get(), F_DUPFD_CLOEXEC, 0));
        tap->close();
        EXPECT_TRUE(find_link("st1a2bv000001").ok()) << "QEMU's copy keeps it";
        Descriptor last(::fcntl(copy.get(), F_DUPFD_CLOEXEC, 0));
        last.close();
    });
    REQUIRE_NAMESPACE([] {
        {
            const auto tap = open_tap({.name = "st1a2bv000002"});
            ASSERT_TRUE(tap.ok());
        }
        EXPECT_EQ(find_link("st1a2bv000002").error().code(), ErrorCode::not_found);
        // What fails half-way leaves no link.
        EXPECT_EQ(open_tap({.name = "st1a2bv000003", .bridge = "none"}).error().code(),
                  ErrorCode::not_found);
        EXPECT_FALSE(open_tap({.name = "st1a2bv000004", .bridge = "lo"}).ok());
        EXPECT_TRUE(list_links("st1a2bv")->empty());
    });
}

TEST(Links, what_is_wrong_is_said) {
    REQUIRE_NAMESPACE([] {
        EXPECT_EQ(ensure_bridge({.name = "lo"}).error().code(), ErrorCode::conflict);
        EXPECT_EQ(ensure_bridge({.name = "a/b"}).error().code(), ErrorCode::invalid_argument);
        EXPECT_EQ(ensure_bridge({.name = "this-name-is-too-long"}).error().code(),
                  ErrorCode::invalid_argument);
        EXPECT_EQ(ensure_bridge({.name = "b0", .mac = "52:54:00:zz:00:00"}).error().code(),
                  ErrorCode::invalid_argument);
        EXPECT_FALSE(
            ensure_bridge({.name = "b0", .addresses = {{.address = "10.0.0.256", .prefix = 24}}})
                .ok());
        EXPECT_EQ(set_link_up("none", true).error().code(), ErrorCode::not_found);
        const auto bad = add_link_address("lo", {.address = "10.0.0.1", .prefix = 33});
        EXPECT_EQ(bad.error().code(), ErrorCode::invalid_argument);
        EXPECT_TRUE(add_link_address("lo", {.address = "10.0.0.1", .prefix = 32}).ok());
    });
}
