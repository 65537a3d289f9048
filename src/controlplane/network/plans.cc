#include "controlplane/network/plans.h"

#include <algorithm>
#include <vector>

#include <fmt/format.h>

#include "base/utf8.h"
#include "controlplane/network/addresses.h"
#include "controlplane/network/networks.h"
#include "controlplane/task/record_step.h"

namespace stoa::network {

namespace {

using NetworkRecord = model::Record<model::Network>;

Result<void> check_may_manage(bool may_manage) {
    if (may_manage) return {};
    return Error(ErrorCode::denied,
                 "networks need root (CAP_NET_ADMIN), which this stoad does not have: use "
                 "user-mode networking (network \"user\")");
}

// Two forwards of one protocol and port that some packet would fit both.
bool collide(const model::PortForward& a, const model::PortForward& b) {
    return a.protocol == b.protocol && a.host_port == b.host_port &&
           (a.host_address.empty() || b.host_address.empty() || a.host_address == b.host_address);
}

Result<void> check_forwards(const Planning& planning, const Uuid& network,
                            const std::vector<model::PortForward>& forwards) {
    for (const model::PortForward& forward : forwards) {
        for (const auto& [id, other] : planning.records.all<model::Network>()) {
            if (id == network) continue;
            for (const model::PortForward& taken : other.spec.forwards) {
                if (!collide(forward, taken)) continue;
                return Error(ErrorCode::in_use,
                             fmt::format("forwards: {} is forwarded by network {} already",
                                         forward_name(forward), other.name));
            }
        }
        for (const model::PortForward& other : forwards) {
            if (&other == &forward || !collide(forward, other)) continue;
            return Error(ErrorCode::invalid_argument,
                         fmt::format("forwards: {} and {} are the same port", forward_name(forward),
                                     forward_name(other)));
        }
        const auto* vm = planning.records.get<model::Vm>(forward.vm);
        const bool is_in =
            vm != nullptr && std::ranges::any_of(vm->spec.nics, [&](const auto& nic) {
                return nic.network == network;
            });
        if (vm != nullptr && !is_in) {
            return Error(ErrorCode::invalid_argument,
                         fmt::format("forwards: {}: vm {} has no NIC in this network",
                                     forward_name(forward), vm->name));
        }
    }
    return {};
}

Result<model::PortForward> resolve(const Planning& planning, const model::NewForward& wanted,
                                   size_t index) {
    const auto vm = planning.records.find<model::Vm>(wanted.vm);
    if (!vm.ok()) return vm.error().with_context(fmt::format("add_forwards[{}].vm", index));
    return model::PortForward{wanted.protocol, wanted.host_address, wanted.host_port, (*vm)->id,
                              wanted.guest_port};
}

Result<void> check_subnet_free(const Planning& planning, const Uuid& network,
                               const model::NetworkSpec& spec) {
    if (spec.subnet.empty()) return {};
    TRY_ASSIGN(const Subnet subnet, parse_guest_subnet(spec.subnet));
    for (const auto& [id, other] : planning.records.all<model::Network>()) {
        if (id == network || other.spec.mode != model::NetworkMode::nat) continue;
        const auto taken = subnet_of(other);
        if (taken.ok() && taken->overlaps(subnet)) {
            return Error(ErrorCode::in_use, fmt::format("subnet {}: network {} has {}", spec.subnet,
                                                        other.name, to_text(*taken)));
        }
    }
    return {};
}

Result<const NetworkRecord*> find(const Planning& planning, std::string_view network,
                                  std::string_view if_match) {
    TRY_ASSIGN(const NetworkRecord* record, planning.records.find<model::Network>(network));
    if (!if_match.empty() && if_match != record->revision) {
        return Error(ErrorCode::conflict,
                     fmt::format("network {}: was changed meanwhile (revision {})", record->name,
                                 record->revision));
    }
    return record;
}

std::string target_of(const Uuid& id) { return "network/" + id.to_string(); }

model::Step apply_step(const Uuid& id, const Json& before, std::string text) {
    return {"network.apply", JsonObject{{"network", id.to_string()}, {"before", before}},
            std::move(text)};
}

// The port forwards after `request`.
Result<void> change_forwards(const Planning& planning, const model::NetworkSet& request,
                             model::NetworkSpec& spec) {
    for (const model::NewForward& wanted : request.remove_forwards) {
        const std::string name = forward_name(
            {wanted.protocol, wanted.host_address, wanted.host_port, {}, wanted.guest_port});
        const size_t removed = std::erase_if(
            spec.forwards, [&](const auto& forward) { return forward_name(forward) == name; });
        if (removed == 0) {
            return Error(ErrorCode::not_found,
                         fmt::format("remove_forwards: {} is not forwarded", name));
        }
    }
    for (size_t i = 0; i < request.add_forwards.size(); ++i) {
        TRY_ASSIGN(const model::PortForward forward, resolve(planning, request.add_forwards[i], i));
        spec.forwards.push_back(forward);
    }
    return {};
}

// "eth0 of vm web1, …": the NICs that are in it.
std::string users_of(const records::Records& records, const Uuid& network) {
    std::string users;
    for (const auto& [id, vm] : records.all<model::Vm>()) {
        for (const model::VmNic& nic : vm.spec.nics) {
            if (nic.network != network) continue;
            users += fmt::format("{}{} of vm {}", users.empty() ? "" : ", ", nic.name, vm.name);
        }
    }
    return users;
}

}  // namespace

Result<task::Plan> plan_create(const Planning& planning, const model::NetworkCreate& request) {
    TRY(check_may_manage(planning.may_manage));
    TRY(model::check_name(request.name));
    TRY(model::check_labels(request.labels));
    if (request.name == "user") {
        return Error(ErrorCode::invalid_argument,
                     "name \"user\": stands for user-mode networking; choose another");
    }
    NetworkRecord record;
    record.id = planning.ids.next();
    record.name = request.name;
    record.labels = request.labels;
    record.created_ns = planning.ids.now_ns();
    record.spec.mode = request.mode;
    record.spec.subnet = request.subnet;
    record.spec.bridge = request.bridge;
    record.spec.domain = request.domain;
    if (!request.forwards.empty()) {
        return Error(ErrorCode::invalid_argument,
                     "forwards: can be added when guests are in the network (network set)");
    }
    TRY(check_network(record.spec));
    TRY(check_subnet_free(planning, record.id, record.spec));
    record.status.reason = "is being made";

    task::Plan plan;
    plan.verb = "network.create";
    plan.target = target_of(record.id);
    records::create<model::Network>(plan.intent, record);
    plan.steps.push_back(task::RecordStep<model::Network>::step(
        record.id, fmt::format("record network {}", record.name)));
    plan.steps.push_back(apply_step(
        record.id, nullptr,
        record.spec.mode == model::NetworkMode::nat
            ? fmt::format("bring up network {} with {}, DHCP and DNS", record.name,
                          request.subnet.empty() ? "a free subnet" : request.subnet)
            : fmt::format("attach network {} to bridge {}", record.name, record.spec.bridge)));
    return plan;
}

Result<task::Plan> plan_set(const Planning& planning, std::string_view network,
                            const model::NetworkSet& request, std::string_view if_match) {
    TRY(check_may_manage(planning.may_manage));
    TRY_ASSIGN(const NetworkRecord* before, find(planning, network, if_match));
    NetworkRecord after = *before;
    if (request.name) after.name = *request.name;
    if (request.labels) after.labels = *request.labels;
    if (request.domain) after.spec.domain = *request.domain;
    if (request.subnet) after.spec.subnet = *request.subnet;
    if (request.bridge) after.spec.bridge = *request.bridge;
    const bool moves =
        after.spec.subnet != before->spec.subnet || after.spec.bridge != before->spec.bridge;
    const std::string users = moves ? users_of(planning.records, after.id) : "";
    if (!users.empty()) {
        return Error(ErrorCode::in_use, fmt::format("network {}: subnet and bridge cannot change "
                                                    "while it has NICs: {}",
                                                    after.name, users));
    }
    TRY(model::check_name(after.name));
    TRY(model::check_labels(after.labels));
    TRY(change_forwards(planning, request, after.spec));
    TRY(check_network(after.spec));
    TRY(check_subnet_free(planning, after.id, after.spec));
    TRY(check_forwards(planning, after.id, after.spec.forwards));

    task::Plan plan;
    plan.verb = "network.set";
    plan.target = target_of(after.id);
    records::replace<model::Network>(plan.intent, *before, after);
    if (to_json(before->spec) != to_json(after.spec)) {
        plan.steps.push_back(apply_step(after.id, to_json(before->spec),
                                        fmt::format("change network {}", after.name)));
    }
    return plan;
}

Result<task::Plan> plan_delete(const Planning& planning, std::string_view network,
                               std::string_view if_match) {
    TRY_ASSIGN(const NetworkRecord* record, find(planning, network, if_match));
    const std::string users = users_of(planning.records, record->id);
    if (!users.empty()) {
        return Error(ErrorCode::in_use,
                     fmt::format("network {}: has NICs {}: remove them first (a deleted vm has its "
                                 "own until it cannot be undeleted any more)",
                                 record->name, users));
    }
    task::Plan plan;
    plan.verb = "network.delete";
    plan.target = target_of(record->id);
    plan.point_of_no_return = 0;
    records::erase<model::Network>(plan.intent, *record);
    plan.steps.push_back({"network.clean", JsonObject{{"network", record->id.to_string()}},
                          fmt::format("take down network {}", record->name)});
    return plan;
}

Result<void> check_nics(const records::Records& records, const Uuid& vm, const model::VmSpec& spec,
                        bool may_manage) {
    for (size_t i = 0; i < spec.nics.size(); ++i) {
        const model::VmNic& nic = spec.nics[i];
        const std::string field = fmt::format("nics[{}]", i);
        if (!nic.mac.empty()) {
            const auto mac = check_mac(nic.mac);
            if (!mac.ok()) return mac.error().with_context(field);
        }
        if (!nic.network) {
            if (nic.address.empty()) continue;
            return Error(ErrorCode::invalid_argument,
                         field + ".address: user-mode networking gives out its own");
        }
        TRY(check_may_manage(may_manage));
        const NetworkRecord* network = records.get<model::Network>(*nic.network);
        if (network == nullptr) {
            return Error(ErrorCode::not_found, fmt::format("{}.network: network {} does not exist",
                                                           field, nic.network->to_string()));
        }
        std::vector<model::Lease> others;
        for (const model::Lease& lease : network->status.leases) {
            const bool is_own = lease.vm == vm && lease.nic == nic.name;
            if (!is_own) others.push_back(lease);
            if (!is_own && lease.mac == mac_of(vm, nic)) {
                return Error(ErrorCode::in_use,
                             fmt::format("{}.mac: {} belongs to NIC {} of vm {}", field, lease.mac,
                                         lease.nic, lease.name));
            }
        }
        if (network->spec.mode == model::NetworkMode::bridge) {
            if (nic.address.empty()) continue;
            return Error(ErrorCode::invalid_argument,
                         field + ".address: guests on a bridge have their addresses from there");
        }
        const auto subnet = subnet_of(*network);
        if (!subnet.ok()) continue;  // its lease says then what hinders it
        const auto address = choose_address(*subnet, others, nic.address);
        if (!address.ok()) return address.error().with_context(field);
    }
    return {};
}

}  // namespace stoa::network
