// What Networks keeps between its calls, and the pass that makes the records true (converge.cc).
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controlplane/async/scope.h"
#include "controlplane/async/signal.h"
#include "controlplane/network/leases.h"
#include "controlplane/network/networks.h"
#include "controlplane/network/ruleset.h"
#include "controlplane/network/server.h"

namespace stoa::network {

struct Networks::State {
    State(asio::any_io_executor executor_, records::Records& records_, NetworksOptions options_);

    // One network, as of the last pass. Passes run one at a time, and they alone add and remove.
    struct Held {
        std::optional<Error> failure;  // nothing: it is up
        std::map<NicKey, Error> refused;
        std::unique_ptr<Server> server;  // mode nat
        bool link_is_new = false;  // and dnsmasq does not know it yet
        std::string told;  // the failure that was told
    };

    // Makes the records true once. Never fails as a whole: what is wrong stands in `held`.
    AsyncVoid converge();
    // Until a pass that began after this call is over. Errors: cancelled.
    Async<> next_pass();
    void poke();

    Async<> hold(Uuid id, Held& held);
    Async<std::optional<Subnet>> bring_up_link(model::Record<model::Network> network, Held& one);
    Result<Subnet> claim_subnet(const model::Record<model::Network>& network);
    Async<> give_leases(Uuid id, std::optional<Subnet> subnet, Held& held);
    Async<> serve(model::Record<model::Network> network, Subnet subnet, Held& held);
    Async<> clean_up(Uuid id);
    AsyncVoid apply_rules();
    AsyncVoid publish(Uuid id, Held& held);
    Async<> put_status(Uuid id, model::NetworkStatus status);

    [[nodiscard]] std::string net_directory() const;
    [[nodiscard]] std::string directory_of(const Uuid& id) const;
    [[nodiscard]] std::vector<NetworkRules> rules() const;
    [[nodiscard]] std::vector<std::string> warnings_of(const model::NetworkStatus& status) const;
    Server& server_of(const Uuid& id, Held& held);

    AsyncVoid run();
    AsyncVoid follow_records();
    AsyncVoid tick();

    asio::any_io_executor executor;
    records::Records& records;
    NetworksOptions options;
    bool may_manage = false;

    std::map<Uuid, Held> held;
    std::optional<Error> rules_failure;
    std::string rules_mark;  // of what was put last, or found; empty: unknown or none
    bool look_at_rules = true;  // ask nft in the next pass what there is
    std::vector<std::string> foreign;  // who drops what is forwarded

    uint64_t passes_begun = 0;
    uint64_t passes_done = 0;
    bool wanted = false;
    bool closing = false;
    bool closed = false;
    Signal wake;
    Signal passed;
    Scope scope;
};

}  // namespace stoa::network
