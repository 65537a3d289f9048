#include "controlplane/network/networks.h"

#include <functional>

#include <boost/asio/steady_timer.hpp>

#include "controlplane/host/process.h"
#include "controlplane/network/plans.h"
#include "controlplane/network/test_world.h"

namespace stoa::network {
namespace {

class NetworksTest : public testing::Test {
protected:
    void SetUp() override {
        const char* helper = std::getenv("STOA_LAUNCH");
        if (helper == nullptr || !enter_own_namespaces()) {
            GTEST_SKIP() << "needs root and the program stoa-launch";
        }
        helper_ = helper;
        store_ = std::make_unique<records::TestStore>();
        world_ = std::make_unique<TestWorld>(store_->loop());
        open();
    }
    void TearDown() override {
        if (networks_ == nullptr) return;
        std::string pids;
        for (const auto& [id, one] : records().all<model::Network>()) pids += dnsmasq_pid(id) + " ";
        close();
        world_->shell("kill " + pids);
        networks_.reset();
        world_.reset();
        store_.reset();
    }

    std::unique_ptr<Networks> make(const std::string& instance, records::TestStore& store,
                                   std::chrono::milliseconds interval) {
        NetworksOptions options;
        options.instance = {instance};
        options.runtime_directory = world_->directory() + "/" + instance;
        options.launch_helper = helper_;
        options.check_interval = interval;
        auto networks = Networks::create(store.loop().get_executor(), store.records(), options);
        EXPECT_TRUE(store.await(networks->start()).ok());
        return networks;
    }
    void open(std::chrono::milliseconds interval = std::chrono::milliseconds(30'000)) {
        networks_ = make("1a2b3c4d", *store_, interval);
    }
    void close() { store_->await(networks_->close()); }
    records::Records& records() { return store_->records(); }

    // Commits the intent of a plan, then runs it as its last step would.
    void commit(task::Plan plan) {
        const auto done = store_->await(records().commit(std::move(plan.intent)));
        ASSERT_TRUE(done.ok()) << done.error().message();
    }
    task::Ids ids() { return task::Ids({1'000'000'000, ++seed_}); }

    Uuid create_network(const std::string& name) {
        model::NetworkCreate request;
        request.name = name;
        task::Ids made = ids();
        auto plan = plan_create({records(), made, true}, request);
        EXPECT_TRUE(plan.ok()) << plan.error().message();
        commit(*std::move(plan));
        const Uuid id = (*records().find<model::Network>(name))->id;
        const auto up = store_->await(networks_->apply(id));
        EXPECT_TRUE(up.ok()) << up.error().message();
        return id;
    }
    Uuid create_vm(const std::string& name, const Uuid& network, const std::string& address = "") {
        model::Record<model::Vm> vm;
        vm.id = ids().next();
        vm.name = name;
        model::VmNic nic;
        nic.name = "eth0";
        nic.network = network;
        nic.address = address;
        vm.spec.nics = {nic};
        EXPECT_TRUE(check_nics(records(), vm.id, vm.spec, true).ok());
        state::Txn txn;
        records::create<model::Vm>(txn, vm);
        EXPECT_TRUE(store_->await(records().commit(std::move(txn))).ok());
        return vm.id;
    }
    model::Lease lease(const Uuid& vm) {
        auto given = store_->await(networks_->lease(vm, "eth0"));
        EXPECT_TRUE(given.ok()) << given.error().message();
        return given.ok() ? *given : model::Lease();
    }
    const model::Record<model::Network>& network(const Uuid& id) {
        return *records().get<model::Network>(id);
    }
    std::string guest(const std::string& name, const Uuid& vm, const Uuid& net) {
        return world_->start_guest(name, lease(vm), network(net).status.interface);
    }
    void forward(const Uuid& net, uint32_t host_port, const std::string& vm) {
        model::NetworkSet request;
        request.add_forwards = {{model::Protocol::tcp, "", host_port, vm, 80}};
        task::Ids made = ids();
        auto plan = plan_set({records(), made, true}, net.to_string(), request, "");
        ASSERT_TRUE(plan.ok()) << plan.error().message();
        commit(*std::move(plan));
        ASSERT_TRUE(store_->await(networks_->apply(net)).ok());
    }
    // Empty: none runs.
    std::string dnsmasq_pid(const Uuid& id, const std::string& instance = "1a2b3c4d") {
        const auto status = host::read_process_status(fmt::format(
            "{}/{}/net/{}/dnsmasq.status", world_->directory(), instance, id.to_string()));
        if (!status.ok() || status->ended) return "";
        const auto same = host::identify(status->process.pid);
        return same.ok() && *same == status->process ? fmt::format("{}", status->process.pid) : "";
    }
    // Lets the loop run until `is_so()`, at most 10 s.
    bool eventually(const std::function<bool()>& is_so) {
        for (int i = 0; i < 200 && !is_so(); ++i) {
            store_->await(pause());
        }
        return is_so();
    }
    static AsyncVoid pause() {
        asio::steady_timer timer(co_await asio::this_coro::executor, std::chrono::milliseconds(50));
        co_await timer.async_wait(kAwait);
    }

    std::string helper_;
    std::unique_ptr<TestWorld> world_;
    std::unique_ptr<records::TestStore> store_;
    std::unique_ptr<Networks> networks_;
    uint64_t seed_ = 0;
};

TEST_F(NetworksTest, guests_get_addresses_names_and_the_world_and_keep_to_what_is_theirs) {
    const Uuid lan = create_network("lan");
    EXPECT_TRUE(network(lan).status.is_up) << network(lan).status.reason;
    EXPECT_EQ(network(lan).status.subnet, "10.77.0.0/24");
    const Uuid web = create_vm("web", lan);
    const Uuid db = create_vm("db", lan, "10.77.0.50");
    const Uuid other = create_network("other");
    const Uuid far = create_vm("far", other);

    EXPECT_EQ(guest("web", web, lan), "10.77.0.2 10.77.0.1 10.77.0.1 stoa stoa web\n");
    EXPECT_EQ(guest("db", db, lan), "10.77.0.50 10.77.0.1 10.77.0.1 stoa stoa db\n");
    EXPECT_EQ(guest("far", far, other), "10.77.1.2 10.77.1.1 10.77.1.1 stoa stoa far\n");

    // Names, from guests and from the host.
    const std::string answer = "Address: 10.77.0.50";
    EXPECT_NE(world_->shell("ip netns exec web busybox nslookup db.stoa 10.77.0.1").find(answer),
              std::string::npos);
    EXPECT_NE(world_->shell("busybox nslookup db.stoa 10.77.0.1").find(answer), std::string::npos);

    world_->serve("web", "from-web");
    world_->serve("far", "from-far");
    EXPECT_EQ(world_->fetched("web", "192.0.2.2"), "from-world\n");  // by the host's address
    EXPECT_EQ(world_->fetched("", "10.77.0.2"), "from-web\n");
    EXPECT_EQ(world_->fetched("db", "10.77.0.2"), "from-web\n");
    EXPECT_EQ(world_->fetch("db", "10.77.1.2").find("from"), std::string::npos);  // isolation
    world_->shell("ip -n world route add 10.77.0.0/16 via 192.0.2.1");
    EXPECT_EQ(world_->fetch("world", "10.77.0.2").find("from"), std::string::npos);

    // Forwards: from outside, from the host by any of its addresses, from a guest of the same
    // network (back through the host) and of another.
    EXPECT_EQ(world_->fetch("world", "192.0.2.1", 8080).find("from"), std::string::npos);
    forward(lan, 8080, "web");
    EXPECT_EQ(world_->fetched("world", "192.0.2.1", 8080), "from-web\n");
    EXPECT_EQ(world_->fetched("", "192.0.2.1", 8080), "from-web\n");
    EXPECT_EQ(world_->fetched("", "127.0.0.1", 8080), "from-web\n");
    EXPECT_EQ(world_->fetched("db", "192.0.2.1", 8080), "from-web\n");
    EXPECT_EQ(world_->fetched("far", "192.0.2.1", 8080), "from-web\n");

    // Another address, then another hardware address: dropped.
    const std::string ping = "busybox ping -c 1 -W 1 ";
    EXPECT_NE(world_->shell("ip netns exec db " + ping + "10.77.0.2").find("1 packets received"),
              std::string::npos);
    world_->shell("ip -n db addr add 10.77.0.66/24 dev eth0");
    EXPECT_EQ(world_->shell("ip netns exec db " + ping + "-I 10.77.0.66 10.77.0.2")
                  .find("1 packets received"),
              std::string::npos);
    world_->shell("ip -n db link set eth0 address 02:00:00:00:66:66");
    EXPECT_EQ(world_->shell("ip netns exec db " + ping + "10.77.0.2").find("1 packets received"),
              std::string::npos);
}

TEST_F(NetworksTest, dnsmasq_is_adopted_and_started_again_when_it_is_killed) {
    const Uuid lan = create_network("lan");
    const Uuid web = create_vm("web", lan);
    const model::Lease before = lease(web);
    const std::string pid = dnsmasq_pid(lan);
    ASSERT_FALSE(pid.empty());
    close();
    open();
    EXPECT_EQ(dnsmasq_pid(lan), pid);
    EXPECT_EQ(lease(web).address, before.address);
    world_->shell("kill -9 " + pid);
    EXPECT_TRUE(eventually([&] {
        const std::string now = dnsmasq_pid(lan);
        return !now.empty() && now != pid;
    }));
    EXPECT_NE(guest("web", web, lan).find(before.address), std::string::npos);
}

TEST_F(NetworksTest, what_others_remove_or_drop_is_mended_or_named) {
    close();
    open(std::chrono::milliseconds(200));
    const Uuid lan = create_network("lan");
    world_->shell("nft flush ruleset");
    EXPECT_TRUE(eventually([&] {
        return world_->shell("nft list tables").find("stoa_1a2b3c4d") != std::string::npos;
    }));
    world_->shell(
        "nft 'add table ip filter; add chain ip filter FORWARD "
        "{ type filter hook forward priority 0; policy drop; }'");
    EXPECT_TRUE(eventually([&] { return !network(lan).status.warnings.empty(); }));
    ASSERT_FALSE(network(lan).status.warnings.empty());
    EXPECT_NE(network(lan).status.warnings[0].find("chain FORWARD"), std::string::npos);
    const Uuid web = create_vm("web", lan);
    (void)lease(web);
    world_->shell("ip link del " + network(lan).status.interface);
    EXPECT_TRUE(eventually([&] {
        return !world_->shell("ip -br link show dev " + network(lan).status.interface).empty();
    }));
    EXPECT_NE(guest("web", web, lan).find("10.77.0.2 "), std::string::npos);  // dnsmasq follows
}

TEST_F(NetworksTest, a_deleted_network_leaves_nothing) {
    const Uuid lan = create_network("lan");
    const Uuid web = create_vm("web", lan);
    task::Ids made = ids();
    const auto refused = plan_delete({records(), made, true}, "lan", "");
    ASSERT_FALSE(refused.ok());
    EXPECT_EQ(refused.error().code(), ErrorCode::in_use);
    {
        auto attached = store_->await(networks_->attach(web, "eth0"));
        ASSERT_TRUE(attached.ok()) << attached.error().message();
        EXPECT_TRUE(attached->tap.is_open());
        const std::string link = world_->shell("ip link show dev " + attached->lease.interface);
        EXPECT_NE(link.find("master " + network(lan).status.interface), std::string::npos) << link;
        const auto again = store_->await(networks_->attach(web, "eth0"));
        EXPECT_FALSE(again.ok());
    }
    state::Txn txn;
    records::erase<model::Vm>(txn, *records().get<model::Vm>(web));
    ASSERT_TRUE(store_->await(records().commit(std::move(txn))).ok());
    EXPECT_TRUE(eventually([&] { return network(lan).status.leases.empty(); }));

    auto plan = plan_delete({records(), made, true}, "lan", "");
    ASSERT_TRUE(plan.ok());
    commit(*std::move(plan));
    const auto gone = store_->await(networks_->clean(lan));
    EXPECT_TRUE(gone.ok()) << gone.error().message();
    EXPECT_EQ(world_->shell("ip -br link | grep ^st"), "");
    EXPECT_EQ(world_->shell("nft list tables"), "");
    EXPECT_EQ(dnsmasq_pid(lan), "");
    EXPECT_EQ(world_->shell("ls " + world_->directory() + "/1a2b3c4d/net"), "");
}

TEST_F(NetworksTest, instances_stand_side_by_side) {
    const Uuid lan = create_network("lan");
    records::TestStore second;
    auto neighbour = make("99887766", second, std::chrono::milliseconds(30'000));
    model::NetworkCreate request;
    request.name = "lan";
    task::Ids made({1, 77});
    auto plan = plan_create({second.records(), made, true}, request);
    ASSERT_TRUE(plan.ok());
    ASSERT_TRUE(second.commit(std::move(plan->intent)).ok());
    const Uuid theirs = (*second.records().find<model::Network>("lan"))->id;
    const auto up = second.await(neighbour->apply(theirs));
    EXPECT_TRUE(up.ok()) << up.error().message();
    EXPECT_EQ(network(lan).status.subnet, "10.77.0.0/24");
    EXPECT_EQ(second.records().get<model::Network>(theirs)->status.subnet, "10.77.1.0/24");
    const std::string tables = world_->shell("nft list tables");
    EXPECT_NE(tables.find("stoa_1a2b3c4d"), std::string::npos);
    EXPECT_NE(tables.find("stoa_99887766"), std::string::npos);
    second.await(neighbour->close());
    world_->shell("kill " + dnsmasq_pid(theirs, "99887766"));
}

TEST_F(NetworksTest, a_subnet_of_the_host_is_not_taken) {
    task::Ids made = ids();
    model::NetworkCreate request;
    request.name = "lan";
    request.subnet = "192.0.2.0/24";
    auto plan = plan_create({records(), made, true}, request);
    ASSERT_TRUE(plan.ok());
    commit(*std::move(plan));
    const Uuid id = (*records().find<model::Network>("lan"))->id;
    const auto up = store_->await(networks_->apply(id));
    ASSERT_FALSE(up.ok());
    EXPECT_EQ(up.error().code(), ErrorCode::conflict);
    EXPECT_FALSE(network(id).status.is_up);
    EXPECT_NE(network(id).status.reason.find("192.0.2.0/24"), std::string::npos);
}

}  // namespace
}  // namespace stoa::network
