// The pass that makes true on this host what the records say about networks (networks.h, state.h).
//
// In the order in which things need each other: the directory (by which an erased network's remains
// are found), the bridge, leases, dnsmasq; then the rules of all networks; last their statuses.
#include <algorithm>
#include <chrono>

#include <fmt/format.h>
#include <boost/asio/steady_timer.hpp>

#include "controlplane/host/command.h"
#include "controlplane/host/files.h"
#include "controlplane/host/firewall.h"
#include "controlplane/host/links.h"
#include "controlplane/network/addresses.h"
#include "controlplane/network/plans.h"
#include "controlplane/network/state.h"

namespace stoa::network {

namespace {

constexpr size_t kRulesetBytesMax = size_t{64} << 20;
constexpr int kLockTries = 500;
constexpr std::chrono::milliseconds kLockPause{10};

using NetworkRecord = model::Record<model::Network>;

Subnet to_subnet(const host::Subnet& routed) {
    Subnet subnet{{routed.address}, routed.prefix};
    subnet.base.bits &= subnet.mask().bits;
    return subnet;
}

// The host's own end of the subnet.
host::LinkAddress gateway_of(const Subnet& subnet) {
    return {to_text(subnet.gateway()), static_cast<uint8_t>(subnet.prefix_bits)};
}

// A setting that not every kernel has.
Result<void> set_if_there(const std::string& path, std::string_view value) {
    Result<void> done = host::write_setting(path, value);
    if (!done.ok() && done.error().code() == ErrorCode::not_found) return {};
    return done;
}

Result<void> make_bridge(const NetworkRecord& network, const std::string& name,
                         const Subnet& subnet) {
    host::BridgeSpec bridge;
    bridge.name = name;
    bridge.mac = choose_mac(network.id, "");
    bridge.addresses = {gateway_of(subnet)};
    TRY(host::ensure_bridge(bridge));
    TRY(host::write_setting("/proc/sys/net/ipv4/ip_forward", "1"));
    // So that a forward works from 127.0.0.1 of the host; the rules keep guests from that address.
    TRY(host::write_setting(fmt::format("/proc/sys/net/ipv4/conf/{}/route_localnet", name), "1"));
    return set_if_there(fmt::format("/proc/sys/net/ipv6/conf/{}/disable_ipv6", name), "1");
}

Result<void> check_host_bridge(const std::string& name) {
    const auto link = host::find_link(name);
    if (!link.ok()) return link.error().with_context(fmt::format("bridge {}", name));
    if (link->kind == "bridge") return {};
    return Error(ErrorCode::conflict,
                 fmt::format("bridge {}: is a link of kind \"{}\", no bridge", name, link->kind));
}

}  // namespace

std::string Networks::State::net_directory() const { return options.runtime_directory + "/net"; }

std::string Networks::State::directory_of(const Uuid& id) const {
    return net_directory() + "/" + id.to_string();
}

// The subnet of a network that has none on this host yet. Its lock is held by who calls.
Result<Subnet> Networks::State::claim_subnet(const NetworkRecord& network) {
    std::vector<Subnet> used;
    TRY_ASSIGN(const auto routed, host::routed_subnets());
    for (const host::Subnet& one : routed) used.push_back(to_subnet(one));
    const auto wanted_now = subnet_of(network);
    for (const auto& [id, other] : records.all<model::Network>()) {
        if (id == network.id || other.spec.mode != model::NetworkMode::nat) continue;
        const auto subnet = subnet_of(other);
        if (subnet.ok()) used.push_back(*subnet);
    }
    if (!wanted_now.ok()) return choose_subnet(used);
    for (const Subnet& one : used) {
        if (!one.overlaps(*wanted_now)) continue;
        return Error(ErrorCode::conflict,
                     fmt::format("subnet {}: this host reaches {} in another way already",
                                 to_text(*wanted_now), to_text(one)));
    }
    return *wanted_now;
}

// The bridge, with the host's address. Nothing: mode bridge.
Async<std::optional<Subnet>> Networks::State::bring_up_link(NetworkRecord network, Held& one) {
    if (!may_manage) {
        co_return Error(ErrorCode::denied,
                        "needs root (CAP_NET_ADMIN), which this stoad does not have: use user-mode "
                        "networking (network \"user\")");
    }
    if (network.spec.mode == model::NetworkMode::bridge) {
        CO_TRY(check_host_bridge(network.spec.bridge));
        co_return std::optional<Subnet>();
    }
    CO_TRY(host::make_directories(net_directory(), 0711));
    CO_TRY(host::make_directories(directory_of(network.id), 0755));
    const std::string name = bridge_name(options.instance, network.id);

    // One that is there already has its subnet, also if this process died before it was recorded.
    const auto there = host::find_link(name);
    const auto recorded = subnet_of(network);
    if (there.ok() && there->kind == "bridge" && there->addresses.size() == 1) {
        const Result<Ipv4> address = parse_ipv4(there->addresses[0].address);
        Subnet subnet{{0}, there->addresses[0].prefix};
        if (address.ok()) subnet.base.bits = address->bits & subnet.mask().bits;
        if (address.ok() && (!recorded.ok() || *recorded == subnet)) {
            CO_TRY(make_bridge(network, name, subnet));
            co_return std::optional<Subnet>(subnet);
        }
    }
    if (there.ok()) CO_TRY(host::delete_link(name));  // of a subnet that it had before
    asio::steady_timer timer(co_await asio::this_coro::executor);
    for (int attempt = 0;; ++attempt) {
        auto lock = host::lock_file(options.subnet_lock);
        if (lock.ok()) {
            CO_TRY_ASSIGN(const Subnet subnet, claim_subnet(network));
            CO_TRY(make_bridge(network, name, subnet));
            one.link_is_new = true;
            co_return std::optional<Subnet>(subnet);
        }
        if (lock.error().code() != ErrorCode::busy || attempt == kLockTries) {
            co_return lock.take_error();
        }
        timer.expires_after(kLockPause);
        const auto [cancelled] = co_await timer.async_wait(kAwait);
        if (cancelled) co_return failed("subnets", cancelled);
    }
}

// Leases are recorded before anything else knows of them.
Async<> Networks::State::give_leases(Uuid id, std::optional<Subnet> subnet, Held& one) {
    const NetworkRecord* network = records.get<model::Network>(id);
    if (network == nullptr) co_return Result<void>();
    std::set<std::string> interfaces;
    for (const auto& [other, record] : records.all<model::Network>()) {
        if (other == id) continue;
        for (const model::Lease& lease : record.status.leases) interfaces.insert(lease.interface);
    }
    LeasePlan plan =
        plan_leases(options.instance, *network, subnet, records.all<model::Vm>(), interfaces);
    one.refused = std::move(plan.refused);
    model::NetworkStatus status = network->status;
    status.leases = std::move(plan.leases);
    status.subnet = subnet ? to_text(*subnet) : "";
    status.interface = subnet ? bridge_name(options.instance, id) : network->spec.bridge;
    co_return co_await put_status(id, std::move(status));
}

Server& Networks::State::server_of(const Uuid& id, Held& one) {
    if (one.server == nullptr) {
        one.server = std::make_unique<Server>(
            executor, Server::Options{options.launch_helper, id.to_string(), [this] { poke(); }});
    }
    return *one.server;
}

Async<> Networks::State::serve(NetworkRecord network, Subnet subnet, Held& one) {
    DnsmasqOptions wants{network.status.interface, subnet, network.spec.domain,
                         directory_of(network.id)};
    DnsmasqFiles files = dnsmasq_files(network.status.leases, network.spec.domain);
    CO_TRY(co_await server_of(network.id, one)
               .ensure(std::move(wants), std::move(files), one.link_is_new));
    one.link_is_new = false;
    co_return Result<void>();
}

Async<> Networks::State::hold(Uuid id, Held& one) {
    const NetworkRecord* network = records.get<model::Network>(id);
    if (network == nullptr) co_return Result<void>();
    one.refused.clear();
    CO_TRY_ASSIGN(const std::optional<Subnet> subnet, co_await bring_up_link(*network, one));
    CO_TRY(co_await give_leases(id, subnet, one));
    network = records.get<model::Network>(id);
    if (network == nullptr || !subnet) co_return Result<void>();
    co_return co_await serve(*network, *subnet, one);
}

// What is left of a network without a record.
Async<> Networks::State::clean_up(Uuid id) {
    Held& one = held[id];
    CO_TRY(host::delete_link(bridge_name(options.instance, id)));
    CO_TRY(co_await server_of(id, one).stop(directory_of(id)));
    co_await one.server->close();
    held.erase(id);
    co_return Result<void>();
}

std::vector<NetworkRules> Networks::State::rules() const {
    std::vector<NetworkRules> all;
    for (const auto& [id, network] : records.all<model::Network>()) {
        if (network.status.interface.empty()) continue;
        NetworkRules one{network.spec.mode,
                         network.status.interface,
                         {},
                         network.status.leases,
                         network.spec.forwards};
        if (one.mode == model::NetworkMode::nat) {
            const auto subnet = parse_subnet(network.status.subnet);
            if (!subnet.ok()) continue;
            one.subnet = *subnet;
        }
        all.push_back(std::move(one));
    }
    return all;
}

namespace {

Async<> put_rules(std::string table, Ruleset ruleset) {
    // First what keeps guests from what is not theirs.
    CO_TRY(co_await host::replace_table({"bridge", table}, ruleset.bridge));
    co_return co_await host::replace_table({"ip", table}, ruleset.ip);
}

Async<> remove_rules(std::string table) {
    CO_TRY(co_await host::delete_table({"ip", table}));
    co_return co_await host::delete_table({"bridge", table});
}

// Without networks: that there are no tables.
Result<bool> is_in_place(const std::string& listed, const Instance& instance,
                         const std::vector<NetworkRules>& wants, const Ruleset& ruleset) {
    if (!wants.empty()) return has_mark(listed, instance, ruleset.mark);
    return listed.find(fmt::format("\"{}\"", table_name(instance))) == std::string::npos;
}

// For people.
std::string describe(const host::ForwardDrop& drop) {
    return fmt::format("table {}, chain {} ({}) drops what is forwarded", drop.table, drop.chain,
                       drop.owner);
}

}  // namespace

AsyncVoid Networks::State::apply_rules() {
    rules_failure.reset();
    const std::vector<NetworkRules> wants = rules();
    const std::string table = table_name(options.instance);
    const Ruleset ruleset = make_ruleset(wants);
    bool is_there = !look_at_rules && rules_mark == ruleset.mark;
    if (look_at_rules) {
        host::CommandSpec list;
        list.program = "nft";
        list.arguments = {"-j", "list", "ruleset"};
        list.output_bytes_max = kRulesetBytesMax;
        const auto listed = co_await host::run_successfully(std::move(list));
        const auto marked = listed.ok() ? is_in_place(*listed, options.instance, wants, ruleset)
                                        : Result<bool>(listed.error());
        if (!marked.ok()) {
            rules_failure = marked.error();
            co_return;
        }
        is_there = *marked;
        foreign.clear();
        const auto drops = host::find_forward_drops(*listed);
        if (drops.ok()) {
            for (const host::ForwardDrop& drop : *drops) foreign.push_back(describe(drop));
        }
        look_at_rules = false;
    }
    if (is_there) {
        rules_mark = ruleset.mark;
        co_return;
    }
    const auto done =
        wants.empty() ? co_await remove_rules(table) : co_await put_rules(table, ruleset);
    if (done.ok()) {
        rules_mark = ruleset.mark;
    } else {
        rules_failure = done.error();
        rules_mark.clear();
    }
}

std::vector<std::string> Networks::State::warnings_of(const model::NetworkStatus& status) const {
    std::vector<std::string> warnings;
    for (const std::string& one : foreign) {
        warnings.push_back(
            fmt::format("{}: guests reach nothing outside until it accepts what "
                        "comes from and goes to {}",
                        one, status.interface));
    }
    return warnings;
}

// `reason` and `up`, as this pass found them.
AsyncVoid Networks::State::publish(Uuid id, Held& one) {
    const NetworkRecord* network = records.get<model::Network>(id);
    if (network == nullptr) co_return;
    model::NetworkStatus status = network->status;
    const std::optional<Error>& failure = one.failure ? one.failure : rules_failure;
    status.is_up = !failure;
    status.reason = failure ? failure->message() : "";
    status.warnings = network->spec.mode == model::NetworkMode::nat ? warnings_of(status)
                                                                    : std::vector<std::string>();
    if (one.told != status.reason) {
        one.told = status.reason;
        options.tell(id, failure ? fmt::format("network {}: {}", network->name, status.reason)
                                 : fmt::format("network {}: is up", network->name));
    }
    if (rules_failure && !one.failure) one.failure = rules_failure;
    const auto done = co_await put_status(id, std::move(status));
    if (!done.ok() && !one.failure) one.failure = done.error();
}

Async<> Networks::State::put_status(Uuid id, model::NetworkStatus status) {
    const NetworkRecord* network = records.get<model::Network>(id);
    if (network == nullptr || to_json(network->status) == to_json(status)) {
        co_return Result<void>();
    }
    state::Txn txn;
    records::expect<model::Network>(txn, *network);
    records::put_status<model::Network>(txn, id, status);
    const auto done = co_await records.commit(std::move(txn));
    if (done.ok()) co_return Result<void>();
    if (done.error().code() == ErrorCode::conflict) wanted = true;  // its spec was changed: again
    co_return done.error();
}

AsyncVoid Networks::State::converge() {
    std::vector<Uuid> present;
    for (const auto& [id, network] : records.all<model::Network>()) present.push_back(id);
    for (const Uuid& id : present) {
        Held& one = held[id];
        const auto done = co_await hold(id, one);
        one.failure = done.ok() ? std::nullopt : std::optional(done.error());
        if (closing) co_return;
    }
    if (!may_manage) {
        for (const Uuid& id : present) co_await publish(id, held[id]);
        co_return;
    }
    co_await apply_rules();
    for (const Uuid& id : present) co_await publish(id, held[id]);

    // Erased ones: those that were held, and those that an earlier run left.
    std::set<Uuid> erased;
    for (const auto& [id, one] : held) erased.insert(id);
    const auto names = host::list_directory(net_directory());
    for (const std::string& name : names.ok() ? *names : std::vector<std::string>()) {
        const auto id = Uuid::parse(name);
        if (id.ok()) erased.insert(*id);
    }
    for (const Uuid& id : erased) {
        if (records.get<model::Network>(id) != nullptr) continue;
        const auto done = co_await clean_up(id);
        if (!done.ok()) held[id].failure = done.error();
    }
}

}  // namespace stoa::network
