// Networks: makes what the records say about networks true on this host, and keeps it so.
//
// What is to be follows from the records alone: a network's bridge, its dnsmasq and that one's
// files, a lease for each NIC of each VM, and the nftables tables of the instance. converge()
// compares and mends; it runs after each change of a record, when a dnsmasq has died, and every
// 30 s. All of it outlives this process: the next one adopts it. Leases of VMs and NICs that are no
// longer there end by themselves.
// Behaviour with a real kernel, dnsmasq and DHCP clients: networks_test.cc.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "controlplane/async/async.h"
#include "controlplane/host/descriptor.h"
#include "controlplane/model/network.h"
#include "controlplane/network/links.h"
#include "controlplane/records/records.h"
#include "controlplane/task/step.h"

namespace stoa::network {

struct NetworksOptions {
    Instance instance;
    std::string runtime_directory;  // RUN; "net/NETWORK-ID/" is made in it
    std::string launch_helper;  // path of stoa-launch
    // Shared by all instances of this host: held while a subnet is chosen.
    std::string subnet_lock = "/run/stoa/subnets.lock";
    std::chrono::milliseconds check_interval{30'000};
    // What an administrator should know of a network, for the journal.
    std::function<void(const Uuid& network, std::string text)> tell = [](const Uuid&,
                                                                         const std::string&) {};
};

// A NIC's end on the host. The tap lives as long as a copy of the descriptor does.
struct Attachment {
    host::Descriptor tap;
    model::Lease lease;
};

// One thread. `records` outlives it.
class Networks {
public:
    static std::unique_ptr<Networks> create(asio::any_io_executor executor,
                                            records::Records& records, NetworksOptions options);
    ~Networks();  // CHECKs that close() finished.

    // Whether this process may make links and nftables tables (CAP_NET_ADMIN); else only user-mode
    // networking is possible. Asks the kernel once.
    [[nodiscard]] bool may_manage() const;

    // Adopts what is there, mends the rest, and goes on doing so. A network that cannot be brought
    // up is no error: its status says why.
    Async<> start();

    // When it answers, the records as of the call are true on this host.
    // Errors: not_found (the network), and what hinders it: denied (no root), conflict (its subnet
    // or interface is another's), not_found (mode bridge: no such bridge), no_space, io.
    Async<> apply(Uuid network);
    // The same for a network whose record is erased: link, processes, files and rules are gone.
    Async<> clean(Uuid network);

    // What the network gave to a NIC: address (none in mode bridge), interface, name.
    // Errors: not_found (VM, NIC or network), invalid_argument and in_use (the address that the
    // spec wants), no_space, denied (no root: says to use user-mode networking), as apply().
    Async<model::Lease> lease(Uuid vm, std::string nic);
    // Makes the NIC's tap in its bridge, for "-netdev tap,fd=N". Its rules hold before it exists.
    // Errors: as lease(); already_exists (the VM's process before still has it), io.
    Async<Attachment> attach(Uuid vm, std::string nic);

    // Stops mending; leaves all as it is.
    AsyncVoid close();

    struct State;

private:
    explicit Networks(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

// Steps: "network.apply" {network, before}: apply(); its undo puts back the spec `before`, unless
// that is null. "network.clean" {network}: clean(); no undo. "network.lease" {vm, nic}: lease(),
// for plans of VMs; no undo: it ends with the NIC. And "network.record" (task/record_step.h).
[[nodiscard]] std::vector<std::unique_ptr<task::StepType>> step_types(Networks& networks,
                                                                      records::Records& records);

// For plans of VMs.
[[nodiscard]] model::Step lease_step(const Uuid& vm, std::string_view nic);

}  // namespace stoa::network
